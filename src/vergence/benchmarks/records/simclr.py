"""SimCLR on CIFAR-10 and in a world of things seen twice: what do views do, and what does the contrast?"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from vergence.benchmarks.arms import Fitted, Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.records._twice import (
    CHANGES,
    COLUMNS,
    DIM,
    JUDGED,
    STAYS,
    STRENGTH,
    THINGS,
    BothLooks,
    looks,
    other_look,
)
from vergence.benchmarks.records.tldr import Principal
from vergence.benchmarks.tasks import Metric, generated
from vergence.data import ImageBatch
from vergence.data.tables import TableBatch
from vergence.losses import negative_cosine
from vergence.methods.pairs.simclr import SimCLR
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import plain


class NoViews(SimCLR):
    """Both views are the plain image: samples only repel each other."""

    def views(self, batch: ImageBatch) -> list[Tensor]:  # type: ignore[override]
        image = plain(batch, image_size(self.encoder))
        return [image, image]


class Twice(BothLooks, SimCLR):  # type: ignore[misc]
    """Both looks at a thing are the views."""


class OneLook(Twice):
    """Both views are the same look: rows only repel each other."""

    def views(self, batch: TableBatch) -> list[TableBatch]:  # type: ignore[override]
        return [batch, batch]


class AgreementAlone(Twice):
    """Both looks are pulled together, and nothing is pushed apart."""

    def loss(self, views: Any) -> dict[str, Tensor]:
        first, second = (self.projector(self.encode(view)) for view in views)
        return {"agree": negative_cosine(first, second)}


linear = Training(
    "linear",
    {"dim": DIM},
    epochs=20,
    batch=200,
    settings={"optimizer": "adamw", "lr": 1e-2, "warmup": 1},
)
small: dict[str, Any] = {"dim": 16, "hidden": 64}
MECHANISM = Mechanism(
    f"VICReg's world: {THINGS:,} things, each seen twice in {COLUMNS} numbers that mix {STAYS} causes that "
    f"stay, {CHANGES} of {STRENGTH:.0f} times their deviation that change, and noise. A linear map to {DIM} "
    f"numbers is to find the other look among {2 * JUDGED:,}. What tells rows apart most says nothing of a "
    "thing, so contrast without a second look learns the wrong causes; a second look without contrast is "
    "matched by saying the same of everything. Settings were chosen on seed 100.",
    task=generated(looks, Metric("mAP of the other look", other_look)),
    arms={
        "paper": linear(partial(Twice, **small)),
        "one look": linear(partial(OneLook, **small)),
        "agreement alone": linear(partial(AgreementAlone, **small)),
        "principal components": Fitted(partial(Principal, dim=DIM)),
        "untrained": linear.untrained,
        "raw": raw,
    },
)
PARITY = Parity(
    "port",
    "github.com/lightly-ai/lightly, NTXentLoss: loss and gradients of five random batches through the same "
    "encoder and projector, float32 (in float64 1.3e-15 of the largest)",
    commit="e8d317fc5a87f4387a85a35e689869039ec249ee",
    max_abs=1.2e-06,
    max_rel=7.5e-07,
)

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
    mechanism=MECHANISM,
    parity=PARITY,
)
