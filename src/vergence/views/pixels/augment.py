"""Augmentation: one random view of every photo in a batch, drawn as tensors, made where the batch lies.

On a CPU ``fused`` makes a view in one pass an image, with the memory of the finished view and 0.8 MB
a thread (S = 224) beside it. Elsewhere, and under an affine motion, torch makes it step by step: on a
CPU in blocks that stay in the cache, on an accelerator all at once, with the memory of up to eight
views as float32 beside the photos, 4.6 MB a photo at S = 224. Views wait for nobody: a step makes its
own and drops them when it is done, and the loader reads at most three batches of bytes ahead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vergence.core.errors import BadInput, unknown
from vergence.data.image.batch import ImageBatch
from vergence.views.pixels import colour, geometry
from vergence.views.pixels.geometry import Range, uniform

if TYPE_CHECKING:
    from vergence.data.targets import Target


@dataclass(frozen=True, slots=True)
class View:
    """One image a sample, and where it was taken from.

    Args:
        pixels: ``(B, 3, S, S)`` float32 in [0, 1], channels last in memory.
        box: ``(B, 4)`` top, left, height, width of the crop in source pixels.
        flip: ``(B,)`` bool, mirrored left and right.
        angle: ``(B,)`` radians by which the photo was turned clockwise, 0 where it was not.
        matrix: ``(B, 2, 3)``, the whole motion: maps ``(x, y, 1)`` in the view to ``(x, y)`` in the
            source, both in pixels with the first pixel's centre at 0.5.
        mask: ``(B, N)`` bool, the hidden patches in reading order; None where nothing is hidden.
        targets: The batch's, moved with the pixels; None where it has none.
    """

    pixels: Tensor
    box: Tensor
    flip: Tensor
    angle: Tensor
    matrix: Tensor
    mask: Tensor | None = None
    targets: Mapping[str, Target] | None = None

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, slots=True)
class Affine:
    """Ranges of a random motion about the photo's centre, done before the crop.

    Args:
        degrees: Largest turn to either side.
        translate: Largest shift as a share of width and height.
        scale: Least and largest magnification.
        shear: Largest shear along x in degrees.
    """

    degrees: float = 0.0
    translate: Range = (0.0, 0.0)
    scale: Range = (1.0, 1.0)
    shear: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise BadInput(f"affine scale needs 0 < least <= largest magnification; got {self.scale}.")
        if not -90 < self.shear < 90:
            raise BadInput(f"affine shear needs degrees between -90 and 90; got {self.shear}.")

    @classmethod
    def of(cls, value: Affine | Mapping[str, Any] | Sequence[Any]) -> Affine:
        """Read a motion from a dict of its fields or from their values in order."""
        if isinstance(value, Affine):
            return value
        names = [field.name for field in fields(cls)]
        if not isinstance(value, Mapping):
            value = dict(zip(names, value, strict=False))
        for name in value:
            if name not in names:
                raise unknown("affine option", name, names)
        return cls(**value)

    def draw(self, sizes: Tensor, generator: torch.Generator | None, group: int = 1) -> tuple[Tensor, Tensor]:
        """Return ``(B,)`` angles in radians and ``(B, 3, 3)`` maps from moved to unmoved pixels."""
        b, turn, tilt = len(sizes), math.radians(self.degrees), math.radians(self.shear)
        angle = uniform(b, -turn, turn, sizes, generator)
        share = torch.stack([uniform(b, -t, t, sizes, generator) for t in self.translate], 1)
        factor = uniform(b, *self.scale, sizes, generator)
        shear = torch.stack([uniform(b, -tilt, tilt, sizes, generator), torch.zeros_like(angle)], 1)
        angle, share, factor, shear = (first_of_group(x, group) for x in (angle, share, factor, shear))
        return angle, geometry.affine_matrix(
            sizes, angle=angle, translate=share * sizes.flip(1), scale=factor, shear=shear
        )


@dataclass(frozen=True, slots=True)
class Drawn:
    """The random numbers of one view.

    Args:
        box: ``(B, 4)``, see ``View``.
        flip: ``(B,)`` bool.
        matrix: ``(B, 2, 3)``, see ``View``.
        factors: ``(4, B)`` of brightness, contrast, saturation, hue; None where there is no jitter.
        order: In which these four are done.
        grey: ``(B,)`` bool.
        blur: ``(B,)`` bool.
        sigma: ``(B,)`` pixels of the blur.
        solarize: ``(B,)`` bool.
    """

    box: Tensor
    flip: Tensor
    matrix: Tensor
    factors: Tensor | None
    order: list[int]
    grey: Tensor
    blur: Tensor
    sigma: Tensor
    solarize: Tensor


@dataclass(frozen=True, slots=True)
class Augment:
    """Crop, mirror, move and recolour every photo of a batch at random: one ``View``.

    The four steps of colour jitter come in one random order a call, not one a sample; everything
    else is drawn for each sample on its own, or for each ``group`` of them.

    Args:
        size: Side of the view in pixels.
        scale: Least and largest share of the photo's area in the crop.
        ratio: Least and largest width over height of the crop.
        flip: Probability of a mirror image.
        jitter: Strength of brightness, contrast, saturation (factors from 1 - s to 1 + s) and hue
            (turns from -s to s of a circle, s <= 1/6).
        jitter_p: Probability of colour jitter.
        grey: Probability of greyscale.
        blur: Probability of Gaussian blur with sigma from 0.1 to 2 pixels; None takes 0.5 for views
            above 64 pixels and 0 below, where it would wipe out what there is.
        solarize: Probability of inverting the bright pixels.
        affine: A motion in the same resampling as the crop: ``Affine``, a dict or tuple of its
            fields, or None.
        group: Photos in a row that are all treated as the first of them is: the same share of each is cut
            out, and they are recoloured by the same numbers.
        recolour: Recolour each photo of a group by its own numbers; where it is cut out stays the group's.
    """

    size: int
    scale: Range = (0.2, 1.0)
    ratio: Range = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    jitter_p: float = 0.8
    grey: float = 0.2
    blur: float | None = None
    solarize: float = 0.0
    affine: Affine | Mapping[str, Any] | Sequence[Any] | None = None
    group: int = 1
    recolour: bool = False

    def __post_init__(self) -> None:
        if self.blur is None:
            object.__setattr__(self, "blur", 0.5 if self.size > 64 else 0.0)
        if self.affine is not None:
            object.__setattr__(self, "affine", Affine.of(self.affine))
        if self.size < 1:
            raise BadInput(f"A view needs a size of 1 pixel or more; got {self.size}.")
        if self.group < 1:
            raise BadInput(f"group needs 1 photo or more that share a draw; got {self.group}.")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise BadInput(f"scale needs 0 < least <= largest <= 1, shares of the photo; got {self.scale}.")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise BadInput(f"ratio needs 0 < least <= largest, width over height; got {self.ratio}.")
        for name in ("flip", "jitter_p", "grey", "blur", "solarize"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{name} needs a probability in [0, 1]; got {getattr(self, name)}.")
        if len(self.jitter) != 4 or min(self.jitter) < 0 or self.jitter[3] > 1 / 6:
            raise BadInput(
                "jitter needs 4 strengths of at least 0 (brightness, contrast, saturation, hue), "
                f"hue at most 1/6; got {self.jitter}."
            )

    def __call__(self, batch: ImageBatch, generator: torch.Generator | None = None) -> View:
        pixels = batch.pixels
        b = len(pixels)
        sizes = photo_sizes(batch)
        box = geometry.random_boxes(sizes, scale=self.scale, ratio=self.ratio, generator=generator)
        if self.group > 1:
            larger = sizes / first_of_group(sizes, self.group)  # exactly 1 where all are of one size
            box = first_of_group(box, self.group) * larger.repeat(1, 2)
        flip = self._chosen(self.flip, sizes, generator, self.group)
        matrix = geometry.box_matrix(box, self.size, flip)
        angle = torch.zeros(b, device=pixels.device)
        if isinstance(self.affine, Affine):
            angle, motion = self.affine.draw(sizes, generator, self.group)
            matrix = geometry.composed(motion, matrix)
        factors = self._draw_jitter(sizes, generator)
        order = torch.randperm(
            4, generator=generator, device=generator.device if generator else None
        ).tolist()
        alike = 1 if self.recolour else self.group
        grey = self._chosen(self.grey, sizes, generator, alike)
        blur = self._chosen(self.blur, sizes, generator, alike)
        sigma = first_of_group(uniform(b, 0.1, 2.0, sizes, generator), alike)
        solarize = self._chosen(self.solarize, sizes, generator, alike)
        drawn = Drawn(box, flip, matrix, factors, order, grey, blur, sigma, solarize)
        pixels = self._made(batch, sizes, drawn)
        return View(pixels, box, flip, angle, matrix, targets=_moved(batch, matrix, self.size, sizes))

    def _made(self, batch: ImageBatch, sizes: Tensor, drawn: Drawn) -> Tensor:
        """Return the pixels of a view: in one pass an image on a CPU, else step by step."""
        if self.affine is not None or not one_pass(batch.pixels):
            return self._made_by_steps(batch, sizes, drawn)
        from vergence.views.pixels import fused

        return fused.views(
            batch.pixels,
            drawn.box,
            self.size,
            flip=drawn.flip,
            factors=drawn.factors,
            order=drawn.order,
            grey=drawn.grey,
            sigma=drawn.sigma * drawn.blur,
            solarize=drawn.solarize,
        )

    def _made_by_steps(self, batch: ImageBatch, sizes: Tensor, drawn: Drawn) -> Tensor:
        pixels, size, factors = batch.pixels, self.size, drawn.factors
        out = torch.empty(
            (len(pixels), 3, size, size), device=pixels.device, memory_format=torch.channels_last
        )
        lines = geometry.crop_lines(drawn.box, (pixels.shape[2], pixels.shape[3]), size, flip=drawn.flip)
        for rows in blocks(pixels, size):
            if self.affine is None:
                x = geometry.resample(pixels[rows], lines[0][rows], lines[1][rows])
            else:
                real = None if batch.sizes is None else sizes[rows]
                x = geometry.warp(pixels[rows], drawn.matrix[rows], size, sizes=real)
            if factors is None:
                x.clamp_(0, 1)  # sums of rounded weights may exceed 1 in the last bit
            else:
                for step in drawn.order:
                    x = _JITTER[step](x, factors[step, rows])
            if self.grey:
                x = colour.on_rows(x, drawn.grey[rows], colour.greyscale)
            if self.blur:
                x = colour.on_rows(x, drawn.blur[rows], colour.gaussian_blur, drawn.sigma[rows])
            if self.solarize:
                x = colour.on_rows(x, drawn.solarize[rows], colour.solarize)
            out[rows] = x
        return out

    def _chosen(
        self, p: float | None, sizes: Tensor, generator: torch.Generator | None, group: int
    ) -> Tensor:
        draw = torch.rand(len(sizes), generator=generator, device=sizes.device)
        return first_of_group(draw < (p or 0.0), group)

    def _draw_jitter(self, sizes: Tensor, generator: torch.Generator | None) -> Tensor | None:
        """Return ``(4, B)`` factors of brightness, contrast and saturation and turns of hue, or None."""
        if not self.jitter_p or not any(self.jitter):
            return None
        alike = 1 if self.recolour else self.group
        chosen = self._chosen(self.jitter_p, sizes, generator, alike)
        strength = torch.tensor(self.jitter, device=sizes.device)[:, None]
        neutral = torch.tensor([1.0, 1.0, 1.0, 0.0], device=sizes.device)[:, None]
        draw = torch.rand((4, len(sizes)), generator=generator, device=sizes.device) * 2 - 1
        draw = first_of_group(draw.T, alike).T
        factors = neutral + strength * draw * chosen
        return torch.cat([factors[:3].clamp_min(0), factors[3:]])


def first_of_group(x: Tensor, group: int) -> Tensor:
    """Return ``(B, ...)`` in which each row is the first one of its ``group`` consecutive rows."""
    return x if group == 1 else x[::group].repeat_interleave(group, 0)[: len(x)]


_JITTER = (colour.brightness_, colour.contrast_, colour.saturation_, colour.hue_)


def photo_sizes(batch: ImageBatch) -> Tensor:
    """Return ``(B, 2)`` height and width of every photo on its canvas."""
    if batch.sizes is not None:
        return batch.sizes
    height, width = batch.pixels.shape[2:]
    return torch.tensor([[height, width]], device=batch.pixels.device).expand(len(batch.pixels), 2)


def one_pass(pixels: Tensor) -> bool:
    """Whether ``fused`` can make views of these pixels."""
    return pixels.device.type == "cpu" and pixels.dtype == torch.uint8


def blocks(pixels: Tensor, size: int) -> Iterator[slice]:
    """Split a batch into runs of samples that stay in the processor's cache; one run on an accelerator."""
    b, _, height, width = pixels.shape
    rows = b
    if pixels.device.type == "cpu":
        rows = max(1, 2**16 * torch.get_num_threads() // max(size * size, height * width))
    for start in range(0, b, rows):
        yield slice(start, start + rows)


def _moved(batch: ImageBatch, matrix: Tensor, size: int, sizes: Tensor) -> Mapping[str, Target] | None:
    if batch.targets is None:
        return None
    from vergence.views.pixels.targets import moved_targets

    return moved_targets(batch.targets, matrix, size, sizes)


def centre_view(batch: ImageBatch, size: int) -> View:
    """Return the central square of every photo as a view, with its targets; the pixels are ``plain``'s."""
    sizes = photo_sizes(batch)
    box = geometry.centre_boxes(sizes)
    none = torch.zeros(len(box), device=box.device)
    matrix = geometry.box_matrix(box, size)
    return View(
        plain(batch, size), box, none.bool(), none, matrix, targets=_moved(batch, matrix, size, sizes)
    )


def plain(batch: ImageBatch, size: int, *, share: float = 1.0, cubic: bool = False) -> Tensor:
    """Return the central square of every photo, ``(B, 3, size, size)`` float32 in [0, 1], channels last.

    Args:
        batch: Photos of any sizes.
        size: Side of the result in pixels.
        share: Side of the square as a share of the photo's shorter side, in (0, 1].
        cubic: Resize bicubically, as many pretrained networks expect, instead of bilinearly.
    """
    pixels = batch.pixels
    if share == 1 and batch.sizes is None and pixels.shape[2:] == (size, size):
        return pixels.to(torch.float32, memory_format=torch.channels_last).div_(255)
    boxes = geometry.centre_boxes(photo_sizes(batch), share)
    if one_pass(pixels) and not cubic:
        from vergence.views.pixels import fused

        return fused.views(pixels, boxes, size)
    out = torch.empty((len(pixels), 3, size, size), device=pixels.device, memory_format=torch.channels_last)
    for rows in blocks(pixels, size):
        out[rows] = geometry.resized_crop(pixels[rows], boxes[rows], size, cubic=cubic)
    return out.clamp_(0, 1) if cubic else out
