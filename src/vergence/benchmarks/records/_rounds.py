"""A world of clients who go round by an order of their own, which two records on event histories share.

Every client visits the same places equally often. Who it is shows in what follows what, and in nothing that
is added up over a history.
"""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from vergence.data.events import EventLog, EventSource, Fields
from vergence.data.events.log import Names
from vergence.data.events.schema import EventSchema
from vergence.engine import embed
from vergence.evaluate.protocols.retrieval import retrieval
from vergence.evaluate.score import Score

PLACES = 7
CLIENTS, JUDGED = 480, 150
LENGTH = 48  # events of a history
FAITHFUL = 0.85  # share of steps that keep to the client's own order; the others go anywhere


def rounds(order: np.ndarray, steps: int, random: np.random.Generator) -> np.ndarray:
    """Return ``(n, steps)`` places, each history mostly in its own order ``(n, PLACES)``."""
    n = len(order)
    after = np.empty_like(order)
    np.put_along_axis(after, order, np.roll(order, -1, axis=1), 1)
    places = np.empty((n, steps), np.int64)
    places[:, 0] = random.integers(PLACES, size=n)
    for step in range(1, steps):
        own = after[np.arange(n), places[:, step - 1]]
        places[:, step] = np.where(random.random(n) < FAITHFUL, own, random.integers(PLACES, size=n))
    return places


def histories(places: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> EventSource:
    """Make a source of histories ``(n, T)`` of places, with gaps that say nothing."""
    n, steps = places.shape
    gap = random.exponential(size=(n, steps))
    gap[:, 0] = 0
    names = tuple(f"place {i}" for i in range(PLACES))
    log = EventLog(
        schema=EventSchema("client", "time", ("place",), (), "who"),
        fields=Fields(("place",), (), (names,)),
        ids=Names(pa.array([f"client {i}" for i in range(n)])),
        offsets=np.arange(n + 1, dtype=np.int64) * steps,
        time=gap.cumsum(1).ravel(),
        gap=gap.ravel().astype(np.float32),
        categorical=(places.reshape(-1, 1) + 1).astype(np.int32),
        numeric=np.empty((n * steps, 0), np.float32),
        labels=labels,
    )
    return EventSource(log, "generated")


def clients(source: None, seed: int) -> tuple[EventSource, EventSource]:
    """Generate histories of clients to learn from, and two of each of others, whose orders all differ."""
    random = np.random.default_rng(seed)
    rest = list(itertools.permutations(range(1, PLACES)))  # one place begins: orders are of a circle
    orders = np.array([(0, *one) for one in rest])[random.permutation(len(rest))]
    judged, learned = orders[:JUDGED].repeat(2, axis=0), orders[JUDGED : JUDGED + CLIENTS]
    train = histories(rounds(learned, LENGTH, random), np.arange(len(learned)), random)
    test = histories(rounds(judged, LENGTH, random), np.arange(JUDGED).repeat(2), random)
    return train, test


def other_history(encoder: nn.Module, train: EventSource, test: EventSource, seed: int) -> Score:
    """Every history asks for the other one of its client, by cosine about the mean."""
    assert test.labels is not None
    x = torch.as_tensor(embed(encoder, test).vectors)
    x = (x - x.mean(0)) / x.std(0).clamp_min(1e-6)
    return retrieval(x, test.labels)
