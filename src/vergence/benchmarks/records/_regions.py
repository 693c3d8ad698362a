"""A world of pictures that consist of regions, seen twice: which one a patch is of, it says only faintly.

A region has a kind, which all its patches show; how each patch is lit is drawn for itself. Between the two
looks at a picture all regions are laid out anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.tv_tensors import Mask

from vergence.benchmarks.tasks import Task
from vergence.core import Features
from vergence.data import Source
from vergence.data.image.batch import ImageBatch
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.data.targets import Masks
from vergence.evaluate.dense import dense
from vergence.evaluate.score import Score
from vergence.nets.image_encoder import ImageEncoder, Images
from vergence.nets.patches import patchify
from vergence.views.pixels.augment import View, centre_view

LEARNED, JUDGED = 1_024, 256  # pictures, of which the latter are judged look by look
GRID, TILE = 6, 4  # patches a side, pixels a side of a patch
SIDE = GRID * TILE


def regions(
    seed: int, *, kinds: int, shown: int, contrast: float, colours: int, lights: int
) -> tuple[Source, Source]:
    """Generate pictures, both looks side by side, and others that judge, look by look.

    Patches are one linear mixture of kind, colour and light.

    Args:
        seed: Of all that is drawn.
        kinds: How many there are.
        shown: Regions of a picture, each of another kind.
        contrast: Deviation of a kind; colours and lights have deviation 1.
        colours: Numbers that a picture's colour consists of, which all its patches share in both looks.
        lights: Numbers that a patch's light consists of.
    """
    random = np.random.default_rng(seed)
    n, cells = LEARNED + JUDGED, GRID**2
    colour = np.broadcast_to(random.normal(size=(n, 1, colours)), (n, cells, colours))
    of = np.argsort(random.random((n, kinds)), 1)[:, :shown]  # kinds of the regions
    mixture = random.normal(size=(kinds + colours + lights, 3 * TILE * TILE))
    y, x = np.divmod(np.arange(cells), GRID)
    looks, places = [], []
    for _ in range(2):
        middle = np.argsort(random.random((n, cells)), 1)[:, :shown]
        away = (y - y[middle][..., None]) ** 2 + (x - x[middle][..., None]) ** 2
        region = (away + 0.01 * random.random(away.shape)).argmin(1)  # (n, N): the nearest middle
        kind = np.take_along_axis(of, region, 1)
        code = contrast * (np.eye(kinds) - 1 / kinds)[kind]
        light = random.normal(size=(n, cells, lights))
        tiles = np.concatenate([code, colour, light], 2) @ mixture
        parts = tiles.reshape(n, GRID, GRID, TILE, TILE, 3)
        looks.append(parts.transpose(0, 1, 3, 2, 4, 5).reshape(n, SIDE, SIDE, 3))
        places.append(region.reshape(n, GRID, GRID).repeat(TILE, 1).repeat(TILE, 2))
    scale = 30 / np.std(looks[0])
    first, second = ((128 + scale * look).clip(0, 255).round().astype(np.uint8) for look in looks)
    both = np.concatenate([first, second], 2)[:LEARNED]
    single = np.stack([first[LEARNED:], second[LEARNED:]], 1).reshape(-1, SIDE, SIDE, 3)
    place = np.stack([part[LEARNED:] for part in places], 1).reshape(-1, SIDE, SIDE)
    masks = Masks(Mask(torch.from_numpy(place.astype(np.int16) + 1)))
    reader = PixelReader(single, np.arange(JUDGED).repeat(2), None, "regions")
    judged = ImageSource(reader, "memory:regions", pixels=single, targets={"masks": masks})
    return ImageSource(PixelReader(both, None, None, "regions"), "memory:regions", pixels=both), judged


def halves(batch: ImageBatch) -> list[View]:
    """Return both looks at pictures."""
    parts = batch.pixels.split(SIDE, 3)
    return [centre_view(replace(batch, pixels=part.contiguous()), SIDE) for part in parts]


def judged(encoder: nn.Module, test: Source) -> tuple[Features, Tensor]:
    """Return the tokens of the pictures that judge, and the region of each pixel, from 1."""
    seen = dense(encoder, test, "masks")
    assert seen is not None
    return seen[0], seen[1].classes.long()


class PatchPixels(ImageEncoder):
    """The pixels of each patch, unlearned."""

    def __init__(self) -> None:
        super().__init__(size=SIDE)
        self.out_dim, self.depth = 3 * TILE * TILE, 1

    def forward(self, images: Images, *, need: Sequence[str] = ()) -> Features:
        self.check(need)
        tokens = patchify(self.pixels(images), (TILE, TILE))
        step = (float(TILE), float(TILE))
        return Features(tokens.mean(1), tokens, (GRID, GRID), step, (TILE / 2, TILE / 2))


def pixels_of_patches(task: Task, seed: int) -> dict[str, Score | float]:
    """Judge the pixels of patches."""
    train, test = task.data(seed)
    return task.judge(PatchPixels(), train, test, seed)
