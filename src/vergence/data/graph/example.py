"""Small graphs in which something can be learned in seconds."""

from __future__ import annotations

import numpy as np

from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import GraphSource, GraphsSource, NodeSource


def example(kind: str = "") -> GraphSource:
    """Return 240 nodes of three sorts: links mostly within a sort, features that say a little.

    Args:
        kind: "graphs" gives 96 small graphs instead: rings, and rings with chords.
    """
    rng = np.random.default_rng(0)
    if kind == "graphs":
        return _rings(rng)
    n = 240
    y = np.arange(n) % 3
    share = np.where(y[:, None] == y, 0.08, 0.01)
    pairs = np.argwhere(np.triu(rng.random((n, n)) < share, 1)).T
    x = (rng.random((n, 24)) < 0.15 + 0.12 * (np.arange(24) % 3 == y[:, None])).astype(np.float32)
    graph, _ = build(Edges(pairs, n), "memory:nodes", x=x, y=y)
    return NodeSource(graph, "memory:nodes", classes=["a", "b", "c"])


def _rings(rng: np.random.Generator) -> GraphsSource:
    pairs, ptr = [], [0]
    for i in range(96):
        n = int(rng.integers(6, 13))
        ring = np.stack([np.arange(n), (np.arange(n) + 1) % n])
        chords = np.stack([np.arange(0, n - 2, 2), np.arange(2, n, 2)]) if i % 2 else ring[:, :0]
        pairs.append(np.concatenate([ring, chords], axis=1) + ptr[-1])
        ptr.append(ptr[-1] + n)
    every, _ = build(Edges(np.concatenate(pairs, axis=1), ptr[-1]), "memory:rings")
    kinds = ["ring", "chords"]
    return GraphsSource(every, np.array(ptr), "memory:rings", labels=np.arange(96) % 2, classes=kinds)
