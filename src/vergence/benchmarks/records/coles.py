"""CoLES on MovieLens-100k: does it matter that slices are contiguous, and negatives hard?"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from vergence.benchmarks.record import Record
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
    """Return the embeddings ``(n, D)`` of all users, once for all that is asked of them."""
    return embed(encoder, source).vectors


@lru_cache(maxsize=2)
def labels(uri: str, label: str) -> np.ndarray:
    """Return another label of the same users."""
    found = open_source(f"{uri}?label={label}").labels
    assert found is not None
    return found


def judged(classifier: Classifier, label: str, *, together: bool = False) -> Any:
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
        found = cross_validated(x, labels(train.uri, label), classifier, seeds=(seed,))
        return found["auc" if label == "gender" else "accuracy"]

    return protocol


def with_others(first: Record) -> Record:
    """Judge the same encoders also by regression, by the age group, and beside hand-made aggregates."""
    return replace(
        first,
        also=tuple(
            replace(first, protocol=judged("linear", label, together=together), metric=metric)
            for label, together, metric in (
                ("gender", False, "gender AUC, logistic regression, 5 folds"),
                ("gender", True, "gender AUC of embeddings and aggregates together, logistic regression"),
                ("age", False, "age group accuracy (of 4), logistic regression, 5 folds"),
                (
                    "age",
                    True,
                    "age group accuracy of embeddings and aggregates together, logistic regression",
                ),
            )
        ),
    )


RECORD = with_others(
    Record(
        key="coles",
        claim="Contiguous slices of one history, held against the nearest of others, make the vectors.",
        arms={
            "paper": lambda encoder: CoLES(encoder, longest=LONGEST),
            "random events": lambda encoder: RandomEvents(encoder, longest=LONGEST),
            "all negatives": lambda encoder: CoLES(encoder, longest=LONGEST, negatives=0),
        },
        source="movielens:movielens-100k",
        epochs=40,
        batch=32,
        encoder="gru",
        options={"dim": 64},
        seeds=(0, 1, 2, 3, 4),
        settings={"lr": 3e-3},
        protocol=judged("boosting", "gender"),
        metric="gender AUC, boosted trees, 5 folds",
        note=f"A GRU of 64, slices of {LONGEST} events at most, 40 epochs of 150 on 943 users, who are all "
        "seen without labels; the rate was chosen by the recall of slices of the same user, which needs "
        "none. Raw features are hand-made aggregates.",
    )
)
