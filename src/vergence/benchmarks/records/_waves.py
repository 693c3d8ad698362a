"""A world of waves, for records of masked modelling: what counts is faint, what is strong says nothing."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from vergence.benchmarks.tasks import Metric, Task, generated
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.nets.vit import ViT

SIDE, COUNT, JUDGED = 16, 1_024, 1_024
DIRECTIONS, PERIODS = 4, (4.0, 7.0)  # pixels
CONTRAST, LIGHT, NOISE = (0.03, 0.1), 0.15, 0.01


class TinyViT(ViT):
    """2 blocks of width 48 on 4 x 4 patches."""

    def __init__(
        self, positions: Literal["learned", "sincos"] = "sincos", pool: Literal["cls", "mean"] = "mean"
    ) -> None:
        super().__init__(size=SIDE, patch=4, dim=48, depth=2, heads=3, positions=positions, pool=pool)
        self.spec = {"name": f"{__name__}:TinyViT", "positions": positions, "pool": pool}


def waves_task(*metrics: Metric) -> Task:
    """Make a task of waves under a light, judged by what names their kind."""
    return generated(_deal, *metrics)


def _deal(source: Any, seed: int) -> tuple[ImageSource, ImageSource]:
    return waves(seed, contrast=CONTRAST, light=LIGHT, noise=NOISE)


def waves(
    seed: int,
    *,
    contrast: tuple[float, float],
    light: float,
    noise: float,
    speckle: float = 0.0,
    cell: int = 4,
) -> tuple[ImageSource, ImageSource]:
    """Generate pictures of one wave each under a light of its own, and as many to judge.

    Args:
        seed: Of all that is drawn.
        contrast: Least and largest amplitude of the wave, of a range of pixels of 1.
        light: Deviation of the light, which changes slowly over the picture, in a colour of its own.
        noise: Deviation of a pixel.
        speckle: Deviation of a level of grey that each cell has for itself.
        cell: Side of a cell in pixels.
    """
    random = np.random.default_rng(seed)
    n = COUNT + JUDGED
    label = np.arange(n) % (DIRECTIONS * len(PERIODS))
    angle = np.pi * (label % DIRECTIONS) / DIRECTIONS
    period = np.array(PERIODS)[label // DIRECTIONS]
    y, x = np.mgrid[:SIDE, :SIDE][:, None] + 0.5
    along = x * np.cos(angle)[:, None, None] + y * np.sin(angle)[:, None, None]
    phase = random.uniform(0, 2 * np.pi, (n, 1, 1))
    wave = np.sin(2 * np.pi * along / period[:, None, None] + phase)
    strength = np.exp(random.uniform(math.log(contrast[0]), math.log(contrast[1]), (n, 1, 1)))
    slopes = random.normal(size=(2, n, 1, 1))
    shade = (slopes[0] * (x - SIDE / 2) + slopes[1] * (y - SIDE / 2)) / SIDE + random.normal(size=(n, 1, 1))
    tint = 1 + 0.3 * random.normal(size=(n, 1, 1, 3))
    grain = speckle * random.normal(size=(n, SIDE // cell, SIDE // cell)).repeat(cell, 1).repeat(cell, 2)
    pixels = 0.5 + (light * shade)[..., None] * tint + (strength * wave + grain)[..., None]
    pixels = pixels + noise * random.normal(size=pixels.shape)
    pixels = (255 * pixels.clip(0, 1)).astype(np.uint8)
    reader = PixelReader(pixels, label, [f"wave {k}" for k in range(label.max() + 1)], "waves")
    whole = ImageSource(reader, "memory:waves", pixels=pixels)
    return whole.subset(np.arange(COUNT)), whole.subset(np.arange(COUNT, n))
