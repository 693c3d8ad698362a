"""JPEG compression: what it leaves of a picture, for a whole batch; no bytes are written, only lost."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from vergence.losses.precision import in_float32

# ITU T.81, tables K.1 and K.2: steps of quantisation at quality 50, brightness and colour
_BRIGHT = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_COLOUR = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *((99,) * 8,) * 4,
)  # fmt: skip
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


@in_float32
def jpeg(pixels: Tensor, quality: Tensor) -> Tensor:
    """Compress each picture and read it back: colour at half the size, 8 x 8 cosines, coarse steps.

    Agrees with libjpeg up to the rounding of its integer arithmetic and its smoother enlarging of colour.

    Args:
        pixels: ``(B, 3, H, W)`` float in [0, 1].
        quality: ``(B,)``, 1 to 100, as libjpeg counts it.

    Returns:
        ``(B, 3, H, W)`` in [0, 1].
    """
    height, width = pixels.shape[2:]
    x = pad(pixels.float() * 255, (0, -width % 16, 0, -height % 16), mode="replicate")
    mix = x.new_tensor(_TO_YCC)
    x = torch.einsum("dc,bchw->bdhw", mix, x)
    quality = quality.to(x).clamp(1, 100)
    factor = torch.where(quality < 50, 50 / quality, 2 - quality / 50)  # of the steps at quality 50
    bright = _coarse(x[:, :1] - 128, _steps(_BRIGHT, factor))
    colour = _coarse(avg_pool2d(x[:, 1:], 2), _steps(_COLOUR, factor))
    x = torch.cat([bright + 128, interpolate(colour, scale_factor=2, mode="bilinear")], 1)
    x = torch.einsum("dc,bchw->bdhw", torch.linalg.inv(mix), x)
    return (x[:, :, :height, :width] / 255).clamp(0, 1)


def _steps(table: tuple[tuple[int, ...], ...], factor: Tensor) -> Tensor:
    """Return the steps ``(B, 8, 8)`` of each picture."""
    return (factor[:, None, None] * factor.new_tensor(table)).add_(0.5).floor_().clamp_(1, 255)


def _coarse(x: Tensor, steps: Tensor) -> Tensor:
    """Round the cosines of all 8 x 8 blocks of ``(B, C, H, W)`` to their steps."""
    b, channels, height, width = x.shape
    turn = _cosines(x)
    blocks = x.view(b, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    steps = steps[:, None, None, None]
    kept = (turn @ blocks @ turn.T).div_(steps).round_().mul_(steps)
    return (turn.T @ kept @ turn).transpose(3, 4).reshape(x.shape)


def _cosines(like: Tensor) -> Tensor:
    """Return the orthonormal cosine transform of 8 values, ``(8, 8)``."""
    at = torch.arange(8, device=like.device, dtype=like.dtype)
    turn = torch.cos(math.pi / 8 * at[:, None] * (at + 0.5)) / 2
    turn[0] /= math.sqrt(2)
    return turn
