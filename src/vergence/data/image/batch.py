"""A batch of images, as a loader hands it to the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from vergence.data.batch import Batch

if TYPE_CHECKING:
    import numpy as np

    from vergence.core import InputSpec
    from vergence.data.source import Source
    from vergence.data.targets import Target


@dataclass(frozen=True, slots=True)
class ImageBatch(Batch):
    """Photos as they were read, RGB, uint8.

    Args:
        pixels: ``(B, 3, H, W)`` uint8. Photos of several sizes share one canvas: each lies in the
            upper left corner, the rest is zero.
        index: ``(B,)`` int64, the samples' rows in their source.
        label: ``(B,)`` int64, -1 where unknown.
        sizes: ``(B, 2)`` int64, the height and width that are really photo; None where every
            photo fills the canvas.
        targets: What the source was asked for beside labels, by name, in the canvas's pixels; None
            where nothing was asked for.
    """

    pixels: Tensor
    index: Tensor
    label: Tensor
    sizes: Tensor | None = None
    targets: Mapping[str, Target] | None = None


def photos_at(source: Source, rows: np.ndarray, *, spec: InputSpec | None) -> ImageBatch:
    """Read chosen photos of a source, in that order; a row may come twice.

    Args:
        source: Of images.
        rows: ``(B,)``; those that cannot be read are left out.
        spec: As of ``Source.loader``.

    Returns:
        The batch; its ``index`` counts ``rows``.
    """
    batch: ImageBatch = next(iter(source.subset(rows).loader(len(rows), spec=spec)))
    return batch
