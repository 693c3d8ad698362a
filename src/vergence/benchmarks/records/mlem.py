"""MLEM on MovieLens-100k against both its parents, their plain sum, and an alignment to the wrong vectors."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Record
from vergence.benchmarks.records.coles import movielens
from vergence.data.events import EventBatch
from vergence.losses.margin import hard_margin
from vergence.methods.events.coles import CoLES
from vergence.methods.events.mlem import MLEM

SMALL: dict[str, Any] = {"slices": 2, "longest": 40, "width": 32, "depth": 1}


class Naive(MLEM):
    """Both losses on one encoder."""

    def loss(self, views: EventBatch) -> dict[str, Tensor]:
        h = self.norm(self.encode(views).float())
        terms = self.decoder.errors(self.encoder, h, views, self.smoothing)  # type: ignore[arg-type]
        z = normalize(self.projector(h), dim=1)
        near, far = hard_margin(z, views.index, margin=self.margin, negatives=self.negatives)
        return {**terms, "gap": self.gap_weight * terms["gap"], "near": near, "far": far}


class Shuffled(MLEM):
    """Each history is aligned to the contrastive vector of another."""

    def loss(self, views: EventBatch) -> dict[str, Tensor]:
        whole, self.contrastive = self.contrastive, _Mixed(self.contrastive)
        try:
            return super().loss(views)
        finally:
            self.contrastive = whole


class _Mixed(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, views: EventBatch) -> Tensor:
        z = self.net(views)
        return z if torch.is_grad_enabled() else z[torch.randperm(len(z))]


train = Training("gru", {"dim": 64}, epochs=16, batch=32, settings={"lr": 3e-3})

RECORD = Record(
    key="mlem",
    claim="A generative encoder that is aligned to contrastive vectors keeps what either knows.",
    task=movielens(),
    arms={
        "paper": train(partial(MLEM, **SMALL)),
        "contrastive only": train(partial(CoLES, slices=2, longest=40, margin=0.87)),
        "generative only": train(partial(MLEM, align=0.0, alone=0.0, **SMALL)),
        "naive sum": train(partial(Naive, **SMALL)),
        "shuffled vectors": train(partial(Shuffled, **SMALL)),
        "untrained": train.untrained,
        "raw": raw,
    },
    note="A GRU of 64, two slices of 40 events at most, one decoder block of 32, 16 epochs: minutes on a "
    "processor. Nothing was chosen on labels. Raw features are hand-made aggregates.",
)
