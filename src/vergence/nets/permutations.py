"""Permutations that are far apart, and grids of tiles to permute: puzzles in two and three dimensions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_EXACT = 8  # tiles up to which all orders are looked at: 40,320
_CANDIDATES = 4_096  # orders of more tiles that are drawn for each choice


def permutation_bank(tiles: int, count: int, *, keep_order: bool = False, seed: int = 0) -> Tensor:
    """Choose permutations one after the other, each as far as possible from its nearest one so far.

    The distance is Hamming's: the number of places that differ. Of several that are as far, one is drawn.
    This is algorithm 1 of Noroozi and Favaro (2016, arXiv:1603.09246) with the nearest in place of the mean
    distance; more tiles than 8 are not all looked at, but 4,096 random orders a choice.

    Args:
        tiles: N.
        count: Permutations P, at most N!.
        keep_order: Whether the first one is the order as it is.
        seed: Of the choice; the bank is the same on every machine.

    Returns:
        ``(P, N)`` int64, no row twice.

    Raises:
        ValueError: If there are not so many permutations.

    >>> permutation_bank(4, 3, keep_order=True).shape
    torch.Size([3, 4])
    """
    if tiles < 1 or not 1 <= count <= math.factorial(tiles):
        raise ValueError(f"{tiles} tiles have {math.factorial(max(tiles, 0)):,} orders; got count={count}.")
    random = torch.Generator().manual_seed(seed)
    every = _all_orders(tiles) if tiles <= _EXACT else None
    first = torch.arange(tiles) if keep_order else torch.randperm(tiles, generator=random)
    bank = first[None]
    nearest = None if every is None else (every != first).sum(1)
    while len(bank) < count:
        if every is None or nearest is None:
            candidates = torch.rand(_CANDIDATES, tiles, generator=random).argsort(1)
            distance = (candidates[:, None] != bank).sum(2).amin(1)
        else:
            candidates, distance = every, nearest
        farthest = (distance == distance.max()).nonzero()[:, 0]
        chosen = candidates[farthest[torch.randint(len(farthest), (1,), generator=random)]]
        if int(distance.max()) == 0:
            continue
        bank = torch.cat([bank, chosen])
        if every is not None and nearest is not None:
            nearest = torch.minimum(nearest, (every != chosen).sum(1))
    return bank


def _all_orders(tiles: int) -> Tensor:
    orders = torch.zeros(1, 0, dtype=torch.int64)
    for n in range(tiles):  # the new tile goes to each place, those from there on move by one
        orders = torch.cat(
            [
                torch.cat([orders[:, :i], torch.full((len(orders), 1), n), orders[:, i:]], 1)
                for i in range(n + 1)
            ]
        )
    return orders


def to_tiles(x: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Cut pictures or volumes into tiles.

    Args:
        x: ``(B, C, H, W)`` or ``(B, C, D, H, W)``; sides that the grid does not divide lose their end.
        grid: Tiles along each axis.

    Returns:
        ``(B, N, C, ...)``, the last axis of the grid fastest.

    Raises:
        ValueError: If the grid has another number of axes, or a side is too short.
    """
    sides = x.shape[2:]
    if len(grid) != len(sides) or any(g < 1 or g > s for g, s in zip(grid, sides, strict=True)):
        raise ValueError(f"A grid {tuple(grid)} does not cut {tuple(sides)} pixels.")
    tile = [s // g for s, g in zip(sides, grid, strict=True)]
    for axis, (g, t) in enumerate(zip(grid, tile, strict=True)):
        x = x.narrow(2 + axis, 0, g * t)
    n = len(grid)
    split = x.reshape(*x.shape[:2], *(part for pair in zip(grid, tile, strict=True) for part in pair))
    order = (0, *(2 + 2 * i for i in range(n)), 1, *(3 + 2 * i for i in range(n)))
    return split.permute(order).reshape(len(x), math.prod(grid), x.shape[1], *tile)


def from_tiles(tiles: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Lay tiles ``(B, N, C, ...)`` of ``to_tiles`` out again."""
    n = len(grid)
    b, _, channels, *tile = tiles.shape
    split = tiles.reshape(b, *grid, channels, *tile)
    order = (0, n + 1, *(axis for i in range(n) for axis in (1 + i, n + 2 + i)))
    return split.permute(order).reshape(b, channels, *(g * t for g, t in zip(grid, tile, strict=True)))


def permuted(tiles: Tensor, order: Tensor) -> Tensor:
    """Return tiles ``(B, N, ...)`` in each sample's own order ``(B, N)``: place i gets tile ``order[i]``."""
    return tiles[torch.arange(len(tiles), device=tiles.device)[:, None], order]
