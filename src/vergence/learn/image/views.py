"""The kinds of views that images supply: whole batches, on the device, uint8 in and float out.

A factory takes the views' size and options and returns a function from an ``ImageBatch`` to a list
of ``View``. Random numbers come from torch's default generators, which the engine seeds before
every step, or from ``generator`` of the batch's device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.data.batch import ImageBatch
from vergence.learn.image import geometry
from vergence.learn.image.augment import Affine, Augment, View, blocks, photo_sizes
from vergence.learn.image.geometry import Range

__all__ = ["KINDS", "Affine", "Augment", "Several", "View", "pair", "plain", "two_crops"]


class Several:
    """Make several views of every photo, each by its own ``Augment``."""

    def __init__(self, *augments: Augment) -> None:
        self.augments = augments

    def __call__(self, batch: ImageBatch, generator: torch.Generator | None = None) -> list[View]:
        return [augment(batch, generator) for augment in self.augments]


def pair(size: int, **options: Any) -> Several:
    """Two views of the same kind (SimCLR, arXiv:2002.05709); options are those of ``Augment``."""
    augment = Augment(size, **options)
    return Several(augment, augment)


def two_crops(
    size: int,
    *,
    blur: float | Range | None = None,
    solarize: float | Range = (0.0, 0.2),
    **options: Any,
) -> Several:
    """Two views that differ in blur and solarisation (BYOL, arXiv:2006.07733, and MoCo v3).

    Args:
        size: Side of the views in pixels.
        blur: Probability, one a view or one for both; None takes (1.0, 0.1) above 64 pixels, else 0.
        solarize: Probability, one a view or one for both.
        options: Those of ``Augment``; a probability may be given as one a view too.
    """
    options |= {"blur": blur if blur is not None else (1.0, 0.1) if size > 64 else 0.0, "solarize": solarize}
    each: list[dict[str, Any]] = [{}, {}]
    for name, value in options.items():
        split = name in ("flip", "jitter_p", "grey", "blur", "solarize") and isinstance(value, tuple | list)
        for view, own in enumerate(each):
            own[name] = value[view] if split else value
    return Several(*(Augment(size, **own) for own in each))


def plain(batch: ImageBatch, size: int) -> Tensor:
    """Return the central square of every photo, ``(B, 3, size, size)`` float32 in [0, 1], channels last."""
    pixels = batch.pixels
    if batch.sizes is None and pixels.shape[2:] == (size, size):
        return pixels.to(torch.float32, memory_format=torch.channels_last).div_(255)
    boxes = geometry.centre_boxes(photo_sizes(batch))
    out = torch.empty(
        (len(pixels), 3, size, size), device=pixels.device, memory_format=torch.channels_last
    )
    for rows in blocks(pixels, size):
        out[rows] = geometry.resized_crop(pixels[rows], boxes[rows], size)
    return out


KINDS: dict[str, Callable[..., Callable[..., list[View]]]] = {"pair": pair}
