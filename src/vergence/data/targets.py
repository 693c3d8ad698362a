"""Targets: what a source holds beside its samples, typed and batched.

A target of many parts a sample (boxes, instances, keypoints, boundary maps) lists the parts of all
samples one after the other; ``of`` says which sample each belongs to. A target of one part a sample
has the samples as its first axis.

Pixel convention: x goes to the right, y goes down, the origin is the outer corner of the top-left
pixel, so that this pixel's centre is (0.5, 0.5). Files that count pixels from 0 at their centres (the
keypoints of COCO, DeepLabCut and OpenCV) differ by half a pixel: ``from_centres`` and ``to_centres``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import torch
from torch import Tensor
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat, KeyPoints, Mask

from vergence.core.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

    from vergence.data.source import Skipped

MAP = {"map": True}  # of fields that lie over the picture
VOID = -1  # a pixel whose class nobody said, or that lies outside of the picture


def from_centres(xy: Tensor) -> Tensor:
    """Return coordinates of files in which the first pixel's centre is 0, in the pixel convention."""
    return xy + 0.5


def to_centres(xy: Tensor) -> Tensor:
    """Return coordinates of the pixel convention as files have them in which the first centre is 0."""
    return xy - 0.5


T = TypeVar("T", bound="Target")


@dataclass(frozen=True)
class Target:
    """One kind of target of some samples, the same samples in the same order as their batch."""

    def pick(self, rows: Tensor) -> Self:
        """Return the target of the samples ``rows (B,)``, in that order; a row may come twice."""
        return self._each(lambda value: value[rows])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        return self._each(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        return self._each(lambda value: value.pin_memory())

    def on_canvas(self, height: int, width: int) -> Self:
        """Return the same target, of pictures that lie in the upper left corners of a common canvas.

        Raises:
            BadInput: If maps are not as large as that canvas.
        """
        for f in fields(self):
            value = getattr(self, f.name)
            if f.metadata.get("map") and value.shape[-2:] != (height, width):
                raise BadInput(
                    f"{type(self).__name__} of {value.shape[-2]} x {value.shape[-1]} pixels do not fit "
                    f"pictures of {height} x {width}."
                )
        return self

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return the same target with its tensors changed; those of torchvision keep their type."""
        changed = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor):
                changed[f.name] = like(value, change(value.as_subclass(Tensor)))
        return replace(self, **changed)


class LazyTarget(ABC):
    """A target that is read or made when a batch asks for it."""

    @abstractmethod
    def load(self, rows: np.ndarray, sizes: np.ndarray | None, skipped: Skipped) -> Target:
        """Return the target of samples ``rows (B,)``, on a canvas as large as the largest of them.

        Args:
            rows: Which samples.
            sizes: ``(B, 2)`` height and width of each picture; None does not compare.
            skipped: Where it is noted that one cannot be had; it then counts as not known.
        """


@dataclass(frozen=True)
class Parts(Target):
    """A target of any number of parts a sample.

    Args:
        of: ``(N,)`` int64, ascending: the sample of each part.
    """

    of: Tensor

    def pick(self, rows: Tensor) -> Self:
        first = torch.searchsorted(self.of, rows)
        count = torch.searchsorted(self.of, rows, right=True) - first
        owner = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), count)
        before = count.cumsum(0) - count
        place = torch.arange(len(owner), device=rows.device) - before[owner] + first[owner]
        return replace(self._each(lambda value: value[place]), of=owner)

    def __len__(self) -> int:
        return len(self.of)


@dataclass(frozen=True)
class Boxes(Parts):
    """Boxes that lie along the axes.

    Args:
        xyxy: ``(N, 4)`` float32 left, top, right, bottom in pixels.
        label: ``(N,)`` int64, -1 where unknown.
        share: ``(N,)`` float32, how much of the area is in view, in [0, 1]; 0 marks a box that a view has
            lost, whose corners then lie on the view's edge.
    """

    xyxy: BoundingBoxes
    label: Tensor
    share: Tensor

    @classmethod
    def of_samples(cls, boxes: Iterable[Any], labels: Iterable[Any] | None = None) -> Boxes:
        """Build boxes from one ``(n, 4)`` array of corners a sample, and their labels ``(n,)``."""
        each = [torch.as_tensor(part, dtype=torch.float32).reshape(-1, 4) for part in boxes]
        xyxy, of = torch.cat([*each, torch.zeros(0, 4)]), owners(each)
        label = (
            torch.full((len(of),), -1)
            if labels is None
            else torch.cat([torch.as_tensor(part, dtype=torch.int64).reshape(-1) for part in labels])
        )
        if len(label) != len(of):
            raise ValueError(f"Boxes need one label each; got {len(of)} boxes and {len(label)} labels.")
        return cls(of, corners(xyxy), label, torch.ones(len(of)))

    def on_canvas(self, height: int, width: int) -> Boxes:
        return replace(self, xyxy=corners(self.xyxy.as_subclass(Tensor), (height, width)))


@dataclass(frozen=True)
class Instances(Parts):
    """Things, each with its own mask.

    Args:
        masks: ``(N, H, W)`` bool.
        label: ``(N,)`` int64, -1 where unknown.
    """

    masks: Mask = field(metadata=MAP)
    label: Tensor


@dataclass(frozen=True)
class Keypoints(Parts):
    """Named points of things; tracks are points at T times in place of K names.

    Args:
        xy: ``(N, K, 2)`` float32 in pixels.
        visibility: ``(N, K)`` uint8 as in COCO: 0 not known or out of view, 1 covered, 2 seen.
        names: K words, or None.
    """

    xy: KeyPoints
    visibility: Tensor
    names: tuple[str, ...] | None = None

    @classmethod
    def of_samples(cls, points: Tensor, visibility: Tensor | None = None, **names: Any) -> Keypoints:
        """Build keypoints of one thing a sample, ``(B, K, 2)``; points that are not finite are not known."""
        known = points.isfinite().all(2)
        seen = known.to(torch.uint8) * 2 if visibility is None else visibility.to(torch.uint8) * known
        return cls(torch.arange(len(points)), points_in(points.float().nan_to_num(0.0)), seen, **names)

    def on_canvas(self, height: int, width: int) -> Keypoints:
        return replace(self, xy=points_in(self.xy.as_subclass(Tensor), (height, width)))


@dataclass(frozen=True)
class Points(Parts):
    """Places of any number, such as corners and junctions.

    Args:
        xy: ``(N, 2)`` float32 in pixels.
        kind: ``(N,)`` int64, as the source counts them; -1 marks a place that a view has lost.
    """

    xy: Tensor
    kind: Tensor


@dataclass(frozen=True)
class Segments(Parts):
    """Straight lines of any number.

    Args:
        ends: ``(N, 2, 2)`` float32 both ends in pixels.
        share: ``(N,)`` float32, how much of the line is seen, in [0, 1].
    """

    ends: Tensor
    share: Tensor


@dataclass(frozen=True)
class Boundaries(Parts):
    """Maps of where people, or a generator, saw boundaries; several a picture where several people drew.

    Args:
        maps: ``(N, H, W)`` float32 in [0, 1], the share of a pixel that is boundary.
    """

    maps: Mask = field(metadata=MAP)


@dataclass(frozen=True)
class Masks(Target):
    """One class a pixel.

    Args:
        classes: ``(B, H, W)`` int16, ``VOID`` where unknown.
    """

    classes: Mask = field(metadata=MAP)


@dataclass(frozen=True)
class Depth(Target):
    """Distance along the view's axis.

    Args:
        values: ``(B, H, W)`` float32 in the source's unit, NaN where unknown.
    """

    values: Tensor = field(metadata=MAP)


@dataclass(frozen=True)
class Maps(Target):
    """Numbers that lie over the picture: contours by cause, distances to them, light.

    Args:
        values: ``(B, C, H, W)`` float32.
        names: Of the C maps.
    """

    values: Tensor = field(metadata=MAP)
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Flow(Target):
    """Where each pixel goes in the next frame.

    Args:
        uv: ``(B, 2, H, W)`` float32 pixels to the right and down, NaN where unknown.
    """

    uv: Tensor = field(metadata=MAP)


@dataclass(frozen=True)
class Values(Target):
    """Numbers that no view changes: labels, domain, group, action, pose, audio, what a regression aims at.

    Args:
        values: ``(B, ...)``; of classes int64, -1 where unknown; of numbers float32, NaN where unknown.
        names: Of the classes, or None.
    """

    values: Tensor
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Tags(Target):
    """Any number of yes-or-no statements a sample: tags and attributes.

    Args:
        values: ``(B, A)`` bool.
        known: ``(B, A)`` bool; what is not known counts neither as yes nor as no.
        names: A words, or None.
    """

    values: Tensor
    known: Tensor
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Captions(Target):
    """Sentences about a sample.

    Args:
        texts: B tuples of any number of sentences.
    """

    texts: tuple[tuple[str, ...], ...]

    def pick(self, rows: Tensor) -> Self:
        return replace(self, texts=tuple(self.texts[i] for i in rows.tolist()))


KINDS: dict[str, type[Target]] = {
    "labels": Values, "boxes": Boxes, "masks": Masks, "instances": Instances, "keypoints": Keypoints,
    "boundaries": Boundaries, "depth": Depth, "flow": Flow, "tracks": Keypoints, "captions": Captions,
    "attributes": Tags, "tags": Tags, "pose": Values, "parts": Values, "domain": Values, "group": Values,
    "action": Values, "audio": Values, "values": Values, "amodal": Instances, "order": Values,
    "distance": Maps, "contours": Maps, "light": Maps, "skeleton": Maps, "segments": Segments,
    "junctions": Points, "taxonomy": Values, "identities": Values, "homography": Values, "first": Values,
}  # fmt: skip


def joined(parts: Sequence[T], counts: Sequence[int]) -> T:
    """Return the target of the samples of several batches; maps must be of one size.

    Args:
        parts: One a batch.
        counts: Samples of each batch.
    """
    together: dict[str, Any] = {}
    starts = [sum(counts[:i]) for i in range(len(counts))]
    for f in fields(parts[0]):
        values = [getattr(part, f.name) for part in parts]
        if f.name == "of":
            values = [value + start for value, start in zip(values, starts, strict=True)]
        if isinstance(values[0], Tensor):
            whole = torch.cat([value.as_subclass(Tensor) for value in values])
            together[f.name] = like(values[0], whole)
        elif f.name == "texts":
            together[f.name] = tuple(text for value in values for text in value)
    return replace(parts[0], **together)


def owners(parts: Iterable[Any]) -> Tensor:
    """Return which sample each part is of, ``(N,)`` int64, from one sequence of parts a sample."""
    counts = torch.tensor([len(part) for part in parts], dtype=torch.int64)
    return torch.repeat_interleave(torch.arange(len(counts)), counts)


def corners(xyxy: Tensor, canvas: tuple[int, int] = (0, 0)) -> BoundingBoxes:
    """Return boxes ``(N, 4)`` of corners as torchvision's type; a canvas of (0, 0) is of several sizes."""
    return BoundingBoxes(xyxy, format=BoundingBoxFormat.XYXY, canvas_size=canvas)


def points_in(xy: Tensor, canvas: tuple[int, int] = (0, 0)) -> KeyPoints:
    """Return points ``(..., 2)`` as torchvision's type; a canvas of (0, 0) is of several sizes."""
    return KeyPoints(xy, canvas_size=canvas)


def like(old: Tensor, new: Tensor) -> Tensor:
    """Return ``new`` as the type of torchvision that ``old`` has, with its format and canvas."""
    if isinstance(old, BoundingBoxes):
        return corners(new, old.canvas_size)
    if isinstance(old, KeyPoints):
        return points_in(new, old.canvas_size)
    return Mask(new) if isinstance(old, Mask) else new
