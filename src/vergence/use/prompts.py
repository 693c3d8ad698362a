"""Prompted segmentation: point at one patch, get the thing that it belongs to, without training.

Wu et al. 2023, arXiv:2308.11448: whatever looks like the patch that one points at is the thing.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor
from torch.nn.functional import normalize

from vergence.core import Features


def cells_at(features: Features, points: Tensor) -> Tensor:
    """Return the token whose centre is nearest to each point, ``(B, K)`` int64.

    Args:
        features: Of B pictures, on a grid with ``stride`` and ``offset``.
        points: ``(B, K, 2)`` as (x, y) in pixels.
    """
    centres = features.centres().to(points)  # (N, 2)
    return (points[:, :, None] - centres).square().sum(3).argmin(2)


def prompt_similarity(features: Features, points: Tensor) -> Tensor:
    """Return the cosine of every token with the one that is pointed at, ``(B, K, h, w)`` in [-1, 1].

    Args:
        features: Of B pictures, on a grid with ``stride`` and ``offset``.
        points: ``(B, K, 2)`` as (x, y) in pixels: K questions a picture.

    Source: arXiv:2308.11448, S_i = f_p · f_i of unit vectors f.
    """
    if features.tokens is None or features.grid is None or points.ndim != 3 or points.shape[2] != 2:
        raise ValueError(
            "prompt_similarity needs tokens on a grid and points (B, K, 2); got points "
            f"{tuple(points.shape)} and grid {features.grid}."
        )
    unit = normalize(features.tokens.float(), dim=2)
    queries = unit.gather(1, cells_at(features, points)[..., None].expand(-1, -1, unit.shape[2]))
    return (queries @ unit.mT).unflatten(2, features.grid)


def prompted(features: Features, points: Tensor, size: tuple[int, int], *, threshold: float) -> Tensor:
    """Return the thing at each point, ``(B, K, H, W)`` bool: where the similarity is above ``threshold``.

    Args:
        features: Of B pictures, on a grid with ``stride`` and ``offset``.
        points: ``(B, K, 2)`` as (x, y) in pixels.
        size: H and W in pixels; similarities are mixed bilinearly between tokens' centres.
        threshold: In [-1, 1]; one for all pictures, chosen on others than those that judge.

    >>> import torch
    >>> tokens = torch.eye(2)[None, [0, 0, 1, 1]]
    >>> features = Features(tokens.mean(1), tokens, (2, 2), (2.0, 2.0), (1.0, 1.0))
    >>> prompted(features, torch.tensor([[[0.5, 0.5]]]), (4, 4), threshold=0.5)[0, 0].int()
    tensor([[1, 1, 1, 1],
            [1, 1, 1, 1],
            [0, 0, 0, 0],
            [0, 0, 0, 0]], dtype=torch.int32)
    """
    return at_pixels(features, prompt_similarity(features, points), size) > threshold


def at_pixels(features: Features, maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps ``(B, K, h, w)`` of the tokens' grid at all pixels, ``(B, K, H, W)``."""
    return dataclasses.replace(features, tokens=maps.flatten(2).mT).at_pixels(*size)
