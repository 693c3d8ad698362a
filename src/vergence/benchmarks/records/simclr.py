"""SimCLR on CIFAR-10: how much of it is the views?"""

from __future__ import annotations

from torch import Tensor

from vergence.benchmarks.record import Record
from vergence.data import ImageBatch
from vergence.methods.pairs.simclr import SimCLR
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import plain


class NoViews(SimCLR):
    """Both views are the plain image: samples only repel each other."""

    def views(self, batch: ImageBatch) -> list[Tensor]:  # type: ignore[override]
        image = plain(batch, image_size(self.encoder))
        return [image, image]


RECORD = Record(
    key="simclr",
    claim="Agreement across random views, not the contrast alone, makes the features.",
    arms={
        "paper": SimCLR,
        "no views": NoViews,
    },
    source="cifar10",
    train=5_000,
    test=5_000,
    epochs=8,
    batch=128,
    encoder="resnet-tiny",
    size=32,
    settings={"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1e-4, "warmup": 1},
)
