"""MLEM on MovieLens-100k against both its parents, their plain sum, and an alignment to the wrong vectors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Parity, Record
from vergence.benchmarks.records.coles import movielens
from vergence.benchmarks.tasks import Arm, Metric, Protocol, Task
from vergence.data import Source
from vergence.data.events import EventBatch, EventSource
from vergence.data.events.batch import stretches
from vergence.engine import embed
from vergence.evaluate.score import Score
from vergence.losses.margin import hard_margin
from vergence.methods.events.coles import CoLES
from vergence.methods.events.mlem import MLEM

SMALL: dict[str, Any] = {"slices": 2, "longest": 40, "width": 32, "depth": 1}


class Naive(MLEM):
    """Both losses on one encoder."""

    def loss(self, views: EventBatch) -> dict[str, Tensor]:
        h = self.norm(self.encode(views).float())
        terms = self.decoder.errors(self.encoder, h, views, self.smoothing)  # type: ignore[arg-type]
        assert self.projector is not None
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


contrastive = partial(CoLES, slices=2, longest=40, margin=0.87)
train = Training("gru", {"dim": 64}, epochs=16, batch=32, settings={"lr": 3e-3})

PARITY = Parity(
    "official",
    "github.com/VityaVitalich/MLEM, sigmoid_loss of src/trainers/trainer_sigmoid.py: the alignment and its "
    "gradient, five random batches, float32",
    commit="bd26d14ebac4ad0d9cee6716a6e2ab5b46720b1a",
    max_abs=9.6e-07,
    max_rel=4.2e-07,
)


def aligned(method: Callable[..., MLEM]) -> Arm:
    """Return the arm of a method that aligns to the rival's own encoder, trained as long as the rival is."""

    def arm(task: Task, seed: int) -> dict[str, Score | float]:
        source, test = task.data(seed)
        torch.manual_seed(seed)
        start = train.start(source)
        target = train.train(contrastive(copy.deepcopy(start)), source, seed)
        encoder = train.train(method(start, target=target), source, seed)
        return task.judge(encoder, source, test, seed)

    return arm


def without_last(source: EventSource) -> EventSource:
    """Return the histories without their last events, of those that have two or more."""
    log = source.log
    rows = source.rows[np.diff(log.offsets)[source.rows] > 1]
    kept, offsets = stretches(
        torch.from_numpy(log.offsets[rows]), torch.from_numpy(np.diff(log.offsets)[rows] - 1)
    )
    shorter = {name: getattr(log, name)[kept.numpy()] for name in ("time", "gap", "categorical", "numeric")}
    labels = np.arange(len(rows))
    new = replace(
        log, ids=log.ids.take(rows), offsets=offsets.numpy(), labels=labels, classes=None, **shorter
    )
    return EventSource(new, source.uri)


def next_event(what: Literal["category", "gap"]) -> Protocol:
    """Return a protocol: what comes after a history, told by regression on its vector, 5 folds of the users.

    A category, of the first field, is judged by accuracy; the gap, as log(1 + gap), by Spearman's ρ.
    """

    def protocol(encoder: nn.Module, train: Source, test: Source, seed: int) -> float:
        assert isinstance(train, EventSource)
        log = train.log
        ends = log.offsets[1:][train.rows] - 1
        ends = ends[np.diff(log.offsets)[train.rows] > 1]
        x = embed(encoder, without_last(train)).vectors
        folds = KFold(5, shuffle=True, random_state=seed)
        if what == "category":
            y = log.categorical[ends, 0]
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            return float((cross_val_predict(model, x, y, cv=folds) == y).mean())
        y = np.log1p(log.gap[ends])
        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 13)))
        return float(spearmanr(cross_val_predict(model, x, y, cv=folds), y).statistic)

    return protocol


def both_kinds() -> Task:
    """Make the task of users' labels and of the event that comes next."""
    task = movielens()
    further = (
        Metric(
            "accuracy of the next event's first category, logistic regression, 5 folds",
            next_event("category"),
        ),
        Metric("Spearman's ρ of the next gap, ridge regression, 5 folds", next_event("gap")),
    )
    return replace(task, metrics=(*task.metrics, *further))


RECORD = Record(
    key="mlem",
    claim="Not claimed until it is run again (in the published run a client's own slices were pushed apart, "
    "and the target had learned half as long as its rival): a generative encoder aligned to contrastive "
    "vectors keeps what either knows.",
    task=both_kinds(),
    arms={
        "paper": aligned(partial(MLEM, **SMALL)),
        "contrastive only": train(contrastive),
        "generative only": train(partial(MLEM, align=0.0, alone=0.0, **SMALL)),
        "naive sum": train(partial(Naive, **SMALL)),
        "shuffled vectors": aligned(partial(Shuffled, **SMALL)),
        "untrained": train.untrained,
        "raw": raw,
    },
    note="A GRU of 64, two slices of 40 events at most, one decoder block of 32, 16 epochs: minutes on a "
    "processor. Both aligned arms have the contrastive arm's own encoder as target. Nothing was chosen on "
    "labels. Raw features are hand-made aggregates.",
    parity=PARITY,
)
