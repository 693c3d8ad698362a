"""Dropout that is fast on a CPU, where torch draws one float a value."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_DRAWS = 1 << 16  # what two bytes can be


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """Set each value to zero with probability ``p``, and divide the others by 1 - p.

    On a CPU two random bytes decide on a value, so that ``p`` is rounded to 1 / 65,536 there; elsewhere it
    is torch's.

    Args:
        x: Of any shape and floating type.
        p: In [0, 1).
        training: Without it ``x`` is returned as it is.
    """
    lost = round(p * _DRAWS)
    if x.device.type != "cpu" or not 0 < lost < _DRAWS or not training:
        return functional.dropout(x, p, training)
    drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None).view(torch.int16)
    kept = drawn[: x.numel()].view(x.shape) >= lost - _DRAWS // 2
    return x * kept.to(x.dtype).mul_(_DRAWS / (_DRAWS - lost))


class Dropout(nn.Dropout):
    """``dropout`` as a module."""

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p, self.training)
