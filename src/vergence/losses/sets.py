"""Distances between sets of points."""

from __future__ import annotations

import torch
from torch import Tensor

from vergence.losses.precision import in_float32


@in_float32
def chamfer(first: Tensor, second: Tensor) -> Tensor:
    """Return how far the points of two sets are from each other's nearest, squared, both ways.

    Args:
        first: ``(B, M, D)``, B sets of M points.
        second: ``(B, N, D)``.

    Returns:
        Scalar, 0 or more: the mean squared distance of the first's points from the nearest of the second,
        plus the same the other way round, averaged over the B pairs.

    Raises:
        ValueError: If the shapes do not fit or a set is empty.

    Source: Fan et al., arXiv:1612.00603, Sec. 3.2, as means; Point-MAE, arXiv:2203.06604, Eq. 5.

    >>> chamfer(torch.zeros(1, 1, 3), torch.ones(1, 2, 3))
    tensor(6.)
    """
    alike = first.ndim == second.ndim == 3 and len(first) == len(second) and first.shape[2] == second.shape[2]
    if not alike or 0 in (*first.shape, *second.shape):
        raise ValueError(
            f"chamfer needs sets (B, M, D) and (B, N, D) of points; "
            f"got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    with torch.no_grad():
        distance = torch.cdist(first, second)
        to_second, to_first = distance.argmin(2), distance.argmin(1)
    width = first.shape[2]
    forward = first - second.gather(1, to_second[..., None].expand(-1, -1, width))
    backward = second - first.gather(1, to_first[..., None].expand(-1, -1, width))
    return forward.square().sum(2).mean() + backward.square().sum(2).mean()
