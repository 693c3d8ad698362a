"""Pixels as they are: the baseline that learned vectors of images have to beat."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vergence.core import input_spec
from vergence.data.image.batch import ImageBatch
from vergence.data.source import Source
from vergence.views.pixels.augment import plain

LARGEST = 32  # a photo of 224 pixels would make a vector of 150,528 numbers


class RawPixels(nn.Module):
    """The central square as it is, flattened: ``(B, 3 * size * size)`` in [0, 1].

    Args:
        size: Side in pixels.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.input_spec = size, {"size": size}
        self.out_dim = 3 * size * size

    def forward(self, batch: ImageBatch | Tensor) -> Tensor:
        if isinstance(batch, Tensor):  # pictures of that size
            return batch.flatten(1)
        with torch.autocast(batch.pixels.device.type, enabled=False):  # pixels as they are, not in bfloat16
            return plain(batch, self.size).flatten(1)


def raw(source: Source, encoder: nn.Module) -> dict[str, nn.Module]:
    """Return raw pixels, shrunk to ``LARGEST`` where the encoder sees more."""
    return {"raw pixels": RawPixels(min((input_spec(encoder) or {}).get("size", LARGEST), LARGEST))}
