"""Samplers of masks: which tokens of a grid are hidden, a whole batch at a time.

A grid is ``(h, w)`` of an image's patches, ``(t, h, w)`` of a clip's tubelets or ``(d, h, w)`` of a volume's
cells; one number is a square. Tokens are counted row by row, the last axis fastest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from vergence.core.errors import BadInput

Grid: TypeAlias = int | Sequence[int]
Range: TypeAlias = tuple[float, float]


def axes(grid: Grid) -> tuple[int, ...]:
    """Return how many tokens lie along each axis.

    >>> axes(14), axes((8, 14, 14))
    ((14, 14), (8, 14, 14))
    """
    return (grid, grid) if isinstance(grid, int) else tuple(grid)


def stratified_ratios(
    rows: int,
    ratio: float | Range,
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
    grid: Grid,
    ratio: float | Range,
    *,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Hide tokens anywhere; arguments and result are those of ``block_mask``."""
    tokens = math.prod(axes(grid))
    count = (stratified_ratios(rows, ratio, device=device, generator=generator) * tokens).round()
    return _first(torch.rand((rows, tokens), generator=generator, device=device), count)


def block_mask(
    rows: int,
    grid: Grid,
    ratio: float | Range,
    *,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Hide rectangles or boxes of tokens: ``(rows, N)`` bool, True is hidden; each row rounds its ratio.

    As in BEiT (arXiv:2106.08254, Alg. 1) blocks of 2 tokens an axis or more, with sides in a ratio of
    0.3 to 1 / 0.3, are laid down until the share is reached; the last one is cut so that it is
    reached exactly.

    Args:
        rows: Number of samples.
        grid: Tokens along each axis.
        ratio: One share in [0, 1) for all, or a range over which the samples are spread evenly.
        device: Where the mask lies.
        generator: Of that device.
    """
    shape = axes(grid)
    n, tokens = len(shape), math.prod(shape)
    count = (stratified_ratios(rows, ratio, device=device, generator=generator) * tokens).round()
    laid = 16  # blocks a sample; what they leave open is filled at random
    draw = torch.rand((2 * n, rows, laid), generator=generator, device=device)
    volume = 2**n + draw[0] * (count[:, None] - 2**n).clamp_min(0)
    covered = torch.ones((rows, laid, 1), dtype=torch.bool, device=device)
    for axis, length in enumerate(shape):
        side, volume = _side(volume, draw, axis, n)
        side = side.round().clamp(1, length)
        first = (draw[n + axis] * (length - side + 1)).floor()
        at = torch.arange(length, device=device)
        inside = (at >= first[:, :, None]) & (at < (first + side)[:, :, None])
        covered = (covered[..., None] & inside[:, :, None]).flatten(2)  # (rows, laid, tokens so far)
    arrival = torch.where(covered.any(1), covered.to(torch.uint8).argmax(1), laid).float()
    chance = torch.rand((rows, tokens), generator=generator, device=device)
    order = torch.arange(tokens, device=device) / tokens
    order = torch.where(chance[:, :1] < 0.5, order, 1 - order)  # the last is cut from above or below
    return _first(arrival + torch.where(arrival < laid, order, chance), count)


def _side(volume: Tensor, draw: Tensor, axis: int, n: int) -> tuple[Tensor, Tensor]:
    """Return a block's side along an axis, and the volume that is left for the axes after it.

    The last two axes share an area by one aspect ratio; an axis before them takes its root of the volume,
    longer or shorter by an aspect ratio of its own.
    """
    left = n - axis
    if left == 1:
        return volume, volume
    aspect = torch.exp((draw[1 + axis] * 2 - 1) * math.log(1 / 0.3))
    if left == 2:
        return (volume * aspect).sqrt(), (volume / aspect).sqrt()
    side = (volume ** (1 / left) * aspect.sqrt()).clamp_min(1)
    return side, volume / side


def tube_mask(
    rows: int,
    grid: Sequence[int],
    ratio: float | Range,
    *,
    draw: Callable[..., Tensor] = random_mask,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Hide the same places in every frame (VideoMAE, arXiv:2203.12602): ``(rows, t * h * w)`` bool.

    Args:
        rows: Number of samples.
        grid: Frames first: (t, h, w).
        ratio: As of ``block_mask``.
        draw: Which places: ``random_mask`` or ``block_mask``.
        device: Where the mask lies.
        generator: Of that device.
    """
    frames, *frame = axes(grid)
    if not frame:
        raise BadInput(f"tube_mask needs a grid of frames and places, such as (8, 14, 14); got {grid}.")
    return draw(rows, tuple(frame), ratio, device=device, generator=generator).repeat(1, frames)


def multi_block(
    rows: int,
    grid: Grid,
    *,
    blocks: int = 4,
    scale: Range = (0.15, 0.2),
    aspect: Range = (0.75, 1.5),
    context: Range = (0.85, 1.0),
    least: int = 4,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw blocks to predict and a context to predict them from (I-JEPA, arXiv:2301.08243, Sec. 3).

    The blocks are rectangles of one size a batch, anywhere; the context is a square of one size a batch
    less all blocks. To make the contexts of a batch equally long, tokens are left out of the longer ones at
    random. On a grid of more than two axes blocks and context reach through all before the last two.

    Args:
        rows: Number of samples.
        grid: Tokens along each axis.
        blocks: Blocks a sample.
        scale: Least and largest share of the (last two axes of the) grid in a block.
        aspect: Least and largest height over width of a block.
        context: Least and largest share in the square.
        least: Tokens that a context has at the very least, of each frame. A sample whose blocks leave fewer
            in the square is shown those outside of it, and after them those that the fewest blocks cover.
        device: Where the places lie.
        generator: Of that device.

    Returns:
        Places of the contexts ``(rows, K)`` and of the blocks ``(rows, blocks, M)``, int64, ascending.
    """
    *frames, height, width = axes(grid)
    tokens = height * width
    if not 1 <= least <= tokens:
        raise BadInput(f"multi_block needs least in 1..{tokens}, the tokens of a frame; got {least}.")
    chance = torch.rand(3, generator=generator, device=device).tolist()
    sizes = [low + (high - low) * u for (low, high), u in zip((scale, aspect, context), chance, strict=True)]
    block = _rectangle(int(tokens * sizes[0]), sizes[1], height, width)
    square = _rectangle(int(tokens * sizes[2]), 1.0, height, width)
    corner = torch.rand((2, rows, blocks + 1), generator=generator, device=device)
    targets = _places(corner[:, :, 1:], block, height, width)  # (rows, blocks, M)
    inside = _places(corner[:, :, 0], square, height, width)  # (rows, tokens of the square)
    hidden = torch.zeros((rows, tokens), device=device)
    hidden.scatter_add_(1, targets.flatten(1), torch.ones(1, device=device).expand(rows, targets[0].numel()))
    outside = torch.ones((rows, tokens), device=device).scatter_(1, inside, 0.0)
    rank = 2 * hidden + outside
    count = max(least, int((rank == 0).sum(1).min()))
    chosen = (rank + torch.rand((rows, tokens), generator=generator, device=device)).argsort(1)[:, :count]
    shown = chosen.sort(1).values
    first = tokens * torch.arange(math.prod(frames), device=device)[:, None]  # token of each frame
    return (shown[:, None] + first).flatten(1), (targets[:, :, None] + first).flatten(2)


def union_of_blocks(
    rows: int,
    grid: Sequence[int],
    *,
    blocks: int,
    scale: float,
    aspect: Range = (0.75, 1.5),
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Hide the union of blocks that span all frames, and show the rest (V-JEPA, arXiv:2404.08471, Sec. 3.2).

    The blocks are rectangles of one size a batch, anywhere in the frame. To make a batch's rows equally long,
    places are left out at random; a sample that its blocks cover whole is shown one place that the fewest
    cover.

    Args:
        rows: Number of samples.
        grid: Tokens along each axis, frames first: (t, h, w).
        blocks: Blocks a sample.
        scale: Share of a frame in a block, in (0, 1].
        aspect: Least and largest height over width of a block.
        device: Where the places lie.
        generator: Of that device.

    Returns:
        Places that are shown ``(rows, K)`` and hidden ``(rows, M)``, int64.
    """
    frames, height, width = axes(grid)
    tokens = height * width
    low, high = aspect
    shape = low + (high - low) * torch.rand((), generator=generator, device=device).item()
    block = _rectangle(int(tokens * scale), shape, height, width)
    corner = torch.rand((2, rows, blocks), generator=generator, device=device)
    covered = _places(corner, block, height, width).flatten(1)
    count = torch.zeros((rows, tokens), device=device)
    count.scatter_add_(1, covered, torch.ones(1, device=device).expand_as(covered))
    order = (count + torch.rand((rows, tokens), generator=generator, device=device)).argsort(1)
    free = int((count == 0).sum(1).min())
    seen, unseen = max(1, free), min(tokens - 1, int((count > 0).sum(1).min()))
    first = tokens * torch.arange(frames, device=device)[:, None]  # token of each frame
    chance = torch.rand((rows, tokens), generator=generator, device=device)
    chance = torch.where(count > 0, chance, -1.0).scatter(1, order[:, :seen], -2.0)
    hidden = chance.argsort(1, descending=True)[:, :unseen]
    shown = order[:, :seen]
    return tuple((places[:, None] + first).flatten(1) for places in (shown, hidden))  # type: ignore[return-value]


def _rectangle(area: int, aspect: float, height: int, width: int) -> tuple[int, int]:
    """Return height and width of a rectangle of about that area that fits."""
    tall, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    return min(max(tall, 1), height), min(max(wide, 1), width)


def _places(chance: Tensor, size: tuple[int, int], height: int, width: int) -> Tensor:
    """Return the places ``(..., tall * wide)`` of rectangles whose corners ``chance (2, ...)`` chooses."""
    (tall, wide), device = size, chance.device
    top = (chance[0] * (height - tall + 1)).long()
    left = (chance[1] * (width - wide + 1)).long()
    rows, columns = torch.arange(tall, device=device)[:, None], torch.arange(wide, device=device)
    return (top * width + left)[..., None] + (rows * width + columns).flatten()


def group_mask(budget: Tensor, cells: int, *, side: float, most: float) -> Tensor:
    """Lay rectangles anywhere until each sample's budget is spent (GMML, arXiv:2205.14986).

    Args:
        budget: ``(B,)`` shares of the grid, in (0, 1).
        cells: Side of the grid.
        side: Longest side of a rectangle as a share of the grid's, in (0, 1].
        most: Largest budget there is.

    Returns:
        ``(B, cells, cells)`` bool; the rectangle that reaches the budget is the last one laid.
    """
    longest = max(1, int(side * cells))
    wanted = -math.log1p(-most) * (2 * cells / (longest + 1)) ** 2
    shape = len(budget), 2 * math.ceil(wanted), 2  # twice what covers that much on average
    corners = torch.randint(cells, shape, device=budget.device)
    sides = torch.randint(1, longest + 1, shape, device=budget.device)
    return cover(corners, sides, budget, cells)


def cover(corners: Tensor, sides: Tensor, budget: Tensor, cells: int) -> Tensor:
    """Lay rectangles on a grid, one after the other, until their union reaches the budget.

    Args:
        corners: ``(B, K, 2)`` row and column where each rectangle begins; it is cut at the border.
        sides: ``(B, K, 2)`` height and width in cells.
        budget: ``(B,)`` shares of the grid.
        cells: Side of the grid.

    Returns:
        ``(B, cells, cells)`` bool; the rectangle that reaches the budget is the last one laid.
    """
    b, rectangles, _ = corners.shape
    at = torch.arange(cells, device=corners.device)
    inside = (at >= corners[..., None]) & (at < (corners + sides)[..., None])  # (B, K, 2, cells)
    first = torch.full((b, cells, cells), rectangles, device=corners.device)  # to cover a cell
    for k in reversed(range(rectangles)):
        rows, columns = inside[:, k].unbind(1)
        first.masked_fill_(rows[:, :, None] & columns[:, None], k)
    fresh = torch.zeros(b, rectangles + 1, device=corners.device)
    fresh.scatter_add_(1, first.flatten(1), torch.ones(b, cells * cells, device=corners.device))
    area = fresh[:, :-1].cumsum(1)  # after each rectangle
    last = (area < budget[:, None] * cells**2).sum(1).clamp(max=rectangles - 1)
    return first <= last[:, None, None]


def shown_and_hidden(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the places of visible ``(B, K)`` and of hidden tokens ``(B, M)``, int64, ascending.

    Args:
        mask: ``(B, N)`` bool, True is hidden; the same number in every row.

    Raises:
        BadInput: If rows hide different numbers, such as with a range of ratios.
    """
    counts = mask.sum(1)
    least, most = torch.stack([counts.min(), counts.max()]).tolist()
    if least != most:
        raise BadInput(
            f"An encoder that sees visible tokens only needs masks that hide equally many; got {least} to "
            f"{most} of {mask.shape[1]}. Give one mask ratio instead of a range."
        )
    places = mask.to(torch.uint8).argsort(dim=1, stable=True)
    return places[:, : mask.shape[1] - least], places[:, mask.shape[1] - least :]


def _first(priority: Tensor, count: Tensor) -> Tensor:
    """Mark the ``count (B,)`` entries of least ``priority (B, N)``."""
    rank = priority.argsort(1).argsort(1)
    return rank < count[:, None]
