"""Losses with a margin, of pairs and of triplets: like ones together, others apart, with hard negatives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.losses.precision import in_float32


@in_float32
def hard_margin(x: Tensor, group: Tensor, *, margin: float, negatives: int) -> tuple[Tensor, Tensor]:
    """Return the two sums of the margin loss over unit vectors.

    ``near = Σ |x_i - x_j|²`` over pairs i < j of one group, ``far = Σ max(0, margin - |x_i - x_j|)²``
    over each row and its nearest rows of other groups. Which rows are nearest carries no gradient.

    Args:
        x: ``(B, D)`` of unit length.
        group: ``(B,)`` int64.
        margin: Above 0.
        negatives: Of each row; 0 takes every pair of different groups once.

    Returns:
        Two scalars. A batch of one group has a ``far`` of 0.

    Raises:
        ValueError: If shapes differ, or ``margin`` or ``negatives`` is out of range.

    Source: Hadsell et al. 2006, as Babaev et al., arXiv:2002.08232, Eq. 2, put it to use.

    >>> hard_margin(torch.eye(2), torch.tensor([0, 0]), margin=0.5, negatives=1)[0]
    tensor(2.)
    """
    if x.ndim != 2 or group.shape != x.shape[:1]:
        raise ValueError(
            f"hard_margin needs x (B, D) with groups (B,); got {tuple(x.shape)}, {tuple(group.shape)}."
        )
    if margin <= 0 or negatives < 0:
        raise ValueError(f"hard_margin needs margin > 0 and negatives >= 0; got {margin} and {negatives}.")
    same = group[:, None] == group
    first, second = torch.nonzero(same.triu(1), as_tuple=True)
    near = (x[first] - x[second]).square().sum()
    if negatives == 0:
        first, second = torch.nonzero((~same).triu(1), as_tuple=True)
    else:
        with torch.no_grad():
            likeness = (x @ x.T).masked_fill(same, -torch.inf)
            best, hardest = likeness.topk(min(negatives, len(x)), dim=1)
            first, place = torch.nonzero(best > -torch.inf, as_tuple=True)
            second = hardest[first, place]
    # 1e-12: the root's slope at two equal vectors is infinite
    distance = ((x[first] - x[second]).square().sum(1) + 1e-12).sqrt()
    return near, (margin - distance).clamp_min(0).square().sum()


@in_float32
def hard_triplets(
    anchors: Tensor, positives: Tensor, others: Tensor, allowed: Tensor, *, margin: float, negatives: int
) -> Tensor:
    """Return the mean over pairs of ``max(0, D(x, x⁺) - D(x, x⁻) + margin)``, of their hardest negatives.

    ``D`` is one minus the cosine. Each pair has the mean over its negatives, or 0 without any; which rows are
    nearest carries no gradient.

    Args:
        anchors: ``(B, D)``, x.
        positives: ``(B, D)``, each one's x⁺.
        others: ``(M, D)``, of which the negatives are taken.
        allowed: ``(B, M)`` bool, which may be negatives of which pair.
        margin: Above 0.
        negatives: Nearest allowed rows that count for each pair, at least 1.

    Returns:
        Scalar.

    Raises:
        ValueError: If shapes differ, or ``margin`` or ``negatives`` is out of range.

    Source: Wang et al., arXiv:1708.02901, Sec. 5.1.

    >>> x = torch.eye(3)
    >>> hard_triplets(x[:1], x[1:2], x[2:], torch.ones(1, 1) > 0, margin=0.5, negatives=1)
    tensor(0.5000)
    """
    if anchors.shape != positives.shape or allowed.shape != (len(anchors), len(others)):
        raise ValueError(
            "hard_triplets needs anchors and positives (B, D), others (M, D) and allowed (B, M); "
            f"got {[tuple(rows.shape) for rows in (anchors, positives, others, allowed)]}."
        )
    if margin <= 0 or negatives < 1:
        raise ValueError(f"hard_triplets needs margin > 0 and negatives >= 1; got {margin} and {negatives}.")
    x, positive, others = (normalize(rows, dim=1) for rows in (anchors, positives, others))
    likeness = (x @ others.T).masked_fill(~allowed, -torch.inf)
    hardest = likeness.topk(min(negatives, len(others)), dim=1).values
    some = hardest > -torch.inf
    cost = (hardest.masked_fill(~some, 0.0) - (x * positive).sum(1, keepdim=True) + margin).clamp_min(0)
    return ((cost * some).sum(1) / some.sum(1).clamp_min(1)).mean()


def recall(x: Tensor, group: Tensor, *, k: int) -> Tensor:
    """Return the share, in [0, 1], of each unit vector's k nearest others that are of its group.

    Args:
        x: ``(B, D)`` of unit length.
        group: ``(B,)`` int64.
        k: At least 1; the rows of a group less one, for a share that can reach 1.
    """
    likeness = (x @ x.T).fill_diagonal_(-torch.inf)
    nearest = likeness.topk(min(k, len(x) - 1), dim=1).indices
    return (group[nearest] == group[:, None]).float().mean()
