"""PIRL on CIFAR-10 and on mosaics: do features gain where the order of tiles is left out?"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.tasks import KNN, generated
from vergence.data import ImageBatch, Source
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.methods.image.pirl import GRID, PIRL
from vergence.nets.permutations import permutation_bank, permuted

CLASSES, TEXTURES, COUNT, JUDGED, CELL = 8, 12, 500, 500, 12
CONTRAST, LIGHT, NOISE = 0.15, 0.15, 0.06


class Jigsaw(PIRL):
    """Name the order of the tiles, of 64, by a linear layer on the same code of tiles."""

    orders: Tensor

    def __init__(self, encoder: Any, **options: Any) -> None:
        super().__init__(encoder, **options)
        self.name_order = nn.Linear(self.project.out_features, 64)
        self.register_buffer("orders", permutation_bank(GRID**2, 64))

    def views(self, batch: ImageBatch) -> Any:
        drawn = torch.randint(len(self.orders), (len(batch),), device=self.orders.device)
        return permuted(self.tiles(batch), self.orders[drawn]), drawn

    def loss(self, views: Any) -> dict[str, Tensor]:
        tiles, drawn = views
        each = self.project_tile(self.encode(tiles.flatten(0, 1))).unflatten(0, (len(tiles), -1)).flatten(1)
        answers = self.name_order(self.project_tiles(each).relu()).float()
        self.watch("order_accuracy", (answers.argmax(1) == drawn).float().mean())
        return {"order": cross_entropy(answers, drawn)}


def mosaics(source: None, seed: int) -> tuple[Source, Source]:
    """Generate mosaics of 3 x 3 cells: three textures name the class, their order and light nothing."""
    random = np.random.default_rng(seed)
    kinds = np.arange(TEXTURES)
    angle, period = np.pi * (kinds % 6) / 6, np.where(kinds < 6, 3.0, 5.0)  # of stripes; pixels
    sets = np.stack([random.permutation(TEXTURES)[:3] for _ in range(CLASSES)])
    n, side = COUNT + JUDGED, 3 * CELL
    label = np.arange(n) % CLASSES
    texture = sets[label[:, None], random.permuted(np.tile(np.arange(9) % 3, (n, 1)), axis=1)]  # (n, 9)
    level = random.permuted(np.tile(np.linspace(-1, 1, 9), (n, 1)), axis=1)
    y, x = np.mgrid[:CELL, :CELL] + 0.5
    turn, wide, phase = (
        part[..., None, None]
        for part in (angle[texture], period[texture], random.uniform(0, 2 * np.pi, (n, 9)))
    )
    stripes = np.sin(2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / wide + phase)
    cells = CONTRAST * stripes + LIGHT * level[..., None, None]  # (n, 9, c, c)
    grey = cells.reshape(n, 3, 3, CELL, CELL).swapaxes(2, 3).reshape(n, side, side)
    pixels = 0.5 + grey[..., None] + NOISE * random.normal(size=(n, side, side, 3))
    pixels = (255 * pixels.clip(0, 1)).astype(np.uint8)
    reader = PixelReader(pixels, label, None, "mosaics")
    options = {"flip": 0.0, "scale": (0.5, 1.0)}
    whole = ImageSource(reader, "memory:mosaics", pixels=pixels, view_options=options)
    return whole.subset(np.arange(COUNT)), whole.subset(np.arange(COUNT, n))


small = Training(
    "resnet-tiny",
    {"width": 8, "blocks": (1, 1)},
    epochs=35,
    batch=50,
    size=3 * CELL,
    settings={"optimizer": "adamw", "lr": 3e-3, "weight_decay": 1e-4, "warmup": 1},
)
few = partial(PIRL, dim=32, negatives=COUNT)
MECHANISM = Mechanism(
    f"{COUNT} mosaics of 3 x 3 cells: which three textures they are of is the class, of {CLASSES}; where a "
    "texture lies, and how light each cell is, are drawn anew for every picture. The order tells pictures "
    "of a class apart, so that a memory of pictures asks for it; their tiles, in any order, tell of the "
    "textures alone. k-NN asks for the class. No order of tiles is the right one here, so that to name it "
    "teaches little. On average an untrained net is ahead of every trained one (0.72; PIRL has 0.66): "
    "features drawn at random tell textures already, so that what shows is how much less PIRL loses than its "
    "rivals do, not that it gains. Settings were chosen on seed 100.",
    task=generated(mosaics, KNN),
    arms={
        "paper": small(few),
        "picture alone": small(partial(few, weight=0.0)),
        "order named": small(partial(Jigsaw, dim=32)),
        "untrained": small.untrained,
        "raw": raw,
    },
)
PARITY = Parity(
    "official",
    "github.com/facebookresearch/vissl, NCEAverage and NCECriterion of vissl/losses/nce_loss.py with the "
    "heads of pirl_jigsaw_4node_resnet50.yaml, the constant Z replaced by Eq. 3's own sum: loss, "
    "gradients and memory of five random batches, the same negatives, float32",
    commit="09270ed25a6c2cf71263d955b64cbe076d34ac45",
    max_abs=5.7e-06,
    max_rel=5.6e-07,
)

train = short(epochs=8, width=16)
cifar = partial(PIRL, negatives=2_048)

RECORD = Record(
    key="pirl",
    claim="Features of which a photo's shuffled tiles know as much as the photo lie nearer to what is on it.",
    task=cifar10(),
    arms={
        "paper": train(cifar),
        "photo alone": train(partial(cifar, weight=0.0)),
        "order named": train(Jigsaw),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="5,000 photos, 8 epochs of a residual net of 16 to 64 channels by AdamW, 2,048 negatives and "
    "tiles of 9 pixels; the paper: 800 epochs of a ResNet-50 on ImageNet by SGD, 32,000 negatives, tiles "
    "of 64.",
    mechanism=MECHANISM,
    parity=PARITY,
)
