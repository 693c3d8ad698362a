"""Patches that overlap, and their positions: a transformer reads at a finer stride than it learned at."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from vergence.core import BadInput


def check_stride(stride: int, patch: tuple[int, int]) -> None:
    """Raise ``BadInput`` for a stride that does not divide the patch's sides."""
    if stride < 1 or any(side % stride for side in patch):
        tall, wide = patch
        sides = f"{tall}" if tall == wide else f"{tall} x {wide}"
        raise BadInput(f"Patches of {sides} pixels need a stride that divides them; got {stride}.")


def fine_grid(size: tuple[int, int], patch: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return how many patches lie whole in a picture, down and across, when each is ``stride`` pixels on."""
    rows, columns = ((side - p) // stride + 1 for side, p in zip(size, patch, strict=True))
    return rows, columns


def overlapping_patches(pixels: Tensor, patch: tuple[int, int], stride: int) -> Tensor:
    """Cut pictures ``(B, C, H, W)`` in patches ``stride`` pixels apart, ``(B, N, P)``, as ``patchify``."""
    cells = pixels.unfold(2, patch[0], stride).unfold(3, patch[1], stride)  # (B, C, rows, columns, p, p)
    return cells.permute(0, 2, 3, 4, 5, 1).reshape(len(pixels), cells.shape[2] * cells.shape[3], -1)


def fine_positions(
    learned: Tensor, size: tuple[int, int], patch: tuple[int, int], stride: int
) -> tuple[Tensor, tuple[int, int]]:
    """Return positions ``(1, rows * columns, D)`` of overlapping patches, and their rows and columns.

    Learned positions lie at the centres of a grid laid over the picture; those of other places are
    mixed by cubics, where the patch's centre really is. With ``stride`` as large as the patch they are
    what resampling the grid gives.

    Args:
        learned: ``(1, D, h, w)``.
        size: Of the picture in pixels, height and width.
        patch: Sides in pixels.
        stride: Pixels from patch to patch; divides the patch.
    """
    rows, columns = fine_grid(size, patch, stride)
    y, x = (
        2 * (torch.arange(n, device=learned.device) * stride + p / 2) / side - 1
        for n, p, side in zip((rows, columns), patch, size, strict=True)
    )
    place = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]
    mixed = grid_sample(
        learned.float(), place.float(), mode="bicubic", padding_mode="border", align_corners=False
    )
    return mixed.flatten(2).transpose(1, 2), (rows, columns)
