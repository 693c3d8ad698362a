"""Colour transforms: brightness, contrast, saturation, hue, greyscale, blur and solarisation.

Every function takes float pixels ``(B, 3, H, W)`` in [0, 1] and one number a sample, leaves its
input as it was, and agrees with torchvision's function of the same name on float images.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_RED, _GREEN, _BLUE = 0.2989, 0.587, 0.114  # ITU-R 601 luma, as torchvision rounds it


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _luma(pixels: Tensor) -> Tensor:
    red, green, blue = pixels.unbind(1)
    return (red * _RED).add_(green, alpha=_GREEN).add_(blue, alpha=_BLUE)[:, None]


def brightness_(pixels: Tensor, factor: Tensor) -> Tensor:
    """Do ``adjust_brightness`` in place."""
    return pixels.mul_(_column(factor)).clamp_max_(1)


def contrast_(pixels: Tensor, factor: Tensor) -> Tensor:
    """Do ``adjust_contrast`` in place."""
    red, green, blue = pixels.mean((2, 3)).unbind(1)
    grey = red * _RED + green * _GREEN + blue * _BLUE
    return pixels.mul_(_column(factor)).add_(_column(grey * (1 - factor))).clamp_(0, 1)


def saturation_(pixels: Tensor, factor: Tensor) -> Tensor:
    """Do ``adjust_saturation`` in place."""
    grey = _luma(pixels).mul_(_column(1 - factor))
    return pixels.mul_(_column(factor)).add_(grey).clamp_(0, 1)


def hue_(pixels: Tensor, turn: Tensor) -> Tensor:
    """Do ``adjust_hue`` in place, for turns within [-1/6, 1/6].

    Along the edge of the HSV hexagon one channel at a time rises or falls between the least and
    the greatest of the three, so that a turn by t <= 1 sextants is, for red and t > 0,
    ``clamp(r - g + (max - t c if g >= b else min + t c), min, max)`` with ``c = max - min``; the
    other channels follow by rotation and t < 0 by mirroring. No angle and no division is needed.
    Written out for both signs s of the turn this is
    ``clamp(1.5 r - mid / 2 + s (sign(g - b) c (1/2 - |t|) - (g - b) / 2), min, max)``.
    """
    red, green, blue = pixels.unbind(1)
    least = torch.minimum(red, green)
    greatest = torch.maximum(red, green)
    middle = torch.minimum(greatest, blue)
    torch.maximum(middle, least, out=middle)
    greatest = torch.maximum(greatest, blue)[:, None]
    least = torch.minimum(least, blue)[:, None]
    sextants = _column(turn * 6)
    sign = torch.where(sextants < 0, -1.0, 1.0)
    reach = (greatest - least).mul_(sign * (0.5 - sextants.abs()))
    slope = torch.empty_like(pixels)
    torch.sub(green, blue, out=slope[:, 0])
    torch.sub(blue, red, out=slope[:, 1])
    torch.sub(red, green, out=slope[:, 2])
    shift = slope.sign().mul_(reach).sub_(slope.mul_(sign / 2)).sub_(middle.mul_(0.5)[:, None])
    return pixels.mul_(1.5).add_(shift).clamp_(least, greatest)


def adjust_brightness(pixels: Tensor, factor: Tensor) -> Tensor:
    """Multiply by ``factor (B,)``, at least 0."""
    return brightness_(pixels.clone(), factor)


def adjust_contrast(pixels: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean grey; ``factor (B,)`` is 0 for flat grey, 1 for no change."""
    return contrast_(pixels.clone(), factor)


def adjust_saturation(pixels: Tensor, factor: Tensor) -> Tensor:
    """Blend with the greyscale image; ``factor (B,)`` is 0 for grey, 1 for no change."""
    return saturation_(pixels.clone(), factor)


def adjust_hue(pixels: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue of HSV by ``turn (B,)`` of a full circle, in [-0.5, 0.5]."""
    thirds = (turn * 3).round()
    channel = torch.arange(3, device=pixels.device)[None] - thirds.long()[:, None]
    rolled = pixels.gather(1, (channel % 3)[:, :, None, None].expand_as(pixels))
    return hue_(rolled, turn - thirds / 3)


def greyscale(pixels: Tensor) -> Tensor:
    """Return the luma in all three channels."""
    return _luma(pixels).expand(-1, 3, -1, -1)


def solarize(pixels: Tensor, threshold: float = 0.5) -> Tensor:
    """Invert what is at least ``threshold``."""
    return torch.where(pixels >= threshold, 1 - pixels, pixels)


def gaussian_blur(pixels: Tensor, sigma: Tensor, kernel: int | None = None) -> Tensor:
    """Blur each image by its own Gaussian, one axis after the other, with mirrored borders.

    Args:
        pixels: ``(B, C, H, W)``.
        sigma: ``(B,)`` pixels, above 0.
        kernel: Odd width of the filter in pixels; None takes a tenth of the image (SimCLR).
    """
    b, channels, height, width = pixels.shape
    kernel = min(height, width) // 20 * 2 + 1 if kernel is None else kernel
    if kernel % 2 == 0 or kernel < 1:
        raise ValueError(f"gaussian_blur needs an odd kernel; got {kernel}.")
    reach = torch.arange(2 * max(height, width), device=pixels.device)
    taps = torch.exp(-0.5 * (reach / sigma[:, None]) ** 2) * (reach <= kernel // 2)
    taps = taps / (2 * taps.sum(1, keepdim=True) - 1)  # the centre, 1, is there once
    narrow = torch.matmul(pixels.reshape(b, channels * height, width), _mirrored(taps, width).transpose(1, 2))
    out = torch.matmul(_mirrored(taps, height)[:, None], narrow.view(b, channels, height, width))
    return out.clamp_(0, 1)


def _mirrored(taps: Tensor, lines: int) -> Tensor:
    """Return the ``(B, lines, lines)`` filter of the symmetric ``taps (B, distance)``, mirrored at its ends.

    A product with the whole band matrix is several times faster on a CPU than a depthwise convolution.
    """
    at = torch.arange(lines, device=taps.device)
    to, source = at[:, None], at[None]
    band = taps[:, (to - source).abs()]
    band += taps[:, to + source] * (source > 0)
    return band + taps[:, 2 * (lines - 1) - to - source] * (source < lines - 1)


def on_rows(pixels: Tensor, chosen: Tensor, change: Callable[..., Tensor], *parameters: Tensor) -> Tensor:
    """Return ``pixels`` with ``change`` done to the ``chosen (B,)`` samples; may write into ``pixels``.

    On an accelerator all samples are changed and the chosen ones kept, so that nothing waits for the
    device to say how many they are.
    """
    if pixels.device.type == "cpu":
        rows = chosen.nonzero()[:, 0]
        if len(rows):
            pixels[rows] = change(pixels[rows], *(p[rows] for p in parameters))
        return pixels
    return torch.where(_column(chosen), change(pixels, *parameters), pixels)
