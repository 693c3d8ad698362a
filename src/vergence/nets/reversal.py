"""Gradient reversal: an adversary's gradient turns round on its way to the encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reverse_gradient(x: Tensor, strength: float = 1.0) -> Tensor:
    """Return ``x``; its gradient is multiplied by ``-strength``.

    Ganin and Lempitsky 2015, arXiv:1409.7495, eq. 4 to 6.
    """
    return _Reversed.apply(x, strength)
