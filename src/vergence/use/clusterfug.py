"""ClusterFuG: Clustering Fully connected Graphs by Multicut.

Abbas and Swoboda 2023, arXiv:2301.12159.

Every two rows are joined by an edge of cost c_ij = ⟨f_i, f_j⟩ - α, positive where they attract each other.
A multicut is a partition; its objective, to be minimised, is the sum of the costs of the edges that it
cuts. The number of clusters comes out of it. α enters as one more coordinate √α whose product counts
negatively, and merging i and j adds their vectors, extra coordinate and all: the cost between clusters A
and B stays ⟨F_A, F_B⟩ - α|A||B|, exactly, and only n vectors are kept, never n² costs (Sec. 3).

Greedy additive edge contraction (dense GAEC, Alg. 1): merge the two clusters of the highest positive cost,
until there are none. Each cluster remembers its best neighbour. After a merge one product of all vectors
with the merged one says whom it attracts more than what they remember; whoever remembered one of the two
and is attracted less now keeps the old cost as an upper bound, and is searched anew only if that bound
comes first.

Differs from the paper: neighbours are searched for by brute force throughout, with k = 1 (its incremental
variant keeps k = 5, its fastest searches a graph of neighbours); the partition is that of exact GAEC.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.use.nearest import centred_directions, opened

_ROWS = 512  # of a block of the first search


@dataclass(frozen=True, slots=True)
class Multicut:
    """A partition whose number of clusters came out of the data; cluster 0 is the largest.

    Args:
        of: ``(n,)`` int64, each row's cluster.
        objective: Sum of ⟨f_i, f_j⟩ - α over all pairs in different clusters; lower is better.
        alone: The objective of every row on its own, to compare with.
    """

    of: np.ndarray
    objective: float
    alone: float

    def __len__(self) -> int:
        return int(self.of.max()) + 1

    @property
    def sizes(self) -> np.ndarray:
        """``(k,)`` rows in each."""
        return np.bincount(self.of)

    def members(self, cluster: int) -> np.ndarray:
        """Return the rows of a cluster, ascending."""
        return np.flatnonzero(self.of == cluster)


def multicut_clusters(store: Store | str | Path, *, alpha: float = 0.4, column: str = "vector") -> Multicut:
    """Divide a store into as many groups as there are; vectors are compared by cosine about their mean.

    Cosines of what an encoder gives are often all near 1 before the mean direction is taken off.

    Args:
        store: Opened, or where it lies.
        alpha: The cosine from which two samples attract each other; higher gives more clusters.
        column: Which vectors; every row must have one.

    Raises:
        BadInput: If a row has no such vector, or ``alpha`` is negative.
    """
    store = opened(store)
    unit = centred_directions(store, column)
    return multicut(unit, alpha=alpha, name=f"{column} of {store.path}")


def multicut(vectors: np.ndarray, *, alpha: float = 0.4, name: str = "The table") -> Multicut:
    """Cluster vectors ``(n, D)`` by greedy additive edge contraction on the complete graph.

    Time grows with n² D, memory with n D. Costs are compared in float32, the objective is in float64.

    Args:
        vectors: Rows f_i; at unit length α is a threshold of cosines.
        alpha: α, at least 0.
        name: Of what the vectors are, for an error.

    Raises:
        BadInput: If a value is not finite, there is no row, or ``alpha`` is negative.
    """
    f = np.asarray(vectors, np.float32)
    if alpha < 0:
        raise BadInput(f"alpha is at least 0 (a cosine, where vectors have length 1); got {alpha}.")
    if f.ndim != 2 or not len(f) or not np.isfinite(f).all():
        raise BadInput(f"{name} lacks vectors, or some of its values are not finite: nothing to cluster.")
    extra = np.full((len(f), 1), alpha**0.5, np.float32)
    joined = np.ascontiguousarray(np.concatenate([f, extra], 1))
    best, cost = _first_neighbours(joined)
    of = _contract(joined, best, cost)
    _, of, sizes = np.unique(of, return_inverse=True, return_counts=True)
    of = np.argsort(np.argsort(-sizes, kind="stable"))[of]
    return Multicut(of, objective(f, of, alpha), objective(f, np.arange(len(f)), alpha))


def objective(vectors: np.ndarray, of: np.ndarray, alpha: float) -> float:
    """Return the multicut objective of a partition, without looking at pairs.

    The pairs of a set A cost (|Σ f|² - Σ |f|²)/2 - α |A|(|A| - 1)/2; those cut are all less those kept.

    Args:
        vectors: ``(n, D)``.
        of: ``(n,)`` from 0, each row's cluster.
        alpha: α.
    """
    f = vectors.astype(np.float64)
    sizes = np.bincount(of)
    sums = np.zeros((len(sizes), f.shape[1]))
    np.add.at(sums, of, f)
    together = ((sums**2).sum() - alpha * (sizes.astype(np.float64) ** 2).sum()) / 2
    return float(((sums.sum(0) ** 2).sum() - alpha * len(f) ** 2) / 2 - together)


def _first_neighbours(joined: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's best neighbour and their cost, from products of blocks."""
    best, cost = np.empty(len(joined), np.int64), np.empty(len(joined), np.float32)
    for start in range(0, len(joined), _ROWS):
        query = joined[start : start + _ROWS] * _sign(joined)
        scores = query @ joined.T
        rows = np.arange(len(query))
        scores[rows, start + rows] = -np.inf
        best[start : start + _ROWS] = scores.argmax(1)
        cost[start : start + _ROWS] = scores[rows, best[start : start + _ROWS]]
    return best, cost


def _sign(joined: np.ndarray) -> np.ndarray:
    return np.append(np.ones(joined.shape[1] - 1, np.float32), np.float32(-1))


@njit(cache=False, nogil=True)
def _contract(joined: np.ndarray, best: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Merge until no positive cost is left; returns ``(n,)`` the cluster of each row.

    Args:
        joined: ``(n, D + 1)`` float32, rows and √α; clusters are summed up in it.
        best: ``(n,)`` each row's best neighbour.
        cost: ``(n,)`` float32 their cost.
    """
    n, width = joined.shape
    parent = np.arange(n)
    place = np.arange(n)  # of a living cluster's vector; the living ones stay in front
    who = np.arange(n)  # the cluster at a place
    sure = np.ones(n, np.bool_)  # by place, as are `best` (which names a cluster) and `cost`
    query = np.empty(width, np.float32)
    living = n
    while living > 1:
        i = np.argmax(cost[:living])
        if not cost[i] > 0:
            break
        if not sure[i]:
            query[:] = joined[i]
            query[-1] = -query[-1]
            scores = np.dot(joined[:living], query)
            scores[i] = -np.inf
            j = np.argmax(scores)
            best[i], cost[i], sure[i] = who[j], scores[j], True
            continue
        j = place[best[i]]
        a, b = who[i], who[j]
        parent[b] = a
        joined[i] += joined[j]
        living -= 1
        last = who[living]  # moves into the place that became free
        if j != living:
            joined[j], best[j], cost[j], sure[j] = joined[living], best[living], cost[living], sure[living]
            who[j], place[last] = last, j
            if i == living:
                i = j
        query[:] = joined[i]
        query[-1] = -query[-1]
        scores = np.dot(joined[:living], query)
        scores[i] = -np.inf
        if living > 1:
            j = np.argmax(scores)
            best[i], cost[i], sure[i] = who[j], scores[j], True
        for x in range(living):
            if x == i:
                continue
            if scores[x] >= cost[x]:
                best[x], cost[x], sure[x] = a, scores[x], True
            elif best[x] == a or best[x] == b:
                sure[x] = False
    for x in range(n):  # whoever was merged into whom
        root = x
        while parent[root] != root:
            root = parent[root]
        while parent[x] != root:
            parent[x], x = root, parent[x]
    return parent
