"""Simple operations on photos and random policies made of them (AutoAugment, arXiv:1805.09501), batched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vergence.core.errors import BadInput, unknown
from vergence.views.pixels import colour, geometry

Operation = tuple[str, float, float]  # name, probability, magnitude, both in [0, 1]


def _moved(x: Tensor, *, shear: tuple[Tensor, Tensor] | None = None, shift: Tensor | None = None) -> Tensor:
    size = x.shape[2]
    sizes = x.new_tensor([size, size]).expand(len(x), 2)
    tilt = None if shear is None else torch.stack(shear, 1)
    pixels = None if shift is None else shift * size
    return geometry.warp(x, geometry.affine_matrix(sizes, shear=tilt, translate=pixels)[:, :2], size)


def _either(m: Tensor) -> Tensor:
    """Return magnitudes with a sign drawn for each."""
    return m * (2 * torch.randint(0, 2, m.shape, device=m.device) - 1)


def _zero(m: Tensor) -> Tensor:
    return torch.zeros_like(m)


def _around_one(m: Tensor) -> Tensor:
    """Return factors from 0.1 to 1.9."""
    return 0.1 + 1.8 * m


def _stretched(x: Tensor, m: Tensor) -> Tensor:
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low).clamp_min(1e-6), x)


def _equalized(x: Tensor, m: Tensor) -> Tensor:
    """Give every colour plane an even histogram: each value becomes the share of values below it."""
    flat = x.flatten(2)
    order = flat.sort(dim=2).values.contiguous()
    below = torch.searchsorted(order, flat.contiguous())
    least = (order == order[:, :, :1]).sum(2, keepdim=True)
    return ((below - least).clamp_min(0) / (flat.shape[2] - least).clamp_min(1)).view_as(x).to(x)


def _solarized(x: Tensor, m: Tensor) -> Tensor:
    """Invert what is at or above a threshold, which falls from just above white to black."""
    return torch.where(x * 255 < 256 * (1 - m)[:, None, None, None], x, 1 - x)


def _posterized(x: Tensor, m: Tensor) -> Tensor:
    """Keep 8 bits of brightness, at magnitude 1 only 4."""
    levels = 2 ** (8 - (4 * m).round())[:, None, None, None]
    return (x * 255 / 256 * levels).floor() / levels * 256 / 255


def _sharpened(x: Tensor, m: Tensor) -> Tensor:
    """Blend with a smoothed picture, at magnitude 1 away from it."""
    kernel = x.new_tensor([[1, 1, 1], [1, 5, 1], [1, 1, 1]]).div(13).expand(3, 1, 3, 3)
    smooth = torch.nn.functional.conv2d(x, kernel, groups=3)
    out = x.clone()
    factor = _around_one(m)[:, None, None, None]
    out[:, :, 1:-1, 1:-1] = (smooth + factor * (x[:, :, 1:-1, 1:-1] - smooth)).clamp(0, 1)
    return out


def _cut_out(x: Tensor, m: Tensor) -> Tensor:
    """Paint a square grey whose side is up to 0.4 of the picture's."""
    size = x.shape[2]
    centre = torch.rand(2, len(x), 1, device=x.device) * size
    at = torch.arange(size, device=x.device) + 0.5
    rows, columns = ((at - c).abs() < 0.2 * m[:, None] * size for c in centre)
    return torch.where((rows[:, :, None] & columns[:, None])[:, None], 0.5, x)


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "shear-x": lambda x, m: _moved(x, shear=(_either(0.3 * m), _zero(m))),
    "shear-y": lambda x, m: _moved(x, shear=(_zero(m), _either(0.3 * m))),
    "shift-x": lambda x, m: _moved(x, shift=torch.stack([_either(0.45 * m), _zero(m)], 1)),
    "shift-y": lambda x, m: _moved(x, shift=torch.stack([_zero(m), _either(0.45 * m)], 1)),
    "stretch": _stretched,
    "invert": lambda x, m: 1 - x,
    "equalize": _equalized,
    "solarize": _solarized,
    "posterize": _posterized,
    "contrast": lambda x, m: colour.adjust_contrast(x, _around_one(m)),
    "saturation": lambda x, m: colour.adjust_saturation(x, _around_one(m)),
    "brightness": lambda x, m: colour.adjust_brightness(x, _around_one(m)),
    "sharpness": _sharpened,
    "cut-out": _cut_out,
}
NAMES = tuple(OPERATIONS)


@dataclass(frozen=True)
class Policy:
    """Lists of operations, one of which is drawn for every photo.

    Args:
        lists: Each of as many (name, probability, magnitude); done in their order, each with its probability.
    """

    lists: Sequence[Sequence[Operation]]

    def __post_init__(self) -> None:
        if not self.lists or len({len(one) for one in self.lists}) != 1:
            raise BadInput("A policy needs one list of operations or more, all of one length.")
        for name, p, magnitude in (step for one in self.lists for step in one):
            if name not in OPERATIONS:
                raise unknown("operation", name, NAMES)
            if not (0 <= p <= 1 and 0 <= magnitude <= 1):
                raise BadInput(f"{name} needs probability and magnitude in [0, 1]; got {p} and {magnitude}.")

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return changed copies of ``(B, 3, S, S)`` in [0, 1]; draws from torch's default generator."""
        x, device = pixels.clone(memory_format=torch.contiguous_format), pixels.device
        which = torch.randint(len(self.lists), (len(x),), device=device)
        for steps in zip(*self.lists, strict=True):  # the first of every list, then the second
            names, p, magnitude = zip(*steps, strict=True)
            step = torch.tensor([NAMES.index(name) for name in names], device=device)[which]
            done = torch.rand(len(x), device=device) < torch.tensor(p, device=device)[which]
            strength = torch.tensor(magnitude, device=device)[which]
            for i, name in enumerate(NAMES):
                if name in names:
                    x = colour.on_rows(x, done & (step == i), OPERATIONS[name], strength)
        return x
