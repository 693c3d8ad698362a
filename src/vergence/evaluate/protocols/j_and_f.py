"""J and F: how well masks of things in a video overlap the true ones, and how well their outlines do."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from vergence.evaluate.score import Score, mean_score

NEEDS = ("masks",)
TOLERANCE = 0.008  # of the picture's diagonal


def region_similarity(masks: Tensor, truth: Tensor) -> Tensor:
    """Return J, intersection over union, of masks ``(N, H, W)`` bool: ``(N,)``; 1 where both are empty."""
    both = (masks & truth).sum((1, 2))
    either = (masks | truth).sum((1, 2))
    return torch.where(either > 0, both / either.clamp_min(1), 1.0)


def contour_accuracy(masks: Tensor, truth: Tensor, *, tolerance: float = TOLERANCE) -> Tensor:
    """Return F of the outlines of masks ``(N, H, W)`` bool: ``(N,)``.

    Precision is the share of the outline that lies within the tolerance of the true one, recall the share of
    the true one that lies within it of the outline. 1 where both are empty, 0 where one is.

    Args:
        masks: To be judged.
        truth: Of the same shape.
        tolerance: As a share of the diagonal, rounded up to whole pixels.
    """
    reach = math.ceil(tolerance * math.hypot(*masks.shape[1:]))
    own, true = outlines(masks), outlines(truth)
    counts = [
        part.sum((1, 2)) for part in (own, true, own & dilated(true, reach), true & dilated(own, reach))
    ]
    n_own, n_true, right, recalled = (count.double() for count in counts)
    precision, recall = right / n_own.clamp_min(1), recalled / n_true.clamp_min(1)
    both = precision + recall
    f = torch.where(both > 0, 2 * precision * recall / both.clamp_min(1e-12), 0.0)
    return torch.where((n_own == 0) & (n_true == 0), 1.0, f)


def outlines(masks: Tensor) -> Tensor:
    """Return the pixels ``(N, H, W)`` whose neighbour to the right, below or both is on the other side."""
    right, below = masks.roll(-1, 2), masks.roll(-1, 1)
    right[:, :, -1], below[:, -1] = masks[:, :, -1], masks[:, -1]
    corner = below.roll(-1, 2)
    corner[:, :, -1] = below[:, :, -1]
    edge = (masks ^ right) | (masks ^ below) | (masks ^ corner)
    edge[:, -1, -1] = False
    return edge


def dilated(masks: Tensor, reach: int) -> Tensor:
    """Return what lies within ``reach`` pixels of ``(N, H, W)`` bool masks."""
    at = torch.arange(-reach, reach + 1, device=masks.device)
    disk = (at.square() + at[:, None].square() <= reach**2).float()
    return conv2d(masks[:, None].float(), disk[None, None], padding=reach)[:, 0] > 0.5


def j_and_f(masks: Tensor, truth: Tensor, clip: Tensor, *, seed: int = 0) -> dict[str, Score]:
    """Score masks of one thing a clip: "J", "F" and their mean "J&F", means over clips of means over frames.

    Args:
        masks: ``(N, H, W)`` bool, one a frame.
        truth: ``(N, H, W)`` bool.
        clip: ``(N,)`` int64, of which each frame is; by custom first and last frames are left out before.
        seed: Of the bootstrap over clips.

    Source: Perazzi et al. 2016 (DAVIS), Sec. 4, with the outlines of its published code.
    """
    each = {"J": region_similarity(masks, truth).double(), "F": contour_accuracy(masks, truth)}
    each["J&F"] = (each["J"] + each["F"]) / 2
    _, of, count = clip.unique(return_inverse=True, return_counts=True)
    means = {name: torch.zeros(len(count)).double().index_add(0, of, x) / count for name, x in each.items()}
    return {name: mean_score(mean, seed=seed, note=f"{len(count)} clips") for name, mean in means.items()}
