"""Denoiser: the U-Net of a diffusion model, which reads a caption by cross-attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    interpolate,
    pixel_shuffle,
    pixel_unshuffle,
    scaled_dot_product_attention,
    silu,
)

BLOCKS = ("down0", "down1", "middle", "up1", "up0")  # in the order of the pass; decoder: the last three


def time_waves(t: Tensor, dim: int) -> Tensor:
    """Return cosines and sines of times ``(B,)`` at ``dim / 2`` frequencies from 1 to 1e-4, ``(B, dim)``."""
    half = dim // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, device=t.device) / half)
    angles = t[:, None].float() * rates
    return torch.cat([angles.cos(), angles.sin()], 1)


class ResBlock(nn.Module):
    """Two 3 x 3 convolutions behind group norms, with the time added between them, around a shortcut."""

    def __init__(self, inside: int, outside: int, time: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, inside), nn.Conv2d(inside, outside, 3, padding=1)
        self.time = nn.Linear(time, outside)
        self.norm2, self.conv2 = nn.GroupNorm(8, outside), nn.Conv2d(outside, outside, 3, padding=1)
        self.shortcut = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map ``(B, inside, H, W)`` and times ``(B, time)`` to ``(B, outside, H, W)``."""
        h = self.conv1(silu(self.norm1(x))) + self.time(silu(time))[:, :, None, None]
        return self.shortcut(x) + self.conv2(silu(self.norm2(h)))


class Attention(nn.Module):
    """Attention in several heads from a map to its context; no bias but the last."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=False)
        self.k, self.v = nn.Linear(context, width, bias=False), nn.Linear(context, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor, seen: Tensor | None = None) -> Tensor:
        """Map ``(B, N, width)``, ``(B, L, context)`` and its mask ``(B, L)`` to ``(B, N, width)``."""
        q, k, v = (
            y.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for y in (self.q(x), self.k(context), self.v(context))
        )
        mask = None if seen is None else seen[:, None, None]
        return self.out(scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2))


class WordBlock(nn.Module):
    """Places of a map attend to each other, then to the words, then pass a small network each."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.places, self.words = Attention(width, width, heads), Attention(width, context, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, words: Tensor, seen: Tensor) -> Tensor:
        """Map ``(B, width, H, W)``, words ``(B, L, context)`` and which of them count to the same map."""
        y = x.flatten(2).transpose(1, 2)
        z = self.norms[0](y)
        y = y + self.places(z, z)
        y = y + self.words(self.norms[1](y), words, seen)
        y = y + self.mlp(self.norms[2](y))
        return y.transpose(1, 2).unflatten(2, x.shape[2:])


class Denoiser(nn.Module):
    """Predict the noise of pictures at a time, given the vectors of a caption's words.

    A U-Net (Ho et al. 2020, arXiv:2006.11239) with cross-attention (Rombach et al. 2022, arXiv:2112.10752) on
    cells of 2 x 2 pixels. Blocks, with their sizes for pictures of H pixels: ``down0`` (width, H/2),
    ``down1`` (2 width, H/4), ``middle`` (2 width, H/4), ``up1`` (2 width, H/4), ``up0`` (width, H/2).

    Args:
        width: Channels of the larger maps, a multiple of 8.
        context: Channels of a word.
        heads: Of attention.
    """

    def __init__(self, width: int = 40, *, context: int = 64, heads: int = 4) -> None:
        super().__init__()
        time, wide = 4 * width, 2 * width
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, time), nn.SiLU(), nn.Linear(time, time))
        self.stem = nn.Conv2d(12, width, 3, padding=1)
        self.down0 = ResBlock(width, width, time)
        self.halve = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.down1, self.down1_words = ResBlock(width, wide, time), WordBlock(wide, context, heads)
        self.middle, self.middle_words = ResBlock(wide, wide, time), WordBlock(wide, context, heads)
        self.up1, self.up1_words = ResBlock(2 * wide, wide, time), WordBlock(wide, context, heads)
        self.narrow = nn.Conv2d(wide, width, 1)
        self.up0 = ResBlock(2 * width, width, time)
        self.norm, self.last = nn.GroupNorm(8, width), nn.Conv2d(width, 12, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def channels(self, block: str) -> int:
        """Return the channels of a block's map."""
        return self.width if block.endswith("0") else 2 * self.width

    def forward(self, x: Tensor, t: Tensor, words: Tensor, seen: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Predict noise, and give the maps of every block.

        Args:
            x: Noised pictures ``(B, 3, H, W)``, H and W multiples of 4.
            t: Times ``(B,)``.
            words: Of captions ``(B, L, context)``.
            seen: Which words count ``(B, L)`` bool, one or more each.

        Returns:
            Noise ``(B, 3, H, W)``, and the map of each of ``BLOCKS``.
        """
        time = self.time(time_waves(t, self.width))
        maps = {}
        maps["down0"] = self.down0(self.stem(pixel_unshuffle(x, 2)), time)
        maps["down1"] = self.down1_words(self.down1(self.halve(maps["down0"]), time), words, seen)
        maps["middle"] = self.middle_words(self.middle(maps["down1"], time), words, seen)
        joined = torch.cat([maps["middle"], maps["down1"]], 1)
        maps["up1"] = self.up1_words(self.up1(joined, time), words, seen)
        larger = interpolate(self.narrow(maps["up1"]), scale_factor=2.0)
        maps["up0"] = self.up0(torch.cat([larger, maps["down0"]], 1), time)
        return pixel_shuffle(self.last(silu(self.norm(maps["up0"]))), 2), maps
