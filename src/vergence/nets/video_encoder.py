"""Base of video encoders: normalised clips in, ``Features`` out; and any image encoder on frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Features, InputSpec, input_spec, pooled
from vergence.core.specs import name_of
from vergence.data.video.batch import VideoBatch
from vergence.nets.image_encoder import ImageEncoder
from vergence.views.clips import ClipView, evenly, plain_clips

MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)  # of Kinetics-400's RGB in [0, 1]

Clips = Tensor | ClipView | VideoBatch


class VideoEncoder(nn.Module):
    """Clips ``(B, T, 3, H, W)`` in [0, 1] -> ``Features``; normalises them itself.

    Args:
        size: Side in pixels that batches are brought to; other sizes may come as tensors or views.
        frames: T that batches are brought to, chosen evenly.
        read: Frames of a window that a loader delivers to learn from, so that views may choose among them;
            None takes twice ``frames``.
        mean: Of red, green and blue in [0, 1].
        std: Likewise.

    Attributes:
        out_dim: Width of ``Features.pooled``.
        spec: Arguments with which ``build`` makes this network again (without its weights).
    """

    out_dim: int
    spec: dict[str, Any]
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        size: int,
        frames: int,
        read: int | None = None,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
    ) -> None:
        super().__init__()
        if size < 4 or frames < 1:
            raise BadInput(
                f"A video encoder needs a size of 4 pixels and 1 frame or more; got {size} and {frames}."
            )
        self.size, self.frames, self.read = size, frames, 2 * frames if read is None else read
        if self.read < frames:
            raise BadInput(f"A video encoder needs read of {frames} frames or more; got {read}.")
        self.spec = {}
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1, 1), persistent=False)

    @property
    def input_spec(self) -> InputSpec:
        return {"size": self.size, "frames": self.frames, "read": self.read}

    @property
    def reading_spec(self) -> InputSpec:
        return {"size": self.size, "frames": self.frames}

    def clips(self, clips: Clips) -> Tensor:
        """Return what ``clips`` shows as pixels ``(B, T, 3, H, W)``, float in [0, 1].

        Raises:
            BadInput: If it is of another shape.
        """
        if isinstance(clips, VideoBatch):
            return plain_clips(clips, self.size, self.frames)
        if isinstance(clips, ClipView):
            clips = clips.pixels
        if clips.ndim != 5 or clips.shape[2] != 3:
            raise BadInput(
                f"A video encoder needs RGB clips (B, T, 3, H, W); got {tuple(clips.shape)}. "
                "Stack single clips."
            )
        return clips.float() / 255 if clips.dtype == torch.uint8 else clips

    def volume(self, clips: Clips) -> Tensor:
        """Return what ``clips`` shows as normalised float pixels ``(B, 3, T, H, W)``."""
        return (self.clips(clips).transpose(1, 2) - self.mean) / self.std

    def forward(self, clips: Clips) -> Features:
        """Return pooled vectors, and tokens on their grid (t, h, w).

        Args:
            clips: Pixels in [0, 1], a ``ClipView``, or a batch as it was read.
        """
        raise NotImplementedError

    def tokens(self, clips: Clips) -> Tensor:
        """Return one vector a cell of time and space, ``(B, N, D)``."""
        tokens = self.forward(clips).tokens
        if tokens is None:
            raise BadInput(f"{name_of(self)} has no tokens; choose another encoder.")
        return tokens


class FrameEncoder(VideoEncoder):
    """An image encoder on every frame; the vector is the mean over frames.

    Tokens are those of all frames, one frame after the other.

    Args:
        encoder: Of images.
        frames: T.
        read: See ``VideoEncoder``.

    Attributes:
        backbone: The encoder of images, which normalises pixels itself.
    """

    def __init__(self, encoder: ImageEncoder, *, frames: int, read: int | None = None) -> None:
        size = (input_spec(encoder) or {}).get("size")
        if size is None:
            raise BadInput(f"{name_of(encoder)} cannot read frames: it does not say their size.")
        super().__init__(size=size, frames=frames, read=read)
        self.backbone, self.out_dim = encoder, encoder.out_dim

    @property
    def preprocessing(self) -> dict[str, Any]:
        return {**self.backbone.preprocessing, **self.reading_spec}

    @property
    def reading_spec(self) -> Mapping[str, int]:
        return {"size": int(self.backbone.reading_spec["size"]), "frames": self.frames}

    def forward(self, clips: Clips) -> Features:
        if isinstance(clips, VideoBatch):  # as that encoder cuts and resizes photos
            length = clips.pixels.shape[1]
            if length != self.frames:
                clips = clips.take(evenly(length, self.frames))
            seen = self.backbone(clips.images())
            length = self.frames
        else:
            frames = self.clips(clips)
            length, seen = frames.shape[1], self.backbone(frames.flatten(0, 1))
        vectors = pooled(seen).unflatten(0, (-1, length))
        if not isinstance(seen, Features) or seen.tokens is None:
            return Features(vectors.mean(1), vectors, (length, 1, 1))
        tokens = seen.tokens.unflatten(0, (-1, length)).flatten(1, 2)
        grid = None if seen.grid is None else (length, *seen.grid)
        return Features(
            vectors.mean(1),
            tokens,
            grid,
            None if seen.stride is None else (1.0, *seen.stride),
            None if seen.offset is None else (0.5, *seen.offset),
        )
