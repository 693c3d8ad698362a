"""Angles: a linear map of frozen features to a turn in the plane, or to a rotation in space."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vergence.core import BadInput
from vergence.evaluate.inputs import Array
from vergence.evaluate.ridge import fit_ridge
from vergence.evaluate.score import Score, mean_score

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("pose",)
WITHIN = 30  # degrees


def angle_between(first: Tensor, second: Tensor) -> Tensor:
    """Return the angle from one turn to another, ``(n,)`` in radians, in [0, π].

    Args:
        first: ``(n,)`` radians, or rotations ``(n, 3, 3)``.
        second: Of the same shape.
    """
    if first.ndim == 1:
        return ((first - second + math.pi).remainder(2 * math.pi) - math.pi).abs()
    relative = first.mT @ second
    # atan2 keeps its precision near 0 and π, where the arc cosine of the trace loses it
    turned = torch.stack([relative[:, i, j] - relative[:, j, i] for i, j in ((2, 1), (0, 2), (1, 0))], 1)
    return torch.atan2(turned.norm(dim=1), relative.diagonal(dim1=1, dim2=2).sum(1) - 1)


def nearest_rotation(matrices: Tensor) -> Tensor:
    """Return the rotations ``(n, 3, 3)`` nearest to matrices, by squared differences."""
    u, _, v = torch.linalg.svd(matrices)
    sign = torch.det(u @ v).sign()
    flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], 1)
    return (u * flip[:, None]) @ v


def angle(train_x: Array, train: Tensor, test_x: Array, test: Tensor, *, seed: int = 0) -> dict[str, Score]:
    """Judge features by how well a ridge regression tells angles from them.

    Cosine and sine are told, or the nine entries of a rotation, which then becomes the nearest one. The
    strength is chosen on a fifth of the training rows; rows whose angle is not finite are left out.

    Args:
        train_x: ``(N, D)`` features.
        train: ``(N,)`` radians, rotations ``(N, 3, 3)``, or cameras ``(N, 3, 4)`` whose rotation counts.
        test_x: ``(Q, D)`` features.
        test: Of those.
        seed: Of the fifth.

    Returns:
        "within 30°", a share, and "mean error", as a share of half a turn, of which less is better.

    Raises:
        BadInput: If angles are of another shape.
    """
    x, truth = _known(train_x, train)
    z, judged = _known(test_x, test)
    if truth.ndim not in (1, 3) or (truth.ndim == 3 and truth.shape[1:] != (3, 3)):
        raise BadInput(f"angle needs radians (n,) or rotations (n, 3, 3); got {tuple(train.shape)}.")
    planar = truth.ndim == 1
    aim = torch.stack([truth.cos(), truth.sin()], 1) if planar else truth.flatten(1)
    held = torch.zeros(len(x), dtype=torch.bool)
    held[torch.from_numpy(np.random.default_rng(seed).permutation(len(x))[: len(x) // 5])] = True
    fitted = fit_ridge(x, aim, held)(z)
    guess = torch.atan2(fitted[:, 1], fitted[:, 0]) if planar else nearest_rotation(fitted.view(-1, 3, 3))
    error = angle_between(guess, judged)
    return {
        f"within {WITHIN}°": mean_score(error <= math.radians(WITHIN), seed=seed),
        "mean error": mean_score(error / math.pi, note="of half a turn; less is better", seed=seed),
    }


def _known(x: Array, turns: Tensor) -> tuple[Tensor, Tensor]:
    turns = turns.as_subclass(Tensor).double()
    if turns.ndim == 3 and turns.shape[1:] == (3, 4):
        turns = turns[:, :, :3]
    rows = torch.isfinite(turns.flatten(1) if turns.ndim > 1 else turns[:, None]).all(1)
    if not rows.any():
        raise BadInput("angle needs samples whose pose is known; none is.")
    return torch.as_tensor(x).double()[rows], turns[rows]


def _angle(split: Split, seed: int) -> Scores:
    train, test = split.train_embeddings, split.test_embeddings
    first = split.train.target("pose", train.index).values  # type: ignore[attr-defined]
    second = split.test.target("pose", test.index).values  # type: ignore[attr-defined]
    scores = angle(train.vectors, first, test.vectors, second, seed=seed)
    yield from ((f"angle, {name}", score) for name, score in scores.items())


PROTOCOLS = {"angle": _angle}
