"""Small generated graphs, in which mechanisms of graph methods are shown."""

from __future__ import annotations

import numpy as np

from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import NodeSource
from vergence.data.graph.splits import Split


def blocks(rng: np.random.Generator, y: np.ndarray, *, degree: float, homophily: float) -> np.ndarray:
    """Draw pairs ``(2, E)`` of nodes, of which a share is of one class; a few may come twice.

    Args:
        rng: Draws them.
        y: ``(N,)``, class of each node, as many of each: node i is of class i modulo C.
        degree: Mean number of neighbours.
        homophily: Chance that an edge joins two of a class; others join two classes.
    """
    nodes, classes = len(y), int(y.max()) + 1
    first = rng.integers(nodes, size=int(nodes * degree / 2))
    away = rng.integers(1, classes, len(first)) * (rng.random(len(first)) >= homophily)
    place = rng.integers(nodes // classes, size=len(first))
    second = (y[first] + away) % classes + classes * place
    return np.stack([first, second])[:, first != second]


def node_source(
    pairs: np.ndarray, x: np.ndarray, y: np.ndarray, name: str, *, split: Split | None = None
) -> NodeSource:
    """Return a graph of undirected edges as a source."""
    graph, _ = build(Edges(pairs, len(x)), name, x=x.astype(np.float32), y=y)
    return NodeSource(graph, name, fixed=[] if split is None else [split])


def few_labels(rng: np.random.Generator, y: np.ndarray, each: int, *, val: int) -> Split:
    """Return a split of ``each`` nodes a class that teach and ``val`` that validate; the others judge."""
    order = rng.permutation(len(y))
    rank = np.array([(y[order[:i]] == y[v]).sum() for i, v in enumerate(order)])
    rest = order[rank >= each]
    return Split("few", np.sort(order[rank < each]), np.sort(rest[:val]), np.sort(rest[val:]))
