"""Descriptor head: one unit vector of a map, for search, where a small thing may be what counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import BadInput, Features
from vergence.core.specs import name_of, wrapping
from vergence.nets.image_encoder import ImageEncoder, Images


class Descriptor(ImageEncoder):
    """A convolutional encoder, generalised-mean pooling, a linear layer, unit length.

    Args:
        encoder: Images -> ``Features`` with a map ``(B, C, h, w)``, whose values below 0 count as 0.
        dim: D, numbers a picture.
        power: p of the pooling (mean xᵖ)^(1/p), at least 1, which is the mean; infinity would be the maximum.

    Source: Radenović, Tolias, Chum 2018, arXiv:1711.02512, Eq. 3; as in Pizzi et al. 2022, arXiv:2202.10261.
    """

    def __init__(self, encoder: ImageEncoder, dim: int = 512, *, power: float = 3.0) -> None:
        super().__init__(size=encoder.size, extras=encoder.extras)
        name = name_of(encoder)
        if hasattr(encoder, "patch"):
            raise BadInput(f"A descriptor pools the map of a convolutional network; {name} is none.")
        if dim < 1 or power < 1:
            raise BadInput(f"A descriptor needs a dim and a power of 1 or more; got {dim} and {power}.")
        self.backbone, self.power = encoder, power
        self.linear = nn.Linear(encoder.out_dim, dim)
        self.out_dim, self.depth, self.settings = dim, encoder.depth, encoder.settings
        self.spec = wrapping(self, encoder, dim=dim, power=power)

    def forward(self, images: Images, *, need: Sequence[str] = ()) -> Features:
        seen = self.backbone(images, need=need)
        assert seen.map is not None
        with torch.autocast(seen.map.device.type, enabled=False):  # cubes of small numbers
            pooled = generalised_mean(seen.map.float(), self.power)
            unit = normalize(self.linear(pooled), dim=1)
        return dataclasses.replace(seen, pooled=unit)

    def at_layer(
        self, images: Images, *, layer: int = -1, facet: str = "token", stride: int | None = None
    ) -> Features:
        return self.backbone.at_layer(images, layer=layer, facet=facet, stride=stride)

    def layers(self, images: Images, which: Sequence[int] | None = None) -> list[Tensor]:
        return self.backbone.layers(images, which)


def generalised_mean(x: Tensor, power: float) -> Tensor:
    """Return (mean xᵖ)^(1/p) over the cells of ``(B, C, h, w)``: ``(B, C)``; x counts as 1e-6 at least."""
    return x.clamp_min(1e-6).pow(power).mean((2, 3)).pow(1 / power)
