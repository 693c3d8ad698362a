"""Patch masks: which patches of a view are hidden, each sample with exactly its own share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vergence.core.errors import BadInput


def stratified_ratios(
    rows: int,
    ratio: float | tuple[float, float],
    *,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw ``(rows,)`` mask ratios that together cover their range evenly, in random order.

    The range is cut into ``rows`` equal parts and every part gives one ratio, so that no batch
    happens to be all easy or all hard (as iBOT and DINOv2 do it).

    Args:
        rows: Number of samples.
        ratio: One share in [0, 1) for all, or the least and the largest.
        device: Where the ratios lie.
        generator: Of that device.
    """
    low, high = (ratio, ratio) if isinstance(ratio, int | float) else ratio
    if not 0 <= low <= high < 1:
        raise BadInput(f"A mask ratio needs 0 <= least <= largest < 1; got {ratio}.")
    part = torch.randperm(rows, generator=generator, device=device)
    return low + (high - low) * (part + torch.rand(rows, generator=generator, device=device)) / rows


def random_mask(
    rows: int,
    grid: int | tuple[int, int],
    ratio: float | tuple[float, float],
    *,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Hide patches anywhere; arguments and result are those of ``block_mask``."""
    tokens = grid * grid if isinstance(grid, int) else grid[0] * grid[1]
    count = (stratified_ratios(rows, ratio, device=device, generator=generator) * tokens).round()
    return _first(torch.rand((rows, tokens), generator=generator, device=device), count)


def block_mask(
    rows: int,
    grid: int | tuple[int, int],
    ratio: float | tuple[float, float],
    *,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Hide rectangles of patches: ``(rows, h * w)`` bool, True is hidden; each row rounds its ratio.

    As in BEiT (arXiv:2106.08254, Alg. 1) rectangles of 4 patches or more, with sides in a ratio of
    0.3 to 1 / 0.3, are laid down until the share is reached; the last one is cut so that it is
    reached exactly.

    Args:
        rows: Number of samples.
        grid: Patches along each side, one number or height and width.
        ratio: One share in [0, 1) for all, or a range over which the samples are spread evenly.
        device: Where the mask lies.
        generator: Of that device.
    """
    height, width = (grid, grid) if isinstance(grid, int) else grid
    count = (stratified_ratios(rows, ratio, device=device, generator=generator) * height * width).round()
    laid = 16  # rectangles a sample; what they leave open is filled at random
    draw = torch.rand((4, rows, laid), generator=generator, device=device)
    area = 4 + draw[0] * (count[:, None] - 4).clamp_min(0)
    aspect = torch.exp((draw[1] * 2 - 1) * math.log(1 / 0.3))
    tall = (area * aspect).sqrt().round().clamp(1, height)
    wide = (area / aspect).sqrt().round().clamp(1, width)
    top = (draw[2] * (height - tall + 1)).floor()
    left = (draw[3] * (width - wide + 1)).floor()
    y = torch.arange(height, device=device)
    x = torch.arange(width, device=device)
    in_rows = (y >= top[:, :, None]) & (y < (top + tall)[:, :, None])
    in_columns = (x >= left[:, :, None]) & (x < (left + wide)[:, :, None])
    covered = (in_rows[:, :, :, None] & in_columns[:, :, None]).flatten(2)  # (rows, laid, h * w)
    arrival = torch.where(covered.any(1), covered.to(torch.uint8).argmax(1), laid).float()
    chance = torch.rand((rows, height * width), generator=generator, device=device)
    order = torch.arange(height * width, device=device) / (height * width)
    order = torch.where(chance[:, :1] < 0.5, order, 1 - order)  # the last is cut from above or below
    return _first(arrival + torch.where(arrival < laid, order, chance), count)


def _first(priority: Tensor, count: Tensor) -> Tensor:
    """Mark the ``count (B,)`` entries of least ``priority (B, N)``."""
    rank = priority.argsort(1).argsort(1)
    return rank < count[:, None]
