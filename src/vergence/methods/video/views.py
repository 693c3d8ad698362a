"""The kinds of views that videos supply: whole batches, on the device, uint8 in and float out.

A factory takes the views' size and frames and options, and returns a function from a ``VideoBatch`` to a list
of ``ClipView``. Random numbers come from torch's default generators, which the engine seeds before every
step, or from ``generator`` of the batch's device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from vergence.core.errors import BadInput
from vergence.core.specs import name_of
from vergence.data.video.batch import VideoBatch
from vergence.nets.image_encoder import ImageEncoder
from vergence.nets.video_encoder import FrameEncoder
from vergence.views.clips import PIXEL_OPTIONS, ClipAugment, ClipView
from vergence.views.pixels.geometry import Range, box_matrix, random_boxes

_OWN = ("span", "colour")


class Several:
    """Make several views of every clip, each by its own ``ClipAugment``."""

    def __init__(self, *augments: ClipAugment) -> None:
        self.augments = augments

    def __call__(self, batch: VideoBatch, generator: torch.Generator | None = None) -> list[ClipView]:
        return [augment(batch, generator) for augment in self.augments]

    def with_options(self, options: Mapping[str, Any]) -> Several:
        """Return the same views with some options set to other values."""
        own, pixels = _parted(options)
        return Several(*(replace(a, pixels={**(a.pixels or {}), **pixels}, **own) for a in self.augments))


def pair(
    size: int | None = None, frames: int | None = None, read: int | None = None, **options: Any
) -> Several:
    """Two stretches of every clip, each at a speed, cut and coloured of its own (CVRL, arXiv:2008.03800).

    Args:
        size: Side of the views in pixels.
        frames: Of a view.
        read: Frames that a batch has, more than a view where it is to choose.
        options: ``span`` and ``colour`` of ``ClipAugment``, and those of ``Augment``.

    Raises:
        BadInput: Without size and frames: an encoder that does not say its ``input_spec`` is where that
            happens.
    """
    augment = _augment(size, frames, options)
    return Several(augment, augment)


def two_crops(
    size: int | None = None,
    frames: int | None = None,
    read: int | None = None,
    *,
    blur: float | Sequence[float] | None = None,
    solarize: float | Sequence[float] = (0.0, 0.2),
    **options: Any,
) -> Several:
    """Two views that differ in blur and solarisation (BYOL, arXiv:2006.07733).

    Args:
        size: As of ``pair``.
        frames: As of ``pair``.
        read: As of ``pair``.
        blur: Probability, one a view or one for both; None takes (1.0, 0.1) above 64 pixels, else 0.
        solarize: Probability, one a view or one for both.
        options: As of ``pair``; a probability may be given as one a view too.
    """
    blur = blur if blur is not None else (1.0, 0.1) if (size or 0) > 64 else 0.0
    split = {"blur": _each("blur", blur), "solarize": _each("solarize", solarize)}
    for name in ("flip", "jitter_p", "grey"):
        if name in options:
            split[name] = _each(name, options.pop(name))
    views = ({name: p[view] for name, p in split.items()} for view in (0, 1))
    return Several(*(_augment(size, frames, {**options, **own}) for own in views))


def image_encoder(encoder: nn.Module, method: str) -> ImageEncoder:
    """Return the image encoder that stands on every frame, for methods that learn from frames.

    Raises:
        BadInput: If ``encoder`` is none on frames.
    """
    if not isinstance(encoder, FrameEncoder):
        raise BadInput(
            f"{method} needs an image encoder on frames, such as --encoder resnet18; "
            f"{name_of(encoder)} sees whole clips."
        )
    return encoder.backbone


def jittered_patches(
    frames: Tensor,
    side: int,
    *,
    scale: Range,
    ratio: Range = (3 / 4, 4 / 3),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Cut frames into patches that overlap by half, and crop each by its own draw.

    Args:
        frames: ``(M, 3, S, S)`` float.
        side: Of a patch in pixels, 2 or more; crops are brought to it.
        scale: Least and largest share of a patch's area that its crop shows.
        ratio: Least and largest width over height of a crop.
        generator: Of the frames' device.

    Returns:
        ``(M, N, 3, side, side)``, patches in reading order.
    """
    m, _, size, _ = frames.shape
    corner = torch.arange(0, size - side + 1, side // 2, device=frames.device)
    n = len(corner) ** 2
    top, left = torch.meshgrid(corner, corner, indexing="ij")
    sizes = torch.full((m * n, 2), side, device=frames.device)
    boxes = random_boxes(sizes, scale=scale, ratio=ratio, generator=generator)
    boxes[:, 0] += top.flatten().repeat(m)
    boxes[:, 1] += left.flatten().repeat(m)
    matrix = box_matrix(boxes, side) * (2 / size)  # from pixels of a patch to grid_sample's [0, 2]
    at = torch.arange(side, device=frames.device) + 0.5
    x, y = (matrix[:, axis, axis, None] * at + matrix[:, axis, 2, None] - 1 for axis in (0, 1))
    grid = torch.stack([x[:, None].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], -1)
    cut = grid_sample(
        frames, grid.view(m, n * side, side, 2), padding_mode="border", align_corners=False
    )  # bilinear: crops are enlarged
    return cut.unflatten(2, (n, side)).transpose(1, 2)


def one_stretch(size: int, frames: int, read: int, **options: Any) -> Several:
    """One stretch of frames one after the other, cut anywhere at half of the area or more.

    Without mirror and colours, as of pretext tasks that ask what moves where.

    Args:
        size: As of ``pair``.
        frames: As of ``pair``.
        read: Frames that a batch has: a stretch is ``frames / read`` of it.
        options: As of ``pair``.
    """
    share = frames / read
    plainly: dict[str, Any] = {"span": (share, share), "scale": (0.5, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}
    plainly |= {"jitter_p": 0.0, "grey": 0.0, "blur": 0.0}
    return Several(_augment(size, frames, {**plainly, **options}))


def _augment(size: int | None, frames: int | None, options: Mapping[str, Any]) -> ClipAugment:
    if size is None or frames is None:
        raise BadInput(
            "Views of clips need a size and frames: give the encoder "
            'input_spec = {"size": 112, "frames": 16}.'
        )
    own, pixels = _parted(options)
    return ClipAugment(size, frames, pixels=pixels, **own)


def _parted(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of ``ClipAugment`` itself and those of its pixels."""
    own = {name: value for name, value in options.items() if name in _OWN}
    return own, {name: value for name, value in options.items() if name not in _OWN}


def _each(name: str, value: float | Sequence[float]) -> list[float]:
    values = [value] * 2 if isinstance(value, int | float) else list(value)
    if len(values) != 2:
        raise BadInput(f"{name} needs one probability or 2 of them; got {value}.")
    return values


KINDS: dict[str, Callable[..., Callable[..., list[ClipView]]]] = {"pair": pair, "two_crops": two_crops}

# of a fine-tuning
MILD: dict[str, Any] = {"span": (0.8, 1.0), "scale": (0.5, 1.0), "jitter_p": 0.0, "grey": 0.0, "blur": 0.0}

OPTIONS = (*_OWN, *PIXEL_OPTIONS)
