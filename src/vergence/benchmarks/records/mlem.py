"""MLEM on MovieLens-100k against both its parents, their plain sum, and an alignment to the wrong vectors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.benchmarks.record import Record
from vergence.benchmarks.records.coles import judged, with_others
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
        found = self.net(views)
        return found if torch.is_grad_enabled() else found[torch.randperm(len(found))]


RECORD = with_others(
    Record(
        key="mlem",
        claim="A generative encoder that is aligned to contrastive vectors keeps what either knows.",
        arms={
            "paper": lambda encoder: MLEM(encoder, **SMALL),
            "contrastive only": lambda encoder: CoLES(encoder, slices=2, longest=40, margin=0.87),
            "generative only": lambda encoder: MLEM(encoder, align=0.0, alone=0.0, **SMALL),
            "naive sum": lambda encoder: Naive(encoder, **SMALL),
            "shuffled vectors": lambda encoder: Shuffled(encoder, **SMALL),
        },
        source="movielens:movielens-100k",
        epochs=16,
        batch=32,
        encoder="gru",
        options={"dim": 64},
        seeds=(0, 1, 2, 3, 4),
        settings={"lr": 3e-3},
        protocol=judged("boosting", "gender"),
        metric="gender AUC, boosted trees, 5 folds",
        note="A GRU of 64, two slices of 40 events at most, one decoder block of 32, 16 epochs: minutes on a "
        "processor. Nothing was chosen on labels. Raw features are hand-made aggregates.",
    )
)
