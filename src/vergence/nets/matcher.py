"""Matching of two pictures: cells that have looked at each other's picture, and where each one went."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention

from vergence.core import BadInput, Features
from vergence.core.specs import name_of, wrapping
from vergence.losses.precision import in_float32
from vergence.nets.image_encoder import ImageEncoder, Images


class Matcher(ImageEncoder):
    """An image encoder's map, and layers of attention in which the cells of two pictures see each other.

    Of one picture it gives its projected map, as any encoder does; ``match`` compares two.

    Args:
        encoder: Images -> ``Features`` with a map, for pictures of any size as convolutions are.
        dim: Width of cells, a multiple of 4.
        layers: Blocks of self-attention, attention to the other picture, and a two-layer network.
        splits: Windows of attention along each side, which every other block shifts by half of one.
        expansion: Hidden width of that network, in widths of its input.

    Source: Xu et al. 2022, arXiv:2111.13680 (GMFlow), Sec. 3.2, without its refinement.
    """

    def __init__(
        self, encoder: ImageEncoder, dim: int = 128, *, layers: int = 6, splits: int = 2, expansion: int = 4
    ) -> None:
        super().__init__(size=encoder.size, extras=encoder.extras)
        if dim < 4 or dim % 4 or layers < 0 or splits < 1:
            raise BadInput(
                "A matcher needs a dim that is a multiple of 4, 0 layers or more and splits of 1 or more; "
                f"got {dim}, {layers} and {splits}."
            )
        self.backbone, self.splits = encoder, splits
        self.project = nn.Conv2d(encoder.out_dim, dim, 1)
        self.blocks = nn.ModuleList(Block(dim, expansion) for _ in range(layers))
        self.out_dim, self.depth, self.settings = dim, encoder.depth, encoder.settings
        self.spec = wrapping(self, encoder, dim=dim, layers=layers, splits=splits, expansion=expansion)

    def forward(self, images: Images, *, need: Sequence[str] = ()) -> Features:
        seen = self.backbone(images, need=need)
        if seen.map is None:
            raise BadInput(f"A matcher needs an encoder with a map; {name_of(self.backbone)} has none.")
        cells = self.project(seen.map)
        made = Features.of_map(cells.mean((2, 3)), cells, stride=seen.stride, offset=seen.offset)
        return dataclasses.replace(made, layer=seen.layer)

    def at_layer(
        self, images: Images, *, layer: int = -1, facet: str = "token", stride: int | None = None
    ) -> Features:
        return self.backbone.at_layer(images, layer=layer, facet=facet, stride=stride)

    def layers(self, images: Images, which: Sequence[int] | None = None) -> list[Tensor]:
        return self.backbone.layers(images, which)

    def meet(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Let two maps ``(B, D, h, w)`` see each other; they come back as they are then."""
        h, w = first.shape[2:]
        if h % self.splits or w % self.splits:
            raise BadInput(
                f"Maps of {h} x {w} cells cannot be cut in {self.splits} x {self.splits} windows; "
                "choose another size or splits."
            )
        place = _sines(h // self.splits, w // self.splits, first.shape[1]).to(first)
        both = torch.cat([first, second]) + place.repeat(1, self.splits, self.splits)
        own = both.flatten(2).mT
        other = torch.cat(own.chunk(2)[::-1])
        for i, block in enumerate(self.blocks):
            own = block(own, other, Windows(h, w, self.splits, shifted=i % 2 == 1))
            other = torch.cat(own.chunk(2)[::-1])
        one, two = own.mT.unflatten(2, (h, w)).chunk(2)
        return one, two

    def match(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the chances ``(B, N, N)`` that a cell of the first map went to each of the second.

        Args:
            first: ``(B, D, h, w)``, as ``forward`` gives them.
            second: Likewise.
        """
        one, two = (cells.flatten(2).mT for cells in self.meet(first, second))
        with torch.autocast(one.device.type, enabled=False):
            return (one.float() @ two.float().mT / math.sqrt(one.shape[2])).softmax(-1)

    @torch.no_grad()
    def flow(self, first: Images, second: Images, *, window: float | None = None) -> Tensor:
        """Return how far each pixel of the first pictures went, ``(B, 2, H, W)`` in pixels, x and y.

        Args:
            first: Pictures of one size.
            second: Likewise.
            window: Reach in cells around the likeliest one over which the mean place is taken; None takes
                that over the picture.
        """
        seen = self.forward(first)
        assert seen.map is not None and seen.grid is not None and seen.stride is not None
        after = self.forward(second).map
        assert after is not None
        moved = displacement(self.match(seen.map, after), seen.grid, window=window)
        moved = moved * moved.new_tensor(seen.stride[::-1]).view(1, 2, 1, 1)
        placed = Features.of_map(moved.mean((2, 3)), moved, stride=seen.stride, offset=seen.offset)
        height, width = self.backbone.pixels(first).shape[2:]
        return placed.at_pixels(height, width)


@in_float32
def displacement(chances: Tensor, grid: tuple[int, ...], *, window: float | None = None) -> Tensor:
    """Return the mean way ``(B, 2, h, w)``, x and y in cells, that cells go by chances ``(B, N, N)``.

    Args:
        chances: Rows add up to 1.
        grid: h and w.
        window: Reach in cells around the likeliest cell beyond which chances do not count; None counts all.
    """
    h, w = grid
    row, column = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    at = torch.stack([column, row], -1).flatten(0, 1).to(chances)  # (N, 2)
    if window is not None:
        likeliest = at[chances.argmax(-1)]  # (B, N, 2)
        near = (likeliest[:, :, None] - at).square().sum(-1) < window**2
        chances = chances * near
        chances = chances / chances.sum(-1, keepdim=True).clamp_min(1e-12)
    return (chances @ at - at).mT.unflatten(2, (h, w))


@dataclasses.dataclass(frozen=True)
class Windows:
    """Cuts maps of h x w cells in windows, and puts them together again.

    Args:
        h: Cells down.
        w: Cells across.
        splits: Windows along each side.
        shifted: By half of one, down and across, and around the edge.
    """

    h: int
    w: int
    splits: int
    shifted: bool

    @property
    def shift(self) -> tuple[int, int]:
        moved = self.shifted and self.splits > 1
        return (self.h // self.splits // 2, self.w // self.splits // 2) if moved else (0, 0)

    def cut(self, cells: Tensor) -> Tensor:
        """``(B, h w, D)`` -> ``(B, splits², N, D)``."""
        down, across = self.shift
        x = cells.unflatten(1, (self.h, self.w)).roll((-down, -across), (1, 2))
        k = self.splits
        x = x.unflatten(1, (k, -1)).unflatten(3, (k, -1)).transpose(2, 3)
        return x.flatten(3, 4).flatten(1, 2)

    def merge(self, cut: Tensor) -> Tensor:
        """Undo ``cut``."""
        k = self.splits
        x = cut.unflatten(1, (k, k)).unflatten(3, (self.h // k, self.w // k)).transpose(2, 3)
        return x.flatten(3, 4).flatten(1, 2).roll(self.shift, (1, 2)).flatten(1, 2)

    def apart(self, like: Tensor) -> Tensor | None:
        """Return what is added to scores ``(splits², N, N)``: cells from over the edge do not count."""
        if not any(self.shift):
            return None
        lines = []
        for n, moved in ((self.h, self.shift[0]), (self.w, self.shift[1])):
            line = torch.arange(n, device=like.device)
            lines.append((line >= n - n // self.splits).long() + (line >= n - moved))
        part = (3 * lines[0][:, None] + lines[1]).flatten()[None, :, None].to(like)
        part = dataclasses.replace(self, shifted=False).cut(part)[0]  # (splits², N, 1)
        return torch.where(part == part.mT, 0.0, -100.0).to(like)


class Attention(nn.Module):
    """One head of attention within windows, and a norm."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.merge = (nn.Linear(dim, dim, bias=False) for _ in range(4))
        self.norm = nn.LayerNorm(dim)

    def forward(self, own: Tensor, other: Tensor, windows: Windows) -> Tensor:
        q, k, v = (windows.cut(part) for part in (self.query(own), self.key(other), self.value(other)))
        seen = scaled_dot_product_attention(q, k, v, attn_mask=windows.apart(q))
        return self.norm(self.merge(windows.merge(seen)))


class Block(nn.Module):
    """Attention to the own picture, then to the other one and a network of two layers."""

    def __init__(self, dim: int, expansion: int) -> None:
        super().__init__()
        self.to_own, self.to_other = Attention(dim), Attention(dim)
        hidden = 2 * dim * expansion
        self.mix = nn.Sequential(
            nn.Linear(2 * dim, hidden, bias=False), nn.GELU(), nn.Linear(hidden, dim, bias=False)
        )
        self.norm = nn.LayerNorm(dim)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, own: Tensor, other: Tensor, windows: Windows) -> Tensor:
        own = own + self.to_own(own, own, windows)
        seen = self.to_other(own, other, windows)
        return own + self.norm(self.mix(torch.cat([own, seen], -1)))


def _sines(h: int, w: int, dim: int) -> Tensor:
    """Return sines and cosines of the place in a window, as DETR has them: ``(dim, h, w)``."""
    half = dim // 2
    scale = 10_000 ** (2 * (torch.arange(half) // 2) / half)
    parts = []
    for axis, n in enumerate((h, w)):
        place = 2 * math.pi * (torch.arange(n) + 1) / (n + 1e-6)
        wave = place[:, None] / scale
        wave = torch.stack([wave[:, 0::2].sin(), wave[:, 1::2].cos()], 2).flatten(1).T  # (half, n)
        parts.append(wave[:, :, None].expand(-1, h, w) if axis == 0 else wave[:, None].expand(-1, h, w))
    return torch.cat(parts)


def smoothness(flow: Tensor, pixels: Tensor, *, edge: float = 150.0) -> Tensor:
    """Return how much a flow bends where the picture is even: scalar.

    Args:
        flow: ``(B, 2, h, w)`` in cells; it is brought to the picture's size and unit.
        pixels: ``(B, 3, H, W)`` in [-1, 1].
        edge: How soon a step of brightness frees the flow.

    Source: Jonschkowski et al. 2020, arXiv:2006.04902, second order; as released with arXiv:2409.16288.
    """
    (h, w), (height, width) = flow.shape[2:], pixels.shape[2:]
    flow = interpolate(flow, (height, width), mode="bilinear", align_corners=True)
    flow = flow * flow.new_tensor([width / w, height / h]).view(1, 2, 1, 1)
    total = flow.new_zeros(())
    for axis in (2, 3):
        n = pixels.shape[axis]
        step = pixels.narrow(axis, 2, n - 2) - pixels.narrow(axis, 0, n - 2)
        even = (-(edge * step).square().mean(1, keepdim=True)).exp()
        bend = flow.diff(dim=axis).diff(dim=axis)
        total = total + (even * (bend.square() + 0.001**2).sqrt()).mean() / 2
    return total
