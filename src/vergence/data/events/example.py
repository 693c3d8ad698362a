"""A few short histories in which something can be learned in seconds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from vergence.data.events.batch import Fields
from vergence.data.events.log import EventLog, Names
from vergence.data.events.schema import EventSchema
from vergence.data.events.source import EventSource


def example(kind: str = "") -> EventSource:
    """Return 128 histories of 48 events: everyone has habits of shop, amount and pace, two sorts differ."""
    rng, n, length = np.random.default_rng(0), 128, 48
    label = np.arange(n) % 2
    taste = rng.dirichlet(np.full(8, 0.7), n) + np.where(label[:, None] == np.arange(8) % 2, 0.12, 0.0)
    edges = np.cumsum(taste / taste.sum(1, keepdims=True), 1)
    shop = (rng.random((n, length, 1)) > edges[:, None, :-1]).sum(2)
    amount = rng.normal(rng.normal(size=(n, 1)) + 0.5 * label[:, None], 0.5, (n, length))
    gap = rng.exponential(np.exp(rng.normal(size=(n, 1))), (n, length))
    time, gap[:, 0] = np.cumsum(gap, 1), 0
    shops, numbers = tuple(f"shop {i}" for i in range(8)), ("amount",)
    log = EventLog(
        schema=EventSchema("user", "time", ("shop",), numbers, "sort"),
        fields=Fields(("shop",), numbers, (shops,)),
        ids=Names(pa.array([f"user {i}" for i in range(n)])),
        offsets=np.arange(n + 1, dtype=np.int64) * length,
        time=time.reshape(-1),
        gap=gap.reshape(-1).astype(np.float32),
        categorical=(shop.reshape(-1, 1) + 1).astype(np.int32),
        numeric=amount.reshape(-1, 1).astype(np.float32),
        labels=label,
        classes=["even", "odd"],
    )
    return EventSource(log, "memory:histories")
