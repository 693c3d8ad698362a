"""Crops of one photo: several sizes through one encoder, and which cells of two crops show the same thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.core import BadInput, Features, pooled
from vergence.views.pixels.augment import View
from vergence.views.pixels.planar import from_view_to_view


def encode_crops(encoder: Callable[[Tensor], Tensor | Features], crops: Sequence[View]) -> Tensor:
    """Return the vectors ``(V * B, D)`` of V crops of B photos, crop by crop.

    Neighbours of one size pass the encoder together, so that batch norm sees them together.
    """
    return torch.cat([pooled(seen) for seen in _by_size(encoder, crops)])


def encode_regions(
    encoder: Callable[[Tensor], Tensor | Features], crops: Sequence[View]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the vectors ``(B, D)`` and the tokens ``(B, T, D)`` of V crops of B photos, crop by crop.

    Raises:
        BadInput: If the encoder has no tokens.
    """
    vectors, regions, count = list[Tensor](), list[Tensor](), len(crops[0])
    for seen in _by_size(encoder, crops):
        if not isinstance(seen, Features) or seen.tokens is None:
            raise BadInput(
                "Regions of crops need an encoder with tokens, such as vit-small32 or resnet-tiny."
            )
        vectors += seen.pooled.split(count)
        regions += seen.tokens.split(count)
    return vectors, regions


def _by_size(
    encoder: Callable[[Tensor], Tensor | Features], crops: Sequence[View]
) -> Iterator[Tensor | Features]:
    for _, group in groupby(crops, key=lambda crop: crop.pixels.shape[2:]):
        yield encoder(torch.cat([crop.pixels for crop in group]))


@torch.no_grad()
def match_by_similarity(queries: Tensor, keys: Tensor) -> Tensor:
    """Return each cell's most similar cell of the other crop, by cosine; without gradient.

    Args:
        queries: ``(B, N, D)``.
        keys: ``(B, M, D)``, row b of the same photo.

    Returns:
        ``(B, N)`` int64 in [0, M).

    Source: Wang et al. (DenseCL), arXiv:2011.09157, Sec. 3.3.
    """
    return (normalize(queries, dim=2) @ normalize(keys, dim=2).mT).argmax(2)


@torch.no_grad()
def match_by_place(first: View, second: View, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the cell of the second crop in which each cell of the first has its centre.

    Cells are of equal size and cover a crop.

    Args:
        first: B photos.
        second: Another crop of each.
        grid: Rows and columns of cells, N in all, in reading order.

    Returns:
        ``(B, N)`` int64, and ``(B, N)`` bool, whether the second crop shows that place at all; where it does
        not, the cell is the nearest one at its edge.
    """
    rows, columns = grid
    cells = first.matrix.new_tensor([columns, rows])
    at = torch.stack(
        torch.meshgrid(torch.arange(columns) + 0.5, torch.arange(rows) + 0.5, indexing="xy"), 2
    ).view(1, -1, 2)  # (1, N, 2), in cells
    in_first = at.to(cells) * first.pixels.shape[-1] / cells
    in_second = from_view_to_view(in_first, first.matrix, second.matrix)
    cell = (in_second * cells / second.pixels.shape[-1]).floor()
    inside = ((cell >= 0) & (cell < cells)).all(2)
    x, y = cell.clamp_min(0).minimum(cells - 1).long().unbind(2)
    return y * columns + x, inside
