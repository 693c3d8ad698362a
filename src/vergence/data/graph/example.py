"""Small graphs in which something can be learned in seconds."""

from __future__ import annotations

import numpy as np

from vergence.data.graph.base import GraphSource
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import GraphsSource, NodeSource


def example(kind: str = "") -> GraphSource:
    """Return 240 nodes of three sorts: links mostly within a sort, features that say a little.

    Args:
        kind: "graphs" gives 96 small graphs instead: rings of two sorts, with short or long chords.
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
    pairs, ptr, x = [], [0], []
    y = np.arange(96) % 2
    for i in range(96):
        n = int(rng.integers(8, 15))
        usual, other = (2, 4) if y[i] else (4, 2)
        start = rng.permutation(n)[: n // 2]
        length = np.where(rng.random(n // 2) < 0.75, usual, other)
        ring = np.stack([np.arange(n), (np.arange(n) + 1) % n])
        chords = np.stack([start, (start + length) % n])
        pairs.append(np.unique(np.sort(np.concatenate([ring, chords], axis=1), axis=0), axis=1) + ptr[-1])
        ptr.append(ptr[-1] + n)
        x.append((rng.random((n, 24)) < 0.15 + 0.12 * (np.arange(24) % 2 == y[i])).astype(np.float32))
    every, _ = build(Edges(np.concatenate(pairs, axis=1), ptr[-1]), "memory:rings", x=np.concatenate(x))
    return GraphsSource(every, np.array(ptr), "memory:rings", labels=y, classes=["long", "short"])
