"""Strong augmentation: a few operations drawn at random, each as far as chance has it, then a hole."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.views.pixels import colour, geometry
from vergence.views.pixels.operations import OPERATIONS

Change = Callable[[Tensor, Tensor], Tensor]
_FURTHEST, _STEEPEST, _WIDEST = 0.1, 0.1, math.radians(30)  # shift in sides, shear, turn


def _moved(motion: Callable[[Tensor, int], dict[str, Tensor]]) -> Change:
    """Return a change by an affine motion, which ``motion`` draws from numbers in [-1, 1) and the side."""

    def change(x: Tensor, u: Tensor) -> Tensor:
        size = x.shape[2]
        sizes = x.new_tensor([size, size]).expand(len(x), 2)
        return geometry.warp(x, geometry.affine_matrix(sizes, **motion(2 * u - 1, size))[:, :2], size)

    return change


def _along_x(values: Tensor) -> Tensor:
    return torch.stack([values, torch.zeros_like(values)], 1)


def _along_y(values: Tensor) -> Tensor:
    return torch.stack([torch.zeros_like(values), values], 1)


def _weakened(adjust: Change) -> Change:
    """Return a change by a factor from 0.05 to 0.95."""
    return lambda x, u: adjust(x, 0.05 + 0.9 * u)


CHANGES: dict[str, Change] = {
    "identity": lambda x, u: x,
    "stretch": OPERATIONS["stretch"],
    "equalize": OPERATIONS["equalize"],
    "rotate": _moved(lambda s, size: {"angle": _WIDEST * s}),
    "solarize": OPERATIONS["solarize"],
    "saturation": _weakened(colour.adjust_saturation),
    "contrast": _weakened(colour.adjust_contrast),
    "brightness": _weakened(colour.adjust_brightness),
    "sharpness": _weakened(lambda x, f: OPERATIONS["sharpness"](x, (f - 0.1) / 1.8)),
    "shear-x": _moved(lambda s, size: {"shear": _along_x(torch.atan(_STEEPEST * s))}),
    "shift-x": _moved(lambda s, size: {"translate": _along_x(_FURTHEST * size * s)}),
    "shift-y": _moved(lambda s, size: {"translate": _along_y(_FURTHEST * size * s)}),
    "posterize": lambda x, u: OPERATIONS["posterize"](x, 1 - (4 * u).floor() / 4),  # 4 to 7 bits stay
    "shear-y": _moved(lambda s, size: {"shear": _along_y(torch.atan(_STEEPEST * s))}),
}


@dataclass(frozen=True)
class Strong:
    """Draw operations for every picture, with a strength each, and paint a square of it in one colour.

    That is RandAugment (arXiv:1909.13719) with strengths drawn evenly, as FixMatch (arXiv:2001.07685) and
    SCAN (arXiv:2005.12320) have it, and cutout (arXiv:1708.04552).

    Args:
        operations: How many, one after the other, 0 or more.
        hole: Largest side of the square as a share of the picture's, in [0, 1]; 0 paints none.
        fill: Colour of the square, RGB in [0, 1]; the mean of the pixels that the encoder expects.
    """

    operations: int = 4
    hole: float = 0.5
    fill: tuple[float, float, float] = (0.485, 0.456, 0.406)

    def __post_init__(self) -> None:
        if self.operations < 0 or not 0 <= self.hole <= 1:
            raise BadInput(
                "Strong needs 0 operations or more and a hole in [0, 1]; "
                f"got {self.operations} and {self.hole}."
            )

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return changed copies of ``(B, 3, S, S)`` in [0, 1]; draws from torch's default generator."""
        x, b, device = pixels.clone(memory_format=torch.contiguous_format), len(pixels), pixels.device
        for _ in range(self.operations):
            which = torch.randint(len(CHANGES), (b,), device=device)
            strength = torch.rand(b, device=device)
            for number, change in enumerate(CHANGES.values()):
                x = colour.on_rows(x, which == number, change, strength)
        return torch.where(self._holes(b, x.shape[2], device), x.new_tensor(self.fill)[:, None, None], x)

    def _holes(self, b: int, size: int, device: torch.device) -> Tensor:
        """Return ``(B, 1, S, S)`` bool: squares of even sides about any pixel, also at the edge."""
        most = round(self.hole * size)
        half = torch.randint(1, max(2, most + 1), (b, 1), device=device) // 2
        at = torch.arange(size, device=device)
        middle = torch.randint(size, (2, b, 1), device=device)
        rows, columns = ((at >= m - half) & (at < m + half) for m in middle)
        return (rows[:, :, None] & columns[:, None])[:, None]
