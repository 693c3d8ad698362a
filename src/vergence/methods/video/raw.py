"""Pixels as they are: the baseline that learned vectors of clips have to beat."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vergence.core import input_spec
from vergence.data.source import Source
from vergence.data.video.batch import VideoBatch
from vergence.views.clips import plain_clips

LARGEST, FRAMES = 16, 8  # pixels and frames; a clip of 16 x 112 x 112 would make a vector of 602,112 numbers


class RawClips(nn.Module):
    """The central square of some frames as it is, flattened: ``(B, frames * 3 * size * size)`` in [0, 1].

    Args:
        size: Side in pixels.
        frames: Of a clip, evenly spaced.
    """

    def __init__(self, size: int, frames: int) -> None:
        super().__init__()
        self.size, self.frames = size, frames
        self.input_spec = {"size": size, "frames": frames}
        self.out_dim = frames * 3 * size * size

    def forward(self, batch: VideoBatch | Tensor) -> Tensor:
        if isinstance(batch, Tensor):  # clips of that size
            return batch.flatten(1)
        with torch.autocast(batch.pixels.device.type, enabled=False):  # not in bfloat16
            return plain_clips(batch, self.size, self.frames).flatten(1)


def raw(source: Source, encoder: nn.Module) -> dict[str, nn.Module]:
    """Return raw pixels of some frames, shrunk to ``LARGEST`` where the encoder sees more."""
    spec = input_spec(encoder) or {}
    size, frames = spec.get("size", LARGEST), spec.get("frames", FRAMES)
    return {"raw pixels": RawClips(min(size, LARGEST), min(frames, FRAMES))}
