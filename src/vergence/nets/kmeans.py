"""k-means on vectors that networks have made, where they lie; ``vergence.use.kmeans`` is for large tables."""

from __future__ import annotations

import torch
from torch import Tensor

_DISTANCES = 1 << 24  # held at a time
_ASIDE = 1e-7  # from the centre of a group that is divided


def kmeans(x: Tensor, k: int, iterations: int) -> Tensor:
    """Return the group ``(n,)`` of each row by k-means from ``k`` random rows; draws from torch's generator.

    The centre of an empty group goes beside that of another one, which it divides.
    """
    centres = x[torch.randperm(len(x))[:k].to(x.device)]
    sign = torch.ones_like(x[0])
    sign[::2] = -1
    for _ in range(iterations):
        of = nearest(x, centres)
        count = of.bincount(minlength=k)
        sums = torch.zeros_like(centres).index_add_(0, of, x)
        centres = torch.where(count[:, None] > 0, sums / count.clamp_min(1)[:, None], centres)
        full = (count > 0).nonzero()[:, 0]
        for empty in (count == 0).nonzero()[:, 0].tolist():
            divided = full[torch.randint(len(full), ())]
            centres[empty] = centres[divided] + _ASIDE * sign
            centres[divided] -= _ASIDE * sign
    return nearest(x, centres)


def nearest(x: Tensor, centres: Tensor) -> Tensor:
    """Return the nearest centre ``(n,)`` of each row."""
    half = (centres * centres).sum(1) / 2
    parts = x.split(max(1, _DISTANCES // len(centres)))
    return torch.cat([(part @ centres.T - half).argmax(1) for part in parts])
