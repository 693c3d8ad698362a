"""W-MSE on CIFAR-10 and in a world of things seen twice: does whitening alone keep embeddings apart?"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

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
from vergence.methods.pairs.wmse import WMSE


class NotWhitened(WMSE):
    """The views' projections agree as they are."""

    def loss(self, views: Any) -> dict[str, Tensor]:
        z = self.projector(torch.cat([self.encode(view) for view in views]))
        first, second = normalize(self.prepared(z), dim=1).chunk(2)
        return {"agree": (first - second).square().sum(1).mean()}

    def prepared(self, z: Tensor) -> Tensor:
        return z


class Standardised(NotWhitened):
    """Each number of a projection is scaled to mean 0 and deviation 1, on its own."""

    def prepared(self, z: Tensor) -> Tensor:
        return torch.cat([(view - view.mean(0)) / view.std(0) for view in z.chunk(2)])


class Twice(BothLooks, WMSE):  # type: ignore[misc]
    """Both looks at a thing are the views."""


class TwiceNotWhitened(BothLooks, NotWhitened):  # type: ignore[misc]
    """The same without whitening."""


class TwiceStandardised(BothLooks, Standardised):  # type: ignore[misc]
    """The same, with each number scaled on its own."""


linear = Training(
    "linear",
    {"dim": DIM},
    epochs=20,
    batch=200,
    settings={"optimizer": "adamw", "lr": 1e-2, "warmup": 1},
)
sizes: dict[str, Any] = {"dim": DIM, "hidden": 128, "group": 100}
MECHANISM = Mechanism(
    f"{THINGS:,} things, each seen twice in {COLUMNS} numbers that mix {STAYS} causes that stay, {CHANGES} "
    f"of {STRENGTH:.0f} times their deviation that change, and noise. A linear map to {DIM} numbers is to "
    f"find the other look among {2 * JUDGED:,}. Only agreement is asked for: without whitening all "
    "projections may become one, and numbers that are scaled each on its own may all say the same. "
    "Whitened ones must each say something of their own, and agree only on what stays.",
    task=generated(looks, Metric("mAP of the other look", other_look)),
    arms={
        "paper": linear(partial(Twice, **sizes)),
        "not whitened": linear(partial(TwiceNotWhitened, **sizes)),
        "scaled number by number": linear(partial(TwiceStandardised, **sizes)),
        "principal components": Fitted(partial(Principal, dim=DIM)),
        "untrained": linear.untrained,
        "raw": raw,
    },
)
PARITY = Parity(
    "official",
    "github.com/htdt/self-supervised, WMSE.forward of methods/w_mse.py with Whitening2d and norm_mse_loss: "
    "loss and gradients of four random sets of 2, 3 and 4 views, one with four ways to cut it, in float32 "
    "(in float64 1.5e-15 of the largest)",
    commit="d9662c8d07dafd194a9045375f4f6aa09f5b03e9",
    max_abs=1.2e-07,
    max_rel=9.5e-07,
)
train = short(epochs=6)

RECORD = Record(
    key="wmse",
    claim="Agreement of whitened views needs no negatives and no second network to keep embeddings apart.",
    task=cifar10(),
    arms={
        "paper": train(WMSE),
        "not whitened": train(NotWhitened),
        "four views": train(partial(WMSE, pairs=2)),
        "untrained": train.untrained,
        "raw": raw,
    },
    rivals=("not whitened",),
    seeds=(0, 1, 2),
    note="A small ResNet for 234 steps at a batch of 128, one group, AdamW in place of Adam's 1,000 epochs. "
    "Four views cost twice the time at equal steps.",
    mechanism=MECHANISM,
    parity=PARITY,
)
