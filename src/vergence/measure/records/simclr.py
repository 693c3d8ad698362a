"""SimCLR on CIFAR-10: how much of it is the views?"""

from __future__ import annotations

from torch import Tensor

from vergence.data import ImageBatch
from vergence.learn.image.views import plain
from vergence.learn.pairs.simclr import SimCLR
from vergence.measure.record import Record


class NoViews(SimCLR):
    """Both views are the plain image: samples only repel each other."""

    def views(self, batch: ImageBatch) -> list[Tensor]:  # type: ignore[override]
        image = plain(batch, self.encoder.size)  # type: ignore[arg-type]
        return [image, image]


RECORD = Record(
    key="simclr",
    claim="Agreement across random views, not the contrast alone, makes the features.",
    arms={
        "paper": lambda encoder: SimCLR(encoder, temperature=0.5),  # Sec. B.9, for CIFAR-10
        "no views": lambda encoder: NoViews(encoder, temperature=0.5),
    },
    source="cifar10",
    train=10_000,
    test=10_000,
    epochs=20,
    batch=256,
    encoder="resnet-tiny",
    size=32,
    settings={"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1e-4, "warmup": 1},
)
