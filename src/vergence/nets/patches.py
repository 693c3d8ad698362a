"""Tokeniser: an image, clip or volume cut into cells, one vector a cell, and fixed positions of a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from vergence.core import BadInput


def patchify(values: Tensor, patch: Sequence[int]) -> Tensor:
    """Cut values into cells ``(B, N, P)``, row by row; within a cell the channel runs fastest.

    Args:
        values: ``(B, C, *sizes)``: images ``(B, C, H, W)``, clips ``(B, C, T, H, W)``, volumes
            ``(B, C, D, H, W)``.
        patch: Sides of a cell, one an axis; each divides its size.

    Raises:
        BadInput: If they do not.
    """
    grid = grid_of(values.shape[2:], patch)
    n, (b, channels) = len(patch), values.shape[:2]
    split = [side for pair in zip(grid, patch, strict=True) for side in pair]  # h, p, w, p
    cells = values.movedim(1, -1).reshape(b, *split, channels)
    grids, insides = range(1, 2 * n, 2), range(2, 2 * n + 1, 2)
    cells = cells.permute(0, *grids, *insides, 2 * n + 1)
    return cells.reshape(b, math.prod(grid), math.prod(patch) * channels)


def unpatchify(cells: Tensor, patch: Sequence[int], grid: Sequence[int]) -> Tensor:
    """Put cells ``(B, N, P)`` together again: ``(B, C, *sizes)``; undoes ``patchify``."""
    n, b = len(patch), len(cells)
    apart = cells.reshape(b, *grid, *patch, -1)
    order = [axis for k in range(n) for axis in (1 + k, 1 + n + k)]
    sizes = [g * p for g, p in zip(grid, patch, strict=True)]
    return apart.permute(0, 2 * n + 1, *order).reshape(b, -1, *sizes)


def grid_of(sizes: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """Return how many cells lie along each axis.

    >>> grid_of((32, 48), (4, 4))
    (8, 12)

    Raises:
        BadInput: If a side does not divide its size.
    """
    if len(sizes) != len(patch) or any(
        size % side or not size for size, side in zip(sizes, patch, strict=True)
    ):
        raise BadInput(
            f"Cells of {' x '.join(map(str, patch))} need sizes that are multiples; "
            f"got {' x '.join(map(str, sizes))}."
        )
    return tuple(size // side for size, side in zip(sizes, patch, strict=True))


class PatchEmbed(nn.Module):
    """Values ``(B, C, *sizes)`` -> one vector a cell ``(B, N, D)``, row by row.

    Args:
        patch: Sides of a cell: one number for squares of an image, (h, w), (t, h, w) or (d, h, w).
        dim: Width D.
        channels: C.
    """

    def __init__(self, patch: int | Sequence[int], dim: int, *, channels: int = 3) -> None:
        super().__init__()
        self.patch = (patch, patch) if isinstance(patch, int) else tuple(patch)
        # a strided convolution, as one matrix product
        self.proj = nn.Linear(channels * math.prod(self.patch), dim)

    def forward(self, values: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return the vectors of all cells, or ``(B, K, D)`` of those at the places ``keep (B, K)``."""
        cells = patchify(values, self.patch)
        return self.proj(cells if keep is None else take(cells, keep))


def take(tokens: Tensor, places: Tensor) -> Tensor:
    """Return the tokens ``(B, K, D)`` that lie at ``places (B, K)`` int64 of ``tokens (B, N, D)``."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))


def positions_at(positions: Tensor, places: Tensor) -> Tensor:
    """Return the positions ``(*places, D)`` of places of a grid, out of ``positions (1, N, D)``."""
    return embedding(places, positions[0])


def sincos(grid: int | Sequence[int], dim: int) -> Tensor:
    """Return fixed positions ``(1, N, dim)``: equal shares of sines and cosines of the place on each axis.

    Args:
        grid: Cells along each axis; one number is a square.
        dim: Width, a multiple of twice the number of axes.

    >>> sincos(2, 4)[0, 3]  # sin 1 and cos 1, of the row and of the column
    tensor([0.8415, 0.5403, 0.8415, 0.5403])
    """
    shape = (grid, grid) if isinstance(grid, int) else tuple(grid)
    share = 2 * len(shape)
    if dim % share:
        raise BadInput(f"Fixed positions need a width that is a multiple of {share}; got {dim}.")
    rate = 10_000.0 ** -(torch.arange(dim // share) / (dim // share))
    parts = []
    for axis, length in enumerate(shape):
        waves = torch.arange(length)[:, None] * rate
        waves = torch.cat([waves.sin(), waves.cos()], 1)  # (length, dim / axes)
        others = [1] * len(shape)
        others[axis] = length
        parts.append(waves.view(*others, -1).expand(*shape, -1))
    return torch.cat(parts, -1).reshape(1, math.prod(shape), dim)
