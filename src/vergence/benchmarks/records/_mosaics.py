"""A world of mosaics seen twice, which dense methods share: what a tile is, no mean of tiles tells.

A mosaic has tiles of each kind equally often. Between its two looks the tiles change places, and how each is
lit is drawn anew; its colour and its kind stay. A mosaic's tiles have something of their colours in common.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn
from torchvision.tv_tensors import Mask

from vergence.benchmarks.arms import Training
from vergence.benchmarks.tasks import Metric, Task, generated
from vergence.core import Method
from vergence.data import Source
from vergence.data.image.batch import ImageBatch
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.data.targets import Masks
from vergence.evaluate.dense import dense
from vergence.evaluate.protocols.patch_knn import patch_knn
from vergence.evaluate.score import Score
from vergence.nets.convnets import ConvNet, Patches, conv
from vergence.nets.image_encoder import ImageEncoder
from vergence.views.pixels.augment import View, centre_view

LEARNED, PROBED, JUDGED = 1_000, 200, 200
GRID, TILE = 4, 4  # tiles a side of a mosaic, pixels a side of a tile
SIDE, CELLS = GRID * TILE, GRID**2
KINDS, COLOURS, LIGHTS = 4, 4, 16  # kinds, and numbers that a tile's colour and light consist of
CONTRAST = 2.0  # of kinds; colours have deviation 1
ALIKE = 0.5  # share of the variance of colours that a mosaic's tiles have in common


def mosaics(
    source: None,
    seed: int,
    *,
    moved: bool = True,
    contrast: float = CONTRAST,
    lit: float = 1.0,
    alike: float = ALIKE,
) -> tuple[Source, tuple[Source, Source]]:
    """Generate mosaics to learn from, both looks side by side, and single looks that teach and judge.

    A tile's pixels are one linear mixture of its kind, its colour and its light. Masks have the kinds. Tiles
    stay in their places where they are not ``moved``; ``contrast`` is of kinds, lights have deviation
    ``lit``, and of the variance of colours a mosaic's tiles have ``alike`` in common.
    """
    random = np.random.default_rng(seed)
    count = LEARNED + PROBED + JUDGED
    kind = np.argsort(random.random((count, CELLS)), 1) % KINDS
    common, own = random.normal(size=(count, 1, COLOURS)), random.normal(size=(count, CELLS, COLOURS))
    colour = alike**0.5 * common + (1 - alike) ** 0.5 * own
    mixture = random.normal(size=(KINDS + COLOURS + LIGHTS, 3 * TILE * TILE))
    codes = contrast * (np.eye(KINDS) - 1 / KINDS)
    looks, masks = [], []
    for _ in range(2):
        order = np.argsort(random.random((count, CELLS)), 1)
        order = order if moved else np.broadcast_to(np.arange(CELLS), order.shape)
        seen = np.take_along_axis(kind, order, 1)
        stays = [codes[seen], np.take_along_axis(colour, order[..., None], 1)]
        light = lit * random.normal(size=(count, CELLS, LIGHTS))
        looks.append(laid(np.concatenate([*stays, light], 2) @ mixture))
        masks.append(seen.reshape(count, GRID, GRID).repeat(TILE, 1).repeat(TILE, 2))
    scale = 30 / np.std(looks[0])
    first, second = ((128 + scale * look).clip(0, 255).round().astype(np.uint8) for look in looks)
    both = of_pixels(np.concatenate([first, second], 2)[:LEARNED], np.concatenate(masks, 2)[:LEARNED])
    single = of_pixels(first[LEARNED:], masks[0][LEARNED:])
    rows = np.arange(len(single))
    return both, (single.subset(rows[:PROBED]), single.subset(rows[PROBED:]))


def laid(tiles: np.ndarray) -> np.ndarray:
    """Lay tiles ``(n, N, 3 t²)`` side by side: ``(n, S, S, 3)``."""
    parts = tiles.reshape(len(tiles), GRID, GRID, TILE, TILE, 3)
    return parts.transpose(0, 1, 3, 2, 4, 5).reshape(len(tiles), SIDE, SIDE, 3)


def of_pixels(pixels: np.ndarray, kinds: np.ndarray) -> ImageSource:
    """Make a source of mosaics ``(n, H, W, 3)`` with masks ``(n, H, W)``."""
    masks = Masks(Mask(torch.from_numpy(kinds.astype(np.int16))))
    reader = PixelReader(pixels, None, None, "mosaic")
    return ImageSource(reader, "memory:mosaics", pixels=pixels, targets={"masks": masks})


class TileNet(ConvNet):
    """One linear map of each tile's pixels, and batch norm."""

    def __init__(self, dim: int = 8) -> None:
        tiles = nn.Sequential(Patches(TILE), conv(3 * TILE * TILE, dim, 1, act=False))
        super().__init__([tiles], size=SIDE, out_dim=dim)


class TilePixels(ConvNet):
    """The pixels of each tile as they are."""

    def __init__(self) -> None:
        super().__init__([nn.Sequential(Patches(TILE))], size=SIDE, out_dim=3 * TILE * TILE)


def tile_pixels(task: Task, seed: int) -> dict[str, Score | float]:
    """Judge the pixels of tiles themselves."""
    return task.judge(TilePixels(), *task.data(seed), seed)


class BothLooks(Method):
    """The two halves of a picture are the views of whatever method stands behind this class."""

    def views(self, batch: ImageBatch) -> list[View]:
        return halves(batch)


def halves(batch: ImageBatch) -> list[View]:
    """Return the left and the right half of pictures."""
    parts = batch.pixels.split(SIDE, 3)
    return [centre_view(replace(batch, pixels=part.contiguous()), SIDE) for part in parts]


def on_tiles(epochs: int = 16, dim: int = 8) -> Training:
    """Return a training of ``TileNet``, by AdamW at a batch of 64."""
    settings = {"optimizer": "adamw", "lr": 1e-2, "weight_decay": 1e-4, "warmup": 1}
    return Training(
        f"{__name__}:TileNet", {"dim": dim}, epochs=epochs, batch=64, size=SIDE, settings=settings
    )


def kinds(encoder: ImageEncoder, train: Source, test: tuple[Source, Source], seed: int) -> Score:
    """Ask the most similar tiles of other mosaics for the kind of each."""
    (x, known), (z, judged) = (dense(encoder, part, "masks") for part in test)  # type: ignore[misc]
    return patch_knn(x, known.classes, z, judged.classes, seed=seed)


KINDS_FOUND = Metric("mIoU of tiles' kinds by k-NN on cells", kinds)
MOSAICS = generated(mosaics, KINDS_FOUND)
GLARING = generated(partial(mosaics, contrast=3.0, lit=3.0), KINDS_FOUND)  # where light drowns the kinds
