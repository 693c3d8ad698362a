"""A few small images in which something can be learned in seconds."""

from __future__ import annotations

import numpy as np

from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource


def example(kind: str = "") -> ImageSource:
    """Return 512 patterns of four kinds, 16 x 16, in random colours: colour says nothing, the pattern all."""
    rng, n, side = np.random.default_rng(0), 512, 16
    label = np.arange(n) % 4
    y, x = np.mgrid[:side, :side] / side
    cycles = 2 * np.pi * rng.uniform(2, 4, (n, 1, 1))
    shift = rng.uniform(0, 2 * np.pi, (2, n, 1, 1))
    columns, rows = np.sin(cycles * x + shift[0]), np.sin(cycles * y + shift[1])
    slanted = np.sin(cycles * (x + y) / 1.4 + shift[0])
    wave = np.choose(label[:, None, None], [columns, rows, 1.5 * columns * rows, slanted]).clip(-1, 1)
    share = (wave[..., None] + 1) / 2
    ink, paper = rng.uniform(0, 255, (2, n, 1, 1, 3))
    pixels = (ink * share + paper * (1 - share)).astype(np.uint8)
    kinds = ["columns", "rows", "squares", "slanted"]
    return ImageSource(PixelReader(pixels, label, kinds, "example"), "memory:patterns", pixels=pixels)
