"""Geometry of views: crop boxes and motions, a batch at a time, and the one resampling that does them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vergence.losses.precision import in_float32

Range = tuple[float, float]


def uniform(rows: int, low: float, high: float, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw ``(rows,)`` numbers from [low, high) on the device of ``like``."""
    return torch.rand(rows, generator=generator, device=like.device).mul_(high - low).add_(low)


def random_boxes(
    sizes: Tensor, *, scale: Range, ratio: Range, generator: torch.Generator | None = None
) -> Tensor:
    """Draw crop boxes as torchvision's ``RandomResizedCrop`` does, all at once.

    Ten boxes are tried a photo; where none fits, the largest central box within ``ratio`` is taken.

    Args:
        sizes: ``(B, 2)`` height and width of each photo in pixels.
        scale: Least and largest share of the photo's area.
        ratio: Least and largest width over height, drawn log-uniformly.
        generator: Of the photos' device.

    Returns:
        ``(B, 4)`` float32 top, left, height, width; whole pixels.
    """
    height, width = sizes.float().unbind(1)
    shape = (len(sizes), 10)
    draw = torch.rand((4, *shape), generator=generator, device=sizes.device)
    area = (height * width)[:, None] * (scale[0] + (scale[1] - scale[0]) * draw[0])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(low + (high - low) * draw[1])
    w, h = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (w >= 1) & (h >= 1) & (w <= width[:, None]) & (h <= height[:, None])
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    top = (draw[2] * (height[:, None] - h + 1)).floor()
    left = (draw[3] * (width[:, None] - w + 1)).floor()
    box = torch.stack([top, left, h, w]).gather(2, first.expand(4, -1, -1))[:, :, 0]
    wide = (height * ratio[1]).round().minimum(width)
    tall = (width / ratio[0]).round().minimum(height)
    centre = torch.stack([((height - tall) / 2).round(), ((width - wide) / 2).round(), tall, wide])
    return torch.where(fits.any(1), box, centre).T.contiguous()


def centre_boxes(sizes: Tensor, share: float = 1.0) -> Tensor:
    """Return a central square of each photo: ``(B, 2)`` sizes -> ``(B, 4)`` boxes.

    Args:
        sizes: Height and width.
        share: Of the shorter side, in (0, 1]; 1 takes the largest square, in whole pixels.
    """
    side = sizes.float().amin(1) * share
    corner = (sizes - side[:, None]) / 2
    if share == 1:
        corner = corner.floor()
    return torch.cat([corner, side[:, None], side[:, None]], 1)


@dataclass(frozen=True, slots=True)
class Lines:
    """Where the rows or columns of crops lie among those of their images, in units of a tap's reach.

    Args:
        centre: ``(B, n_out)`` centres of the output's lines.
        source: ``(B, n_in)`` centres of the image's lines; infinite outside the box.
        shrinks: Whether any output line may cover more than one of the image.
        cubic: Whether an output line is a cubic around its centre instead of a triangle.
    """

    centre: Tensor
    source: Tensor
    shrinks: bool
    cubic: bool = False

    @classmethod
    def of(
        cls,
        start: Tensor,
        length: Tensor,
        n_in: int,
        n_out: int,
        mirror: Tensor | None,
        *,
        antialias: bool,
        cubic: bool = False,
    ) -> Lines:
        """Lay ``n_out`` lines evenly over ``[start, start + length)``, backwards where ``mirror`` says."""
        step = (length / n_out)[:, None]
        line = torch.arange(0.5, n_out, device=start.device)[None]
        if mirror is not None:
            line = torch.where(mirror[:, None], n_out - line, line)
        first, last = start.floor()[:, None], (start + length).ceil()[:, None]
        source = torch.arange(0.5, n_in, device=start.device)[None]
        source = torch.where((source > first) & (source < last), source, torch.inf)
        centre = start[:, None] + line * step
        if cubic or (antialias and n_in > n_out):
            reach = step.clamp_min(1)
            return cls(centre / reach, source / reach, True, cubic)
        return cls(centre.maximum(first + 0.5).minimum(last - 0.5), source, False)

    def __getitem__(self, rows: slice) -> Lines:
        """Return the lines of these samples."""
        return Lines(self.centre[rows], self.source[rows], self.shrinks, self.cubic)

    def taps(self, total: float = 1.0) -> Tensor:
        """Return the ``(B, n_out, n_in)`` weights of the image's lines, adding up to ``total``.

        Each output line is a triangle around its centre, as wide as the shrinking asks, cut at the
        box and normalised: what PIL and torchvision call (antialiased) bilinear. Bicubic takes Keys' cubic
        with a = -1/2 instead, twice as wide.
        """
        if self.cubic:
            away = (self.centre[:, :, None] - self.source[:, None]).abs_().clamp_max_(2)
            near, far = ((1.5 * away - 2.5) * away * away + 1, ((2.5 - 0.5 * away) * away - 4) * away + 2)
            weights = torch.where(away <= 1, near, far)
            return weights.div_(weights.sum(2, keepdim=True).div_(total))
        weights = (self.centre * total)[:, :, None] - (self.source * total)[:, None]
        weights = torch.rsub(weights.abs_(), total).relu_()
        return weights.div_(weights.sum(2, keepdim=True).div_(total)) if self.shrinks else weights


def crop_lines(
    boxes: Tensor,
    shape: tuple[int, int],
    size: int,
    *,
    flip: Tensor | None = None,
    antialias: bool = True,
    cubic: bool = False,
) -> tuple[Lines, Lines]:
    """Return the rows and columns by which ``resample`` cuts ``boxes`` out of images of this ``shape``."""
    top, left, tall, wide = boxes.float().unbind(1)
    return (
        Lines.of(top, tall, shape[0], size, None, antialias=antialias, cubic=cubic),
        Lines.of(left, wide, shape[1], size, flip, antialias=antialias, cubic=cubic),
    )


@in_float32
def resample(pixels: Tensor, rows: Lines, columns: Lines) -> Tensor:
    """Resample ``(B, C, H, W)`` images by a small matrix product along each axis, colour planes apart."""
    b, channels, height, width = pixels.shape
    source = pixels.to(torch.float32, memory_format=torch.contiguous_format)
    narrow = torch.bmm(source.reshape(b, channels * height, width), columns.taps().transpose(1, 2))
    narrow = narrow.view(b, channels, height, -1)
    taps = rows.taps(1 / 255 if pixels.dtype == torch.uint8 else 1.0)
    out = narrow.new_empty((channels, b, taps.shape[1], narrow.shape[3]))
    for channel in range(channels):
        torch.bmm(taps, narrow[:, channel], out=out[channel])
    return out.transpose(0, 1)


def resized_crop(
    pixels: Tensor,
    boxes: Tensor,
    size: int,
    *,
    flip: Tensor | None = None,
    antialias: bool = True,
    cubic: bool = False,
) -> Tensor:
    """Cut a box out of every image and resize it to ``(size, size)``.

    Args:
        pixels: ``(B, C, H, W)``; uint8 becomes float32 in [0, 1], float keeps its range.
        boxes: ``(B, 4)`` top, left, height, width within the image; may be fractional.
        size: Side of the result in pixels.
        flip: ``(B,)`` bool, mirror left and right.
        antialias: Average over the pixels that one output pixel covers when shrinking.
        cubic: Bicubic, antialiased, instead of bilinear; may leave the range by a little.
    """
    shape = (pixels.shape[2], pixels.shape[3])
    return resample(pixels, *crop_lines(boxes, shape, size, flip=flip, antialias=antialias, cubic=cubic))


def quarter_turns(pixels: Tensor, k: Tensor | int) -> Tensor:
    """Turn ``(B, C, S, S)`` images counter-clockwise by ``k`` exact quarters, a number or ``(B,)``."""
    if isinstance(k, int):
        return torch.rot90(pixels, k, (2, 3))
    if pixels.shape[2] != pixels.shape[3]:
        raise ValueError(f"quarter_turns by a k per image needs square images; got {tuple(pixels.shape)}.")
    k = (k % 4).view(-1, 1, 1, 1)
    turned = torch.where(k % 2 == 1, pixels.transpose(2, 3).flip(2), pixels)
    return torch.where(k >= 2, turned.flip(2, 3), turned)


def box_matrix(boxes: Tensor, size: int, flip: Tensor | None = None) -> Tensor:
    """Return ``(B, 2, 3)`` maps from output to source pixels, ``(x, y, 1) -> (x, y)``, of crops.

    Coordinates are continuous: the first pixel's centre is 0.5.
    """
    top, left, tall, wide = boxes.float().unbind(1)
    across, origin = wide / size, left
    if flip is not None:
        across = torch.where(flip, -across, across)
        origin = torch.where(flip, left + wide, left)
    zero = torch.zeros_like(top)
    return torch.stack([across, zero, origin, zero, tall / size, top], 1).view(-1, 2, 3)


def composed(outer: Tensor, inner: Tensor) -> Tensor:
    """Return the maps ``(B, 2, 3)`` of points that go by ``inner (B, 2, 3)`` first, then by ``outer``.

    ``outer`` is ``(B, 2, 3)`` or ``(B, 3, 3)``.
    """
    return outer[:, :2, :2] @ inner + F.pad(outer[:, :2, 2:], (2, 0))


def affine_matrix(
    sizes: Tensor,
    *,
    angle: Tensor | None = None,
    translate: Tensor | None = None,
    scale: Tensor | None = None,
    shear: Tensor | None = None,
) -> Tensor:
    """Return ``(B, 3, 3)`` maps from moved to unmoved pixels about each image's centre.

    Args:
        sizes: ``(B, 2)`` height and width in pixels.
        angle: ``(B,)`` radians, clockwise as it is seen (torchvision's ``affine``).
        translate: ``(B, 2)`` pixels to the right and down.
        scale: ``(B,)`` factor of magnification, above 0.
        shear: ``(B, 2)`` radians along x and y.
    """
    b = len(sizes)
    centre = sizes.float().flip(1) / 2
    zero = centre.new_zeros(b)
    angle = zero if angle is None else angle
    shear_x, shear_y = (zero, zero) if shear is None else shear.unbind(1)
    factor = 1 if scale is None else scale
    a = torch.cos(angle - shear_y) / torch.cos(shear_y)
    c = -torch.cos(angle - shear_y) * torch.tan(shear_x) / torch.cos(shear_y) - torch.sin(angle)
    d = torch.sin(angle - shear_y) / torch.cos(shear_y)
    e = -torch.sin(angle - shear_y) * torch.tan(shear_x) / torch.cos(shear_y) + torch.cos(angle)
    linear = torch.linalg.inv(torch.stack([a, c, d, e], 1).view(b, 2, 2)) / torch.as_tensor(factor).view(
        -1, 1, 1
    )
    moved = centre if translate is None else centre + translate
    offset = centre - (linear @ moved[:, :, None])[:, :, 0]
    last = centre.new_tensor([0.0, 0.0, 1.0]).expand(b, 1, 3)
    return torch.cat([torch.cat([linear, offset[:, :, None]], 2), last], 1)


def warp(pixels: Tensor, matrix: Tensor, size: int, *, sizes: Tensor | None = None) -> Tensor:
    """Resample images under any affine map in one go; what lies outside a photo is black.

    Args:
        pixels: ``(B, C, H, W)``; uint8 becomes float32 in [0, 1], float keeps its range.
        matrix: ``(B, 2, 3)`` from output to source pixels, ``(x, y, 1) -> (x, y)``.
        size: Side of the result in pixels.
        sizes: ``(B, 2)`` height and width of the photo on its canvas; None where it fills it.
    """
    height, width = pixels.shape[2:]
    source = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
    if sizes is not None:
        rows = torch.arange(height, device=pixels.device) < sizes[:, :1]
        columns = torch.arange(width, device=pixels.device) < sizes[:, 1:]
        source = source * (rows[:, None, :, None] & columns[:, None, None])
    # a photo larger than the view is averaged over a finer grid: bilinear taps alone would alias
    fine = min(4, max(1, round(min(height, width) / size)))
    at = (torch.arange(size * fine, device=pixels.device) + 0.5) / fine
    unit = matrix.new_tensor([2 / width, 2 / height]).view(2, 1)
    matrix = matrix * unit
    x = matrix[:, None, :, 0] * at[:, None]
    y = matrix[:, None, :, 1] * at[:, None] + matrix[:, None, :, 2] - 1
    grid = x[:, None] + y[:, :, None]
    out = F.grid_sample(source, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return F.avg_pool2d(out, fine) if fine > 1 else out
