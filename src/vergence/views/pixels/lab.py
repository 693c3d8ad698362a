"""CIE L*a*b*, in which distances are those that people see; white is D65, pixels are sRGB."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

# sRGB to XYZ under D65 (IEC 61966-2-1)
_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_KNEE = 6 / 29


def rgb_to_lab(pixels: Tensor) -> Tensor:
    """Return L* in [0, 100] and a*, b* of sRGB pixels ``(B, 3, H, W)`` in [0, 1]."""
    linear = torch.where(pixels <= 0.04045, pixels / 12.92, ((pixels.clamp_min(0) + 0.055) / 1.055) ** 2.4)
    x, y, z = _mixed(linear, _white_balanced(pixels)).unbind(1)
    fx, fy, fz = (
        torch.where(t > _KNEE**3, t.clamp_min(_KNEE**3) ** (1 / 3), t / (3 * _KNEE**2) + 4 / 29)
        for t in (x, y, z)
    )
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], 1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Return sRGB pixels in [0, 1]; colours that sRGB does not have are clamped."""
    lightness, a, b = lab.unbind(1)
    fy = (lightness + 16) / 116
    xyz = torch.stack(
        [torch.where(f > _KNEE, f**3, 3 * _KNEE**2 * (f - 4 / 29)) for f in (fy + a / 500, fy, fy - b / 200)],
        1,
    )
    linear = _mixed(xyz, torch.linalg.inv(_white_balanced(lab)))
    curved = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curved).clamp(0, 1)


def blur_chroma(pixels: Tensor, width: int) -> Tensor:
    """Blur a* and b* by the mean of a square, and leave L* as it is; borders are mirrored.

    Fringes of colour at edges, which a lens leaves, go; what colour a thing has stays.

    Args:
        pixels: ``(B, 3, H, W)`` sRGB in [0, 1].
        width: Odd, of the square in pixels; 1 changes nothing.

    Source: Mundhenk et al., arXiv:1711.06379, Sec. 3.
    """
    lab = rgb_to_lab(pixels)
    rows, columns = (_mirrored(side, width // 2, pixels.device) for side in pixels.shape[2:])
    chroma = avg_pool2d(lab[:, 1:, rows[:, None], columns], width, 1)
    return lab_to_rgb(torch.cat([lab[:, :1], chroma], 1))


def _mirrored(lines: int, border: int, device: torch.device) -> Tensor:
    """Return which of so many lines stands where, with a border on both sides."""
    at = torch.arange(-border, lines + border, device=device) % (2 * lines)
    return torch.minimum(at, 2 * lines - 1 - at)


def _white_balanced(like: Tensor) -> Tensor:
    matrix = torch.tensor(_TO_XYZ, dtype=torch.float64)
    return (matrix / matrix.sum(1, keepdim=True)).to(like.device, like.dtype)


def _mixed(pixels: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("ij,bjhw->bihw", matrix, pixels)
