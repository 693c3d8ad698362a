"""CoLES on MovieLens-100k: does it matter that slices are contiguous, and negatives hard?"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import nn

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._rounds import (
    CLIENTS,
    FAITHFUL,
    JUDGED,
    LENGTH,
    PLACES,
    clients,
    other_history,
)
from vergence.benchmarks.tasks import Metric, Protocol, Task, generated, opened
from vergence.data import Source
from vergence.data import open as open_source
from vergence.data.events import EventBatch, EventSource
from vergence.data.events.batch import stretches
from vergence.engine import embed
from vergence.evaluate.protocols.gradient_boosting import Classifier, cross_validated
from vergence.evaluate.score import Score
from vergence.methods.events.aggregates import Aggregates
from vergence.methods.events.coles import CoLES
from vergence.methods.events.views import Slices, draw_slices

LONGEST = 60  # events of a slice


class Scattered(Slices):
    """As many events of each history as a slice has, from anywhere in it, in their order."""

    def __call__(self, batch: EventBatch, generator: torch.Generator | None = None) -> EventBatch:
        _, size = draw_slices(batch.lengths, self.count, shortest=self.shortest, longest=self.longest)
        owner = torch.arange(len(batch)).repeat_interleave(self.count)
        rows, offsets = stretches(batch.offsets[owner], batch.lengths[owner])
        slice_of = torch.arange(len(owner)).repeat_interleave(batch.lengths[owner])
        drawn = torch.argsort(slice_of + torch.rand(len(rows), dtype=torch.float64))
        first, offsets = stretches(offsets[:-1], size)
        chosen = drawn[first]
        return batch.pick(rows[chosen.sort().values], offsets, owner)


class RandomEvents(CoLES):
    """Scattered events in place of slices."""

    def cutter(self, shortest: int) -> Any:
        return Scattered(self.slices, shortest=shortest, longest=max(shortest, self.longest))


@lru_cache(maxsize=2)
def vectors(encoder: nn.Module, source: EventSource) -> np.ndarray:
    """Return the embeddings ``(n, D)`` of all users, once for all metrics."""
    return embed(encoder, source).vectors


@lru_cache(maxsize=2)
def labels(uri: str, label: str) -> np.ndarray:
    """Return another label of the same users."""
    values = open_source(f"{uri}?label={label}").labels
    assert values is not None
    return values


def judged(classifier: Classifier, label: str, *, together: bool = False) -> Protocol:
    """Return a protocol: 5 folds, shuffled by the seed, on embeddings of all users.

    Args:
        classifier: That is taught.
        label: "gender", judged by AUC, or "age", by accuracy.
        together: Put hand-made aggregates beside the embeddings.
    """

    def protocol(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score:
        assert isinstance(train, EventSource)
        x = vectors(encoder, train)
        if together and not isinstance(encoder, Aggregates):
            x = np.concatenate([vectors(Aggregates(train), train), x], 1)
        scores = cross_validated(x, labels(train.uri, label), classifier, seeds=(seed,))
        return scores["auc" if label == "gender" else "accuracy"]

    return protocol


def movielens() -> Task:
    """Make the task of users' gender and age group, also by regression and beside hand-made aggregates."""
    beside = "of embeddings and aggregates together, logistic regression"
    return opened(
        "movielens:movielens-100k",
        Metric("gender AUC, boosted trees, 5 folds", judged("boosting", "gender")),
        Metric("gender AUC, logistic regression, 5 folds", judged("linear", "gender")),
        Metric(f"gender AUC {beside}", judged("linear", "gender", together=True)),
        Metric("age group accuracy (of 4), logistic regression, 5 folds", judged("linear", "age")),
        Metric(f"age group accuracy {beside}", judged("linear", "age", together=True)),
    )


train = Training("gru", {"dim": 64}, epochs=40, batch=32, settings={"lr": 3e-3})

small = Training("gru", {"dim": 48, "embedding": 8}, epochs=15, batch=48, settings={"lr": 5e-3})
cut = partial(CoLES, slices=4, shortest=12, longest=24)
MECHANISM = Mechanism(
    f"{CLIENTS} clients with {LENGTH} events each, who go round {PLACES} places: {FAITHFUL:.0%} of the steps "
    "follow the client's own order, the others go anywhere. All visit all places equally often, so that "
    "counts, means and extremes say nothing of a client, and the order of events does. Two histories each "
    f"of {JUDGED} other clients, whose orders all differ, ask for one another. Settings were chosen on seed "
    "100.",
    task=generated(clients, Metric("mAP of the client's other history", other_history)),
    arms={
        "paper": small(cut),
        "random events": small(partial(RandomEvents, slices=4, shortest=12, longest=24)),
        "hand-made aggregates": raw,
        "untrained": small.untrained,
    },
)

PARITY = Parity(
    "official",
    "github.com/dllllb/pytorch-lifestream, ContrastiveLoss with HardNegativePairSelector of "
    "ptls/frames/coles: loss and gradient of five random batches of 40 slices, float32",
    commit="0fc90393eddbd13668be90e1e75fb29df5ea1649",
    max_abs=6.1e-05,
    max_rel=8.2e-07,
)

RECORD = Record(
    key="coles",
    claim="Contiguous slices of one history, held against the nearest of others, make the vectors.",
    task=movielens(),
    arms={
        "paper": train(partial(CoLES, longest=LONGEST)),
        "random events": train(partial(RandomEvents, longest=LONGEST)),
        "all negatives": train(partial(CoLES, longest=LONGEST, negatives=0)),
        "untrained": train.untrained,
        "raw": raw,
    },
    note=f"A GRU of 64, slices of {LONGEST} events at most, 40 epochs of 150 on 943 users, who are all "
    "seen without labels; the rate was chosen by the recall of slices of the same user, which needs "
    "none. Raw features are hand-made aggregates. MovieLens keeps no order in time: users rate films that "
    "they remember, dozens in a minute, so that slices have little over random events there.",
    mechanism=MECHANISM,
    parity=PARITY,
)
