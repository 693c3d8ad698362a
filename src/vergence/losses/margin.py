"""The contrastive loss of pairs with a margin: together within it, apart beyond it, with hard negatives."""

from __future__ import annotations

import torch
from torch import Tensor

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
