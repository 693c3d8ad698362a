"""A world of things photographed twice, which two records share: the other picture is found by what stays.

It is that of ``_twice`` in pixels, for methods that are of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.benchmarks.arms import Training
from vergence.benchmarks.tasks import Metric, generated
from vergence.core import Method
from vergence.data.image.batch import ImageBatch
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.engine import embed
from vergence.evaluate.protocols.retrieval import retrieval
from vergence.evaluate.score import Score
from vergence.nets.image_encoder import ImageEncoder, Images
from vergence.views.pixels.augment import View, centre_view

THINGS, JUDGED, SIDE = 1_000, 1_000, 8
STAYS, CHANGES, STRENGTH = 6, 20, 2.0  # causes that both pictures share and do not; deviation of those
DIM = 8


class Linear(ImageEncoder):
    """One linear map of the pixels of 8 x 8 pictures to 8 numbers."""

    def __init__(self) -> None:
        super().__init__(size=SIDE)
        self.out_dim, self.depth = DIM, 1
        self.map = nn.Linear(3 * SIDE * SIDE, DIM)

    def forward(self, images: Images, *, need: Sequence[str] = ()) -> Tensor:  # type: ignore[override]
        self.check(need)
        return self.map(self.pixels(images).flatten(1))


def on_looks(epochs: int, batch: int, lr: float) -> Training:
    """Return a training of the linear map, by AdamW."""
    settings = {"optimizer": "adamw", "lr": lr, "weight_decay": 1e-4, "warmup": 1}
    return Training(f"{__name__}:Linear", epochs=epochs, batch=batch, size=SIDE, settings=settings)


def looks(source: Any, seed: int) -> tuple[ImageSource, ImageSource]:
    """Generate pictures in twos, of one thing: linear mixtures of what stays and of what changes."""
    random = np.random.default_rng(seed)
    things = np.arange(THINGS + JUDGED).repeat(2)
    stays = random.normal(size=(THINGS + JUDGED, STAYS))[things]
    changes = STRENGTH * random.normal(size=(len(things), CHANGES))
    mixed = np.concatenate([stays, changes], 1) @ random.normal(size=(STAYS + CHANGES, 3 * SIDE * SIDE))
    x = mixed / mixed.std() + 0.1 * random.normal(size=mixed.shape)
    pixels = (128 + 30 * x).clip(0, 255).round().astype(np.uint8).reshape(-1, SIDE, SIDE, 3)
    reader = PixelReader(pixels, things, None, "look")
    whole = ImageSource(reader, "memory:looks", pixels=pixels)
    return whole.subset(np.arange(2 * THINGS)), whole.subset(np.arange(2 * THINGS, len(things)))


class BothLooks(Method):
    """Both pictures of a thing are the views of whatever method stands behind this class."""

    def setup(self, source: ImageSource) -> None:  # type: ignore[override]
        photos = np.stack([source.sample(i) for i in range(len(source))])
        self.photos = torch.from_numpy(photos).permute(0, 3, 1, 2)

    def views(self, batch: ImageBatch) -> list[View]:
        other = replace(batch, pixels=self.photos[batch.index ^ 1])
        return [centre_view(batch, SIDE), centre_view(other, SIDE)]


def other_look(encoder: nn.Module, train: ImageSource, test: ImageSource, seed: int) -> Score:
    """Every picture asks for the other one of its thing, by cosine about the mean."""
    embedded = embed(encoder, test)
    assert embedded.labels is not None
    x = torch.as_tensor(embedded.vectors)
    return retrieval(x - x.mean(0), embedded.labels)


LOOKS = generated(looks, Metric("mAP of the other picture", other_look))
