"""Discrimination of things: are patches of one thing alike, and those of different things not?

Wu et al. 2023, arXiv:2308.11448. All pairs of patches of one picture count, within a thing ("intra") and
between two things ("inter"); the ground is no thing, and no patch is compared with itself. Also how well
pointing at a patch finds its thing (``use.prompts``): with one threshold for all, chosen on the training
pictures, and, as an upper bound, with the best one for each thing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.core import Features
from vergence.evaluate.dense import dense, of_pictures
from vergence.evaluate.protocols.foreground_ari import thing_numbers
from vergence.evaluate.score import Score, mean_score, resampled
from vergence.use.prompts import at_pixels, cells_at, prompt_similarity

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("instances",)
BINS = 100  # of histograms over [-1, 1]
THRESHOLDS = tuple(i / 50 for i in range(-25, 50))


@dataclass(frozen=True, slots=True)
class Discrimination:
    """How alike patches are within things and between them.

    Args:
        intra: Mean cosine of two patches of one thing.
        inter: Mean cosine of two patches of different things of one picture.
        auc: Chance that a pair of the first kind is more alike than one of the second; 0.5 by chance.
        overlap: Area that both histograms have in common; 1 where they are the same, 0 where apart.
        histograms: ``(2, BINS)``, shares of intra and inter pairs over [-1, 1].
    """

    intra: float
    inter: float
    auc: Score
    overlap: Score
    histograms: Tensor

    @property
    def gap(self) -> float:
        """Return by how much the one mean is above the other."""
        return self.intra - self.inter


def discrimination(features: Features, things: Tensor, *, seed: int = 0) -> Discrimination:
    """Compare all pairs of patches of each picture that lie on things.

    Args:
        features: Of B pictures, on a grid with ``stride`` and ``offset``.
        things: ``(B, H, W)``, 0 for the ground and 1, 2, ... for things; a patch is of what its centre shows.
        seed: Of the bootstrap over pictures.

    Raises:
        ValueError: If no picture has pairs of both kinds.
    """
    aucs, counts, sums = [], [], []
    for picture in range(len(things)):
        same, other = pairs(of_pictures(features, torch.tensor([picture])), things[picture])
        if not len(same) or not len(other):
            continue
        aucs.append(chance_above(same, other))
        counts.append(torch.stack([histogram(same), histogram(other)]))
        sums.append([same.sum().item(), len(same), other.sum().item(), len(other)])
    if not aucs:
        raise ValueError("discrimination needs a picture with two things, one of them on several patches.")
    table = torch.stack(counts).numpy()  # (n, 2, BINS)
    drawn = resampled(np.ones(len(table), np.int64), 1000, seed=seed).astype(float)
    pooled = np.einsum("rn,nkb->rkb", drawn, table)
    low, high = np.quantile(overlap(pooled), (0.025, 0.975))
    value = float(overlap(table.sum(0)))
    same_sum, same_count, other_sum, other_count = np.sum(sums, 0)
    return Discrimination(
        float(same_sum / same_count),
        float(other_sum / other_count),
        mean_score(np.array(aucs), seed=seed),
        Score(value, min(float(low), value), max(float(high), value), len(table)),
        torch.from_numpy(table.sum(0) / table.sum((0, 2))[:, None]),
    )


def pairs(features: Features, things: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosines of one picture's pairs of patches, within things ``(n,)`` and between them ``(m,)``.

    Args:
        features: Of one picture.
        things: ``(H, W)``, 0 for the ground.
    """
    assert features.tokens is not None
    x, y = features.centres().long().T
    at = things[y.clamp(max=things.shape[0] - 1), x.clamp(max=things.shape[1] - 1)]
    unit = normalize(features.tokens[0][at > 0].float(), dim=1)
    of = at[at > 0]
    first, second = torch.triu_indices(len(of), len(of), 1)  # no patch with itself, no pair twice
    alike = (unit @ unit.T)[first, second]
    same = of[first] == of[second]
    return alike[same], alike[~same]


def chance_above(same: Tensor, other: Tensor) -> float:
    """Return the chance that one of ``same`` is above one of ``other``; equal ones count half."""
    ordered = other.sort().values
    below = torch.searchsorted(ordered, same) + torch.searchsorted(ordered, same, right=True)
    return (below.double().mean() / (2 * len(other))).item()


def histogram(cosines: Tensor) -> Tensor:
    """Return how many lie in each of ``BINS`` equal parts of [-1, 1]."""
    return torch.bincount(((cosines + 1) / 2 * BINS).long().clamp(0, BINS - 1), minlength=BINS).double()


def overlap(counts: np.ndarray) -> np.ndarray:
    """Return the area that two histograms ``(..., 2, BINS)`` share: Σ_bins min(h_intra, h_inter)."""
    share: np.ndarray = counts / counts.sum(-1, keepdims=True)
    return share.min(-2).sum(-1)


def prompt_ious(features: Features, things: Tensor, *, seed: int = 0) -> Tensor:
    """Return the IoU of every thing with what pointing at one of its pixels finds, ``(n, THRESHOLDS)``.

    The patch that is pointed at is like itself whatever the encoder: its pixels do not count, and a thing
    that shows nowhere else is left out.

    Args:
        features: Of B pictures, on a grid with ``stride`` and ``offset``.
        things: ``(B, H, W)``, 0 for the ground; each thing is pointed at once.
        seed: Of the pixels that are pointed at.
    """
    random = torch.Generator().manual_seed(seed)
    return torch.cat([*_ious(features, things, random)])


def _ious(features: Features, things: Tensor, random: torch.Generator) -> Iterator[Tensor]:
    levels = torch.tensor(THRESHOLDS)
    height, width = things.shape[1:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    of_pixels = torch.stack([x, y], 2).flatten(0, 1)[None] + 0.5
    cells_of_pixels = cells_at(features, of_pixels)[0].view(height, width)
    for picture in range(len(things)):
        numbers = things[picture].unique()
        masks = things[picture] == numbers[numbers > 0][:, None, None]  # (K, H, W)
        if not len(masks):
            continue
        inside = torch.rand(masks.shape, generator=random).masked_fill(~masks, -1).flatten(1).argmax(1)
        points = torch.stack([inside % width, inside // width], 1) + 0.5
        one = of_pictures(features, torch.tensor([picture]))
        alike = at_pixels(one, prompt_similarity(one, points[None].float()), (height, width))[0]
        elsewhere = cells_of_pixels != cells_at(one, points[None].float())[0][:, None, None]  # (K, H, W)
        masks, prompted = masks & elsewhere, (alike[:, None] > levels[:, None, None]) & elsewhere[:, None]
        both = (prompted & masks[:, None]).sum((2, 3))  # (K, T)
        ious = both / (prompted | masks[:, None]).sum((2, 3)).clamp_min(1)
        yield ious[masks.any(2).any(1)]


def _discrimination(split: Split, seed: int) -> Scores:
    """Judge the test pictures; the one threshold is the training pictures' best."""
    sides = [dense(split.encoder, part, "instances") for part in (split.train, split.test)]
    if sides[0] is None or sides[1] is None:
        return
    (known, of_known), (judged, of_judged) = sides  # type: ignore[misc]
    things = thing_numbers(of_judged, len(judged.pooled))
    result = discrimination(judged, things, seed=seed)
    means = f"means {result.intra:.3f} within and {result.inter:.3f} between"
    yield "discrimination AUC", dataclasses.replace(result.auc, note=means)
    yield "overlap (less is better)", result.overlap
    chosen = prompt_ious(known, thing_numbers(of_known, len(known.pooled)), seed=seed).mean(0).argmax()
    ious = prompt_ious(judged, things, seed=seed)
    note = f"threshold {THRESHOLDS[int(chosen)]:.2f}, of the training pictures"
    yield "prompt mIoU", mean_score(ious[:, chosen], seed=seed, note=note)
    yield "prompt mIoU, best threshold of each", mean_score(ious.amax(1), seed=seed, note="an upper bound")


PROTOCOLS = {"discrimination": _discrimination}
