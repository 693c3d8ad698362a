"""A batch of clips, as a loader hands it to the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vergence.data.batch import Batch
from vergence.data.image.batch import ImageBatch

if TYPE_CHECKING:
    from vergence.data.targets import Target


@dataclass(frozen=True, slots=True)
class VideoBatch(Batch):
    """Frames as they were read, RGB, uint8.

    Args:
        pixels: ``(B, T, 3, H, W)`` uint8. Videos of several sizes share one canvas: each lies in the upper
            left corner, the rest is zero.
        index: ``(B,)`` int64, the samples' rows in their source.
        label: ``(B,)`` int64, -1 where unknown.
        seconds: ``(B, T)`` float32, when each frame is shown, from the beginning of its video.
        sizes: ``(B, 2)`` int64, the height and width that are really video; None where all fill the canvas.
        targets: What the source was asked for beside labels, by name, of B clips; None where nothing was.
    """

    pixels: Tensor
    index: Tensor
    label: Tensor
    seconds: Tensor
    sizes: Tensor | None = None
    targets: Mapping[str, Target] | None = None

    def take(self, frames: Tensor) -> VideoBatch:
        """Return the same clips with frames ``(B, t)`` or ``(t,)`` int64 of their T, in that order."""
        b, length = self.pixels.shape[:2]
        frames = frames.to(self.pixels.device).expand(b, -1)
        flat = (frames + length * torch.arange(b, device=frames.device)[:, None]).reshape(-1)
        last = self.pixels.permute(0, 1, 3, 4, 2).flatten(0, 1)  # as a reader lays them: channels last
        pixels = last[flat].unflatten(0, (b, -1)).permute(0, 1, 4, 2, 3)
        return replace(self, pixels=pixels, seconds=self.seconds.gather(1, frames))

    def images(self) -> ImageBatch:
        """Return all frames as photos ``(B T, 3, H, W)``, a clip's one after the other, without targets."""
        length = self.pixels.shape[1]

        def each(values: Tensor) -> Tensor:
            return values.repeat_interleave(length, 0)

        sizes = None if self.sizes is None else each(self.sizes)
        return ImageBatch(self.pixels.flatten(0, 1), each(self.index), each(self.label), sizes)
