"""Views of clips: which frames, and one geometry a clip; a whole batch at a time, where it lies.

Pixels are made by ``pixels.augment``, as those of photos: all frames of a clip as one group, so that nothing
that stands still moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from vergence.core.errors import BadInput, unknown
from vergence.data.video.batch import VideoBatch
from vergence.views.pixels.augment import Augment, plain
from vergence.views.pixels.geometry import Range, uniform

if TYPE_CHECKING:
    from vergence.data.targets import Target

Colour = Literal["clip", "frame"]
PIXEL_OPTIONS = tuple(f.name for f in fields(Augment) if f.name not in ("size", "group", "recolour"))


@dataclass(frozen=True, slots=True)
class ClipView:
    """One clip a sample, and where it was taken from.

    Args:
        pixels: ``(B, T, 3, S, S)`` float32 in [0, 1].
        frames: ``(B, T)`` int64, which frames of the batch's clip these are.
        box: ``(B, 4)`` top, left, height, width of the crop in source pixels, the same in every frame.
        flip: ``(B,)`` bool, mirrored left and right.
        angle: ``(B,)`` radians by which it was turned clockwise.
        matrix: ``(B, 2, 3)``: maps ``(x, y, 1)`` in the view to ``(x, y)`` in the source, in pixels.
        mask: ``(B, N)`` bool, the hidden cells in the order of an encoder's tokens; None where none is.
        targets: The batch's, of clips; None where it has none.
    """

    pixels: Tensor
    frames: Tensor
    box: Tensor
    flip: Tensor
    angle: Tensor
    matrix: Tensor
    mask: Tensor | None = None
    targets: Mapping[str, Target] | None = None

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, slots=True)
class ClipAugment:
    """Take some frames of every clip, crop, mirror and recolour them: one ``ClipView``.

    Args:
        size: Side of the view in pixels.
        frames: T of the view.
        span: Least and largest share of the clip's time that a view shows: less is slower. Frames are the
            nearest ones; a share of 1/2 of twice as many frames takes each once.
        colour: Numbers of colour jitter, grey, blur and solarisation once a "clip", or once a "frame".
        pixels: Options of ``views.pixels.augment.Augment``.
    """

    size: int
    frames: int
    span: Range = (0.5, 1.0)
    colour: Colour = "clip"
    pixels: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise BadInput(f"A view of a clip needs 1 frame or more; got {self.frames}.")
        if not 0 < self.span[0] <= self.span[1] <= 1:
            raise BadInput(f"span needs 0 < least <= largest <= 1, shares of a clip's time; got {self.span}.")
        if self.colour not in ("clip", "frame"):
            raise unknown("colour of clips", str(self.colour), ("clip", "frame"))
        for name in self.pixels or {}:
            if name not in PIXEL_OPTIONS:
                raise unknown("option of views of clips", name, PIXEL_OPTIONS)
        _ = self.augment

    @property
    def augment(self) -> Augment:
        return Augment(
            self.size, group=self.frames, recolour=self.colour == "frame", **dict(self.pixels or {})
        )

    def __call__(self, batch: VideoBatch, generator: torch.Generator | None = None) -> ClipView:
        b, length = batch.pixels.shape[:2]
        frames = temporal_crop(
            b, length, self.frames, span=self.span, device=batch.pixels.device, generator=generator
        )
        view = self.augment(batch.take(frames).images(), generator)
        each = slice(None, None, self.frames)
        return ClipView(
            view.pixels.unflatten(0, (b, self.frames)),
            frames,
            view.box[each],
            view.flip[each],
            view.angle[each],
            view.matrix[each],
            targets=batch.targets,
        )


def temporal_crop(
    clips: int,
    length: int,
    frames: int,
    *,
    span: Range = (1.0, 1.0),
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw a stretch of each clip, and return its frames ``(clips, frames)`` int64, evenly spaced.

    Args:
        clips: B.
        length: T of the clips.
        frames: Of each stretch.
        span: Least and largest share of the clip's time; each view of a clip then has its own speed.
        device: Of the result.
        generator: Of that device.
    """
    like = torch.empty(0, device=device)
    share = uniform(clips, *span, like, generator)
    start = torch.rand(clips, generator=generator, device=device) * (1 - share)
    moment = (torch.arange(frames, device=device) + 0.5) / frames
    place = (start[:, None] + share[:, None] * moment) * length
    return place.long().clamp_max(length - 1)


def evenly(length: int, frames: int) -> Tensor:
    """Return ``(frames,)`` int64 places of frames in the middles of equal parts of a clip of ``length``.

    >>> evenly(8, 4)
    tensor([1, 3, 5, 7])
    """
    return ((torch.arange(frames) + 0.5) * length / frames).long()


def at_speed(start: Tensor, speed: Tensor, frames: int, length: int) -> Tensor:
    """Return frames ``(B, frames)`` int64 of clips that are played at a speed.

    Args:
        start: First frame.
        speed: Frames from one to the next; 2 is twice as fast, negative plays backwards.
        frames: Of each stretch.
        length: T of the clips.

    Raises:
        ValueError: If a stretch leaves its clip.
    """
    place = (start[:, None] + speed[:, None] * torch.arange(frames, device=start.device)).floor().long()
    first, last = (int(place.min()), int(place.max())) if place.numel() else (0, 0)
    if first < 0 or last >= length:
        raise ValueError(f"at_speed leaves clips of {length} frames: {first} to {last}.")
    return place


def shuffled(clips: int, frames: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Return one random order of frames a clip, ``(clips, frames)`` int64."""
    return torch.rand(clips, frames, generator=generator).argsort(1)


def residual_frames(pixels: Tensor) -> Tensor:
    """Return how each frame of clips ``(B, T, C, H, W)`` differs from the one before, ``(B, T - 1, ...)``.

    What stands still is 0; with pixels in [0, 1] the result is in [-1, 1].
    """
    return pixels[:, 1:].float() - pixels[:, :-1].float()


def residual_clip(pixels: Tensor) -> Tensor:
    """Return clips ``(B, T, C, H, W)`` in [0, 1] as what changed from frame to frame, of the same size.

    Grey, 1/2, is no change, which is what the first frame shows.
    """
    change = residual_frames(pixels)
    return (torch.cat([torch.zeros_like(change[:, :1]), change], 1) + 1) / 2


def frames_of(pixels: Tensor, order: Tensor) -> Tensor:
    """Return frames ``order (B, t)`` int64 of each clip ``(B, T, ...)``."""
    return pixels[torch.arange(len(pixels), device=pixels.device)[:, None], order]


def repeated(
    clips: int,
    frames: int,
    *,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return one frame of each clip T times, ``(clips, frames)`` int64: all looks, no motion."""
    drawn = torch.randint(frames, (clips, 1), generator=generator, device=device)
    return drawn.expand(-1, frames)


def quarters_swapped(
    clips: int,
    frames: int,
    *,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return orders ``(clips, frames)`` int64 in which two quarters of each clip's time have changed places.

    Raises:
        ValueError: If a clip has fewer than 4 frames.
    """
    if frames < 4:
        raise ValueError(f"quarters_swapped needs clips of 4 frames or more; got {frames}.")
    order = torch.arange(4, device=device).repeat(clips, 1)
    first, second = torch.rand(clips, 4, generator=generator, device=device).argsort(1)[:, :2].unbind(1)
    every = torch.arange(clips, device=device)
    order[every, first], order[every, second] = second, first
    quarter = 4 * torch.arange(frames, device=device) // frames
    place = order.argsort(1)[:, quarter]  # where each frame's quarter went
    return place.argsort(dim=1, stable=True)


def plain_clips(batch: VideoBatch, size: int, frames: int | None = None) -> Tensor:
    """Return the central square of every frame, ``(B, T, 3, size, size)`` float32 in [0, 1].

    Args:
        batch: Clips of any sizes.
        size: Side of the result in pixels.
        frames: T, chosen evenly; None takes all.
    """
    b, length = batch.pixels.shape[:2]
    if frames is not None and frames != length:
        batch, length = batch.take(evenly(length, frames)), frames
    return plain(batch.images(), size).unflatten(0, (b, length))
