"""A batch of images, as a loader hands it to the engine."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Photos as they were read, RGB, uint8.

    Args:
        pixels: ``(B, 3, H, W)`` uint8. Photos of several sizes share one canvas: each lies in the
            upper left corner, the rest is zero.
        index: ``(B,)`` int64, the samples' rows in their source.
        label: ``(B,)`` int64, -1 where unknown.
        sizes: ``(B, 2)`` int64, the height and width that are really photo; None where every
            photo fills the canvas.
    """

    pixels: Tensor
    index: Tensor
    label: Tensor
    sizes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ImageBatch:
        moved = {
            f.name: value.to(device, non_blocking=non_blocking)
            for f in fields(self)
            if (value := getattr(self, f.name)) is not None
        }
        return replace(self, **moved)

    def pin_memory(self) -> ImageBatch:
        pinned = {
            f.name: value.pin_memory() for f in fields(self) if (value := getattr(self, f.name)) is not None
        }
        return replace(self, **pinned)
