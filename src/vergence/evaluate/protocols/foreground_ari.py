"""Foreground ARI: do groups of pixels agree with the things of a picture?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from vergence.core import Features
from vergence.evaluate.dense import dense, of_pictures, pixel_classes
from vergence.evaluate.score import Score, mean_score
from vergence.use.kmeans import kmeans

if TYPE_CHECKING:
    from vergence.data.targets import Instances
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("instances",)
GROUPS = 7  # of a picture's tokens


def adjusted_rand(groups: Tensor, things: Tensor) -> Tensor:
    """Return the adjusted Rand index of each picture, ``(B,)``, over the pixels of its things alone.

    1 where both part the pixels alike, about 0 where they have nothing to do with each other.

    Args:
        groups: ``(B, H, W)`` whole numbers from 0.
        things: ``(B, H, W)``, 0 for the ground, which does not count, and 1, 2, ... for things.

    Source: Hubert and Arabie 1985; on the foreground as Greff et al. 2019, arXiv:1903.00450, Sec. 4.
    """
    b, g, t = len(groups), int(groups.max()) + 1, int(things.max()) + 1
    of = torch.arange(b, device=groups.device)[:, None, None].expand_as(groups)
    counted = things > 0
    cell = (of[counted] * g + groups[counted]) * t + things[counted].long()
    table = torch.bincount(cell, minlength=b * g * t).view(b, g, t).double()

    def pairs(count: Tensor) -> Tensor:
        return count * (count - 1) / 2

    both = pairs(table).sum((1, 2))
    first, second = pairs(table.sum(2)).sum(1), pairs(table.sum(1)).sum(1)
    by_chance = first * second / pairs(table.sum((1, 2))).clamp_min(1)
    most = (first + second) / 2
    apart = most - by_chance
    return torch.where(apart.abs() > 1e-12, (both - by_chance) / apart.where(apart.abs() > 1e-12, 1.0), 1.0)


def foreground_ari(groups: Tensor, things: Tensor, *, seed: int = 0, note: str = "") -> Score:
    """Score the mean adjusted Rand index over pictures with two things or more; others tell nothing.

    Args:
        groups: ``(B, H, W)``; see ``adjusted_rand``.
        things: ``(B, H, W)``.
        seed: Of the bootstrap over pictures.
        note: Kept with the score.

    Raises:
        ValueError: If no picture has two things.
    """
    several = torch.tensor([len(one.unique()) - bool((one == 0).any()) > 1 for one in things])
    if not several.any():
        raise ValueError("foreground_ari needs a picture with two things or more, got none.")
    return mean_score(adjusted_rand(groups, things)[several], seed=seed, note=note)


def thing_numbers(instances: Instances, pictures: int) -> Tensor:
    """Return ``(pictures, H, W)`` int64: 0 for the ground, then each picture's things from 1."""
    masks = instances.masks.as_subclass(Tensor)
    numbers = torch.zeros(pictures, *masks.shape[1:], dtype=torch.int64)
    seen = [0] * pictures
    for of, mask in zip(instances.of.tolist(), masks, strict=True):
        seen[of] += 1
        numbers[of][mask] = seen[of]
    return numbers


def token_groups(features: Features, groups: int, *, seed: int = 0) -> Tensor:
    """Return ``(B, N)`` groups of each picture's tokens by k-means on their unit vectors."""
    assert features.tokens is not None
    unit = normalize(features.tokens.float(), dim=2).cpu().numpy()
    return torch.stack([torch.from_numpy(kmeans(x, min(groups, len(x)), seed=seed).of) for x in unit])


def _foreground_ari(split: Split, seed: int) -> Scores:
    """Part each test picture's tokens into ``GROUPS`` by k-means, whatever its number of things."""
    pair = dense(split.encoder, split.test, "instances")
    if pair is None:
        return
    features, instances = pair
    things = thing_numbers(instances, len(features.pooled))
    grouped = []
    for rows in torch.arange(len(things)).split(64):
        some = of_pictures(features, rows)
        codes = one_hot(token_groups(some, GROUPS, seed=seed), GROUPS).float()
        grouped.append(pixel_classes(some, lambda tokens, codes=codes: codes, things.shape[1:]))  # type: ignore[misc]
    note = f"k-means into {GROUPS} a picture"
    yield "foreground ARI", foreground_ari(torch.cat(grouped), things, seed=seed, note=note)


PROTOCOLS = {"foreground_ari": _foreground_ari}
