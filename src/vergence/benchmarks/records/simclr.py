"""SimCLR on CIFAR-10: how much of it is the views?"""

from __future__ import annotations

from torch import Tensor

from vergence.benchmarks.arms import raw
from vergence.benchmarks.record import Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.data import ImageBatch
from vergence.methods.pairs.simclr import SimCLR
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import plain


class NoViews(SimCLR):
    """Both views are the plain image: samples only repel each other."""

    def views(self, batch: ImageBatch) -> list[Tensor]:  # type: ignore[override]
        image = plain(batch, image_size(self.encoder))
        return [image, image]


train = short(epochs=8)

RECORD = Record(
    key="simclr",
    claim="Agreement across random views, not the contrast alone, makes the features.",
    task=cifar10(),
    arms={
        "paper": train(SimCLR),
        "no views": train(NoViews),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
)
