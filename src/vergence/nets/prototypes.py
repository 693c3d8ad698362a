"""Prototypes: a head that scores a vector against learned ones, and what keeps them as they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from vergence.core import Features, pooled
from vergence.nets.heads import mlp


class PrototypeHead(nn.Module):
    """Cosines between a narrow projection and K prototypes; DINO, arXiv:2104.14294, Appendix C.

    A three-layer network without batch norm, unit length, then prototypes of unit length (weight
    norm whose gain stays 1, or is learned).

    Args:
        into: Width of the input.
        prototypes: K, their number.
        hidden: Width of the two hidden layers.
        bottleneck: Width of the prototypes.
        gain: Multiply each prototype's cosines by a gain that is learned and starts at 1 (DINOv2).

    Attributes:
        frozen: Give the prototypes a gradient of 0.
    """

    def __init__(
        self, into: int, prototypes: int, *, hidden: int = 2048, bottleneck: int = 256, gain: bool = False
    ) -> None:
        super().__init__()
        self.project = mlp(into, hidden, hidden, bottleneck, norm=False, act=nn.GELU)
        for layer in self.project:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.prototypes = nn.Linear(bottleneck, prototypes, bias=False)
        self.gain = nn.Parameter(torch.ones(prototypes, 1)) if gain else None
        self.frozen = False

    def forward(self, x: Tensor | Features) -> Tensor:
        """Return the scores, in [-1, 1] without gains: ``(..., into)`` -> ``(..., K)``."""
        unit = normalize(self.project(pooled(x)), dim=-1)
        weight = normalize(self.prototypes.weight, dim=1)
        if self.gain is not None:
            weight = self.gain * weight
        return linear(unit, held_still(weight) if self.frozen else weight)


def held_still(weight: Tensor) -> Tensor:
    """Return the same numbers, whose gradient is 0: processes exchange the gradients of all parameters."""
    return weight.detach() + 0 * weight
