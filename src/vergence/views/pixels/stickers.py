"""Small pictures that people put on photos: faces, hearts, stars, drawn here."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from vergence.views.pixels import geometry
from vergence.views.pixels.copies import placement_matrix
from vergence.views.pixels.geometry import Range, uniform

_SIDE = 32  # of a sticker in pixels


def paste_sticker(
    pixels: Tensor, generator: torch.Generator | None = None, *, side: Range, opacity: Range
) -> Tensor:
    """Put one sticker, drawn at random, anywhere on each of ``(B, 3, S, S)`` in [0, 1].

    Args:
        pixels: What they are put on; stays as it is.
        generator: Of the pixels' device.
        side: Least and largest side of the sticker, as a share of the picture's.
        opacity: Least and largest share of the sticker that covers what is below.
    """
    b, size = len(pixels), pixels.shape[2]
    drawn = stickers().to(pixels.device)
    chosen = drawn[torch.randint(len(drawn), (b,), generator=generator, device=pixels.device)]
    share = uniform(b, *side, pixels, generator)
    moved = geometry.warp(chosen, placement_matrix(share, share, size, _SIDE, _SIDE, generator), size)
    cover = moved[:, 3:] * uniform(b, *opacity, pixels, generator)[:, None, None, None]
    colour = moved[:, :3] / moved[:, 3:].clamp_min(1e-6)  # edges were mixed with the black outside
    return pixels * (1 - cover) + colour * cover


@cache
def stickers() -> Tensor:
    """Return all stickers, ``(L, 4, 32, 32)`` float32: colour times cover, and cover, in [0, 1]."""
    pictures = []
    for colour in ("gold", "orangered", "limegreen", "deepskyblue", "hotpink", "white"):
        for draw in (_face, _heart, _star, _drop):
            picture = Image.new("RGBA", (4 * _SIDE, 4 * _SIDE))
            draw(ImageDraw.Draw(picture), colour, 4 * _SIDE)
            small = picture.resize((_SIDE, _SIDE), Image.Resampling.BOX)
            pictures.append(np.asarray(small, np.float32) / 255)
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return torch.cat([x[:, :3] * x[:, 3:], x[:, 3:]], 1).contiguous()


def _face(draw: ImageDraw.ImageDraw, colour: str, side: int) -> None:
    draw.ellipse((2, 2, side - 3, side - 3), colour)
    for x in (0.32, 0.6):
        draw.ellipse((x * side, 0.28 * side, (x + 0.09) * side, 0.44 * side), "black")
    draw.arc((0.25 * side, 0.3 * side, 0.75 * side, 0.78 * side), 20, 160, "black", side // 16)


def _heart(draw: ImageDraw.ImageDraw, colour: str, side: int) -> None:
    t = np.linspace(0, 2 * math.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    draw.polygon([((a / 36 + 0.5) * side, (0.46 - b / 36) * side) for a, b in zip(x, y, strict=True)], colour)


def _star(draw: ImageDraw.ImageDraw, colour: str, side: int) -> None:
    corners = []
    for i in range(10):
        reach, turn = (0.48, 0.2)[i % 2] * side, math.pi * i / 5
        corners.append((side / 2 + reach * math.sin(turn), side / 2 - reach * math.cos(turn)))
    draw.polygon(corners, colour)


def _drop(draw: ImageDraw.ImageDraw, colour: str, side: int) -> None:
    draw.polygon([(0.5 * side, 0.03 * side), (0.18 * side, 0.58 * side), (0.82 * side, 0.58 * side)], colour)
    draw.ellipse((0.16 * side, 0.3 * side, 0.84 * side, 0.97 * side), colour)
