"""Gram matrices and distance correlation: how the samples of a batch lie to each other, in memory B x B."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.losses.precision import in_float32


@in_float32
def gram_difference(first: Tensor, second: Tensor, *, group: int) -> Tensor:
    """Return how much the cosines between the samples of a group differ from one view to the other.

    It is 0 exactly where one rotation (or reflection) a group takes all its samples from the one view to the
    other. Rows are first scaled to unit length. Memory grows with B x ``group``.

    Args:
        first: ``(B, D)``, one view.
        second: ``(B, D)``, the other view of the same samples.
        group: Consecutive rows that make a group, 2 or more and at most B; rows left over do not count.

    Returns:
        Scalar: the squared differences, summed over the other samples of the group, averaged over the rows.

    Raises:
        ValueError: If the shapes differ or ``group`` is not in 2..B.

    Source: Gupta et al. (CARE), arXiv:2306.13924; twice this is ``equivariance_loss`` of their code.

    >>> round(float(gram_difference(torch.eye(2), torch.ones(2, 2), group=2)), 4)
    1.0
    """
    if first.ndim != 2 or first.shape != second.shape or not 2 <= group <= len(first):
        raise ValueError(
            f"gram_difference needs two views (B, D) of one shape and a group of 2 to B rows; "
            f"got {tuple(first.shape)}, {tuple(second.shape)} and {group}."
        )
    whole = len(first) // group * group
    groups = (normalize(view[:whole], dim=1).view(-1, group, view.shape[1]) for view in (first, second))
    one, other = (rows @ rows.mT for rows in groups)  # (G, group, group)
    # What a unit row scores with itself is 1 in both.
    return (one - other).square().sum() / whole


@in_float32
def distance_correlation(x: Tensor, y: Tensor, *, unbiased: bool = False) -> Tensor:
    """Return the distance correlation between two variables measured together, of any two widths.

    Memory grows with B x B.

    Args:
        x: ``(B, D)``.
        y: ``(B, E)``, row i seen together with row i of ``x``.
        unbiased: Centre by U-statistics, so that independent variables score 0 on average: the root of the
            bias-corrected squared correlation, with its sign. Without, few samples of many dimensions look
            dependent whatever they are: 64 independent pairs of 64 normal numbers score about 0.9.

    Returns:
        Scalar in [0, 1], or in [-1, 1] if unbiased. 1 where distances in x are proportional to those in y,
        0 (in the limit of many samples) only where the variables are independent. 0 where one is constant.

    Raises:
        ValueError: If the rows differ in number or are too few (2, unbiased 4).

    Source: Székely, Rizzo and Bakirov 2007, arXiv:0803.4101; unbiased: Székely and Rizzo 2014,
    arXiv:1310.2926.
    """
    least = 4 if unbiased else 2
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < least:
        raise ValueError(
            f"distance_correlation needs x (B, D) and y (B, E) with B >= {least}; "
            f"got {tuple(x.shape)} and {tuple(y.shape)}."
        )
    a, b = (_centred(pairwise_distances(values), unbiased) for values in (x, y))
    scale = (a.square().sum() * b.square().sum()).sqrt()
    share = (a * b).sum() / scale.clamp_min(torch.finfo(a.dtype).tiny)
    if unbiased:
        return share.sign() * share.abs().sqrt()
    return share.clamp_min(torch.finfo(a.dtype).eps).sqrt() * (scale > 0)


def pairwise_distances(x: Tensor) -> Tensor:
    """Return the distances between all rows of ``x (B, D)``, ``(B, B)``; equal rows have no gradient."""
    x = x - x.mean(0)  # changes no distance, but large numbers would drown small ones
    lengths = x.square().sum(1)
    squares = lengths[:, None] + lengths - 2 * x @ x.T
    least = torch.finfo(x.dtype).eps * lengths.detach().mean()  # what rounding leaves of 0
    apart = (squares > least).fill_diagonal_(False)
    return torch.where(apart, squares, 1.0).sqrt() * apart


def _centred(d: Tensor, unbiased: bool) -> Tensor:
    """Return distances ``(B, B)`` less the means of their row and column, plus the mean of all."""
    n = len(d)
    if not unbiased:
        return d - d.mean(0) - d.mean(1, keepdim=True) + d.mean()
    rows = d.sum(1) / (n - 2)
    centred = d - rows - rows[:, None] + d.sum() / ((n - 1) * (n - 2))
    return centred.fill_diagonal_(0)
