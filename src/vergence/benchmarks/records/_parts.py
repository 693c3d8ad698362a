"""A world of things made of parts, behind a lens with colour fringes, for records of patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, pad

from vergence.core import pooled
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.evaluate.protocols.linear import linear
from vergence.evaluate.ridge import fit_ridge
from vergence.evaluate.score import Score
from vergence.methods.image.context import even_contrast
from vergence.nets.image_encoder import MEAN

SIDE, CELL, PATCH = 36, 12, 9  # pixels of a photo, of a part and of a patch
COUNT = 768  # photos that teach, as many that judge
PARTS = 9
LENS = (1.0, 0.9, 1.0)  # how much larger red, green and blue are drawn
CONTRAST, NOISE = (0.2, 0.4), 0.03


@dataclass(frozen=True)
class Patches:
    """Patches of photos whose parts lie anywhere.

    Args:
        pixels: ``(N, 9, 3, P, P)``, RGB as differences from what encoders take for their mean; N photos, nine
            places in reading order.
        part: ``(N, 9)`` int64, what each shows.
    """

    pixels: Tensor
    part: Tensor


def parts(source: Any, seed: int) -> tuple[ImageSource, Patches]:
    """Generate photos of a thing whose parts lie where they belong, and patches of parts that lie anywhere.

    Each patch is about its mean and of one contrast.
    """
    random = np.random.default_rng(seed)
    glyphs = smooth(random.normal(size=(PARTS, 1, CELL, CELL)), 2)
    glyphs = glyphs / np.abs(glyphs).max((1, 2, 3), keepdims=True)
    whole = np.arange(PARTS)[None].repeat(COUNT, 0)
    mixed = random.integers(PARTS, size=(COUNT, 9))
    pixels = cut(random, photos(random, glyphs, mixed))
    even = even_contrast(pixels - pixels.mean((2, 3), keepdim=True))
    return as_source(photos(random, glyphs, whole)), Patches(
        even.unflatten(0, mixed.shape), torch.from_numpy(mixed)
    )


def as_source(pixels: np.ndarray) -> ImageSource:
    """Return photos ``(N, 36, 36, 3)`` as a source without labels."""
    return ImageSource(PixelReader(pixels, None, None, "thing"), "memory:parts", pixels=pixels)


def cut(random: Any, pixels: np.ndarray) -> Tensor:
    """Cut a patch out of every cell of photos ``(N, 36, 36, 3)``: ``(9 N, 3, P, P)`` in [0, 1]."""
    n = len(pixels)
    corner = CELL * np.arange(3) + random.integers(1, CELL - PATCH, size=(2, n, 3))
    rows, columns = (c[..., None] + np.arange(PATCH) for c in corner)  # (N, 3, P)
    photo = np.arange(n)[:, None, None, None, None]
    patches = pixels[photo, rows[:, :, None, :, None], columns[:, None, :, None]]  # (N, 3, 3, P, P, 3)
    return torch.from_numpy(patches).reshape(-1, PATCH, PATCH, 3).permute(0, 3, 1, 2) / 255


def smooth(values: np.ndarray, times: int) -> np.ndarray:
    """Blur pictures ``(N, C, H, W)`` by the mean of 3 x 3, several times."""
    out = torch.from_numpy(values)
    for _ in range(times):
        out = avg_pool2d(pad(out, [1] * 4, mode="replicate"), 3, 1)
    return out.numpy()


def photos(
    random: Any,
    glyphs: np.ndarray,
    laid: np.ndarray,
    *,
    contrast: tuple[float, float] = CONTRAST,
    paint: np.ndarray | None = None,
    tint: float = 0.1,
    lens: tuple[float, float, float] = LENS,
) -> np.ndarray:
    """Draw photos ``(N, 36, 36, 3)`` whose nine cells show parts, through the lens.

    Args:
        random: Numpy's generator.
        glyphs: ``(P, 1, 12, 12)`` in [-1, 1].
        laid: ``(N, 9)`` int64, the part in each cell.
        contrast: Least and largest of a part, which is dark on bright or bright on dark.
        paint: ``(P, 3)``, what is added to a part's colour; None for nothing.
        tint: Deviation of a photo's own colour.
        lens: How much larger red, green and blue are drawn, about the centre.
    """
    n = len(laid)
    strength = random.uniform(*contrast, (n, 9, 1, 1)) * random.choice([-1, 1], (n, 9, 1, 1))
    cells = strength * glyphs[laid, 0]
    grey = cells.reshape(n, 3, 3, CELL, CELL).transpose(0, 1, 3, 2, 4).reshape(n, 1, SIDE, SIDE)
    light = smooth(random.normal(size=(n, 1, SIDE, SIDE)), 6)
    own = 0.5 + tint * random.normal(size=(n, 3, 1, 1))
    pixels = torch.from_numpy(own + grey + 0.5 * light)
    if paint is not None:
        colours = torch.from_numpy(paint[laid]).view(n, 3, 3, 3).permute(0, 3, 1, 2)
        pixels += colours.repeat_interleave(CELL, 2).repeat_interleave(CELL, 3)
    for c, factor in enumerate(lens):
        if factor != 1:
            pixels[:, c : c + 1] = enlarged(pixels[:, c : c + 1], factor)
    shown = pixels.numpy() + NOISE * random.normal(size=(n, 3, SIDE, SIDE))
    return np.ascontiguousarray((255 * shown.clip(0, 1)).round().astype(np.uint8).transpose(0, 2, 3, 1))


def enlarged(pixels: Tensor, factor: float) -> Tensor:
    """Enlarge pictures about their centre; the border is continued."""
    motion = torch.tensor([[1 / factor, 0.0, 0.0], [0.0, 1 / factor, 0.0]], dtype=pixels.dtype)
    grid = affine_grid(motion.expand(len(pixels), 2, 3), list(pixels.shape), align_corners=False)
    return grid_sample(pixels, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def vectors(encoder: nn.Module, patches: Patches) -> Tensor:
    """Return the encoder's vectors ``(N, 9, D)`` of patches."""
    encoder.eval()
    pixels = patches.pixels.flatten(0, 1) + torch.tensor(MEAN).view(3, 1, 1)
    return pooled(encoder(pixels)).float().unflatten(0, patches.part.shape)


def part_accuracy(encoder: nn.Module, train: ImageSource, test: Patches, seed: int) -> Score:
    """Probe patches of half of the photos for the part that they show, and judge by the others."""
    known, judged = vectors(encoder, test).chunk(2)
    part, truth = test.part.chunk(2)
    return linear(known.flatten(0, 1), part.flatten(), judged.flatten(0, 1), truth.flatten(), seed=seed)


def place_r2(encoder: nn.Module, train: ImageSource, test: Patches, seed: int) -> float:
    """Return the share of the variance of a patch's place that a linear map of its vector explains."""
    known, judged = vectors(encoder, test).chunk(2)
    step = torch.arange(-1.0, 2)
    place = torch.cartesian_prod(step, step).repeat(len(known), 1)  # (9 N / 2, 2)
    x, aside = known.flatten(0, 1), torch.arange(len(place)) % 5 == 0
    error = (fit_ridge(x, place, aside)(judged.flatten(0, 1)) - place).square().mean()
    return float(1 - error / place.square().mean())
