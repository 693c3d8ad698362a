"""Depth: a linear map of frozen tokens to the logarithm of distances."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vergence.core import BadInput, Features
from vergence.evaluate.dense import dense_split, of_pictures, pixel_scores
from vergence.evaluate.ridge import fit_ridge
from vergence.evaluate.score import Score, mean_score

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("depth",)
WITHIN = 1.25


def depth_errors(guess: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the share of pixels within a factor of 1.25, and the mean relative error, each ``(B,)``.

    Args:
        guess: ``(B, H, W)`` above 0.
        truth: ``(B, H, W)`` above 0; NaN where unknown, which must not be a whole picture.

    Source: Eigen, Puhrsch, Fergus 2014, Sec. 4.
    """
    known = torch.isfinite(truth) & (truth > 0)
    depth = torch.where(known, truth, 1.0)
    off = torch.maximum(guess / depth, depth / guess)
    count = known.sum((1, 2))
    within = ((off < WITHIN) & known).sum((1, 2)) / count
    relative = (((guess - depth).abs() / depth) * known).sum((1, 2)) / count
    return within, relative


def depth(
    train: Features, train_depth: Tensor, test: Features, test_depth: Tensor, *, seed: int = 0
) -> dict[str, Score]:
    """Judge tokens by how well a ridge regression tells log distances from them.

    A token learns the distance at its centre; what is told is mixed bilinearly between centres. The strength
    is chosen on a fifth of the training pictures. Pictures of which no distance is known are left out.

    Args:
        train: Tokens of n pictures on a grid with ``stride`` and ``offset``.
        train_depth: ``(n, H, W)``, NaN where unknown.
        test: Tokens of m pictures.
        test_depth: ``(m, H, W)``.
        seed: Of the fifth.

    Returns:
        "within 1.25", the share of pixels, and "relative error", of which less is better.
    """
    assert train.tokens is not None
    column, row = train.centres().to(train_depth.device).floor().long().unbind(1)
    tall, wide = train_depth.shape[1:]
    at_centre = train_depth[:, row.clamp(0, tall - 1), column.clamp(0, wide - 1)]
    known = torch.isfinite(at_centre) & (at_centre > 0)
    if not known.any():
        raise BadInput("depth needs pictures with known distances to learn from; none has any.")
    x, log = train.tokens[known].float(), at_centre[known].log()
    picture = torch.arange(len(known))[:, None].expand_as(known)[known]
    held = torch.from_numpy(np.random.default_rng(seed).permutation(len(known))[: math.ceil(len(known) / 5)])
    probe = fit_ridge(x, log[:, None], torch.isin(picture, held))
    judged = torch.nonzero((torch.isfinite(test_depth) & (test_depth > 0)).any(2).any(1))[:, 0]
    within, relative = [], []
    for rows in judged.split(16):
        log_map = pixel_scores(of_pictures(test, rows), probe, test_depth.shape[1:])
        right, error = depth_errors(log_map[:, 0].exp(), test_depth[rows])
        within.append(right)
        relative.append(error)
    return {
        "within 1.25": mean_score(torch.cat(within), seed=seed),
        "relative error": mean_score(torch.cat(relative), seed=seed, note="less is better"),
    }


def _depth(split: Split, seed: int) -> Scores:
    if (pair := dense_split(split, "depth")) is not None:
        (x, known), (z, judged) = pair
        scores = depth(x, known.values, z, judged.values, seed=seed)
        yield from ((f"depth, {name}", score) for name, score in scores.items())


PROTOCOLS = {"depth": _depth}
