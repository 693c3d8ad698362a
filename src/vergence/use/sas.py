"""Data-Efficient Contrastive Self-supervised Learning: Most Beneficial Examples for Supervised Learning
Contribute the Least.

Joshi and Mirzasoleiman 2023, arXiv:2302.09195.

An example helps contrastive learning as far as its views lie close to those of others of its (hidden)
class. With the similarity s_ij = max(0, cos(f(x_i), f(x_j))) of a proxy encoder f, each class V_k is
represented by the subset S that maximises the cut (Sec. 4)

    F(S) = Σ_{i in V_k, not in S} Σ_{j in S} s_ij,

whose gain of one more example e is Σ_{i in V_k} s_ie - s_ee - 2 Σ_{j in S} s_je. F is submodular: a gain
only falls as S grows, so that a gain from earlier bounds the present one, and only examples whose bound
comes first are looked at anew (lazy greedy). The row sums come from blocks of products, the rest from
single rows, and no matrix of similarities is kept. Of every class the same share stays.

Differs from the released code: there a chosen row is set to 0 before it is taken off, so that the
redundancy 2 Σ s_je vanishes; here it is the formula of the paper. F is not monotone, and the greedy order
has no guarantee past its peak.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.use.clustering import partition
from vergence.use.nearest import opened

_ROWS = 1024  # of a block of similarities


@dataclass(frozen=True, slots=True)
class Subset:
    """The examples that stand for the others of their class.

    Args:
        rows: ``(m,)`` int64, what is kept: class by class, in each the most useful first.
        classes: ``(n,)`` int64, the class of every row.
        gains: ``(m,)``, by how much the cut grew with each; negative past the peak.
    """

    rows: np.ndarray
    classes: np.ndarray
    gains: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def before(self) -> np.ndarray:
        """``(K,)`` rows of each class."""
        return np.bincount(self.classes)

    @property
    def after(self) -> np.ndarray:
        """``(K,)`` rows kept of each."""
        return np.bincount(self.classes[self.rows], minlength=len(self.before))


def select(
    store: Store | str | Path,
    keep: int,
    *,
    classes: np.ndarray | int | None = None,
    column: str = "vector",
    seed: int = 0,
) -> Subset:
    """Keep the part of a store that contrastive learning needs most.

    Args:
        store: Opened, or where it lies; its vectors come from a proxy encoder, trained briefly.
        keep: Rows to keep, 1 to all.
        classes: ``(n,)`` int64 from 0, an approximate class of every row; or how many to find by
            k-means; None finds their number too. Time grows with the square of a class.
        column: Which vectors; every row must have one.
        seed: Of k-means.

    Raises:
        BadInput: If ``keep`` or ``classes`` do not fit the rows, or rows have no such vector.
    """
    store = opened(store)
    vectors = store.directions(column)
    if np.isnan(vectors).any():
        raise BadInput(f"Not every row of {store.path} has a {column}: choose another column.")
    return subset(vectors, keep, classes=classes, seed=seed)


def subset(
    vectors: np.ndarray, keep: int, *, classes: np.ndarray | int | None = None, seed: int = 0
) -> Subset:
    """Do the work of ``select`` on vectors ``(n, D)``."""
    n = len(vectors)
    if not 1 <= keep <= n:
        raise BadInput(f"Of {n} rows 1 to {n} can be kept; {keep} were asked for.")
    unit = np.asarray(vectors, np.float32)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    of = classes if isinstance(classes, np.ndarray) else partition(unit, k=classes, seed=seed).of
    if of.shape != (n,) or of.min() < 0:
        raise BadInput(f"classes needs a number from 0 for each of {n} rows; got an array {of.shape}.")
    counts = even_shares(np.bincount(of), keep)
    chosen, gains = [], []
    for label in np.flatnonzero(counts):
        rows = np.flatnonzero(of == label)
        order, gain = greedy(unit[rows], int(counts[label]))
        chosen.append(rows[order])
        gains.append(gain)
    return Subset(np.concatenate(chosen), of.astype(np.int64), np.concatenate(gains))


def even_shares(sizes: np.ndarray, keep: int) -> np.ndarray:
    """Return how many of each class stay so that every class keeps the same share, ``keep`` in all.

    Fractions go to the classes with the largest remainder.
    """
    exact = sizes * keep / sizes.sum()
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: keep - counts.sum()]] += 1
    return counts


def greedy(unit: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose ``keep`` rows of one class, each with the largest gain of the cut.

    Args:
        unit: ``(n, D)`` float32 of length 1.
        keep: 0 to n.

    Returns:
        The rows in order ``(keep,)`` int64, and their gains ``(keep,)``.
    """
    sums = np.empty(len(unit))
    for start in range(0, len(unit), _ROWS):
        similar = np.maximum(unit[start : start + _ROWS] @ unit.T, 0)
        own = np.arange(len(similar))
        similar[own, start + own] = 0  # s_ee
        sums[start : start + _ROWS] = similar.sum(1, dtype=np.float64)
    return _lazy(np.ascontiguousarray(unit), sums, keep)


@njit(cache=False, nogil=True, fastmath=True)
def _lazy(unit: np.ndarray, sums: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray]:
    """Lazy greedy: a heap of upper bounds; a bound is brought up to date when it comes first."""
    heap = [(-sums[e], e) for e in range(len(unit))]
    heapq.heapify(heap)
    counted = np.zeros(len(unit), np.int64)  # how many of the chosen a bound knows
    chosen, gains = np.empty(keep, np.int64), np.empty(keep)
    done = 0
    while done < keep:
        bound, e = heap[0]
        if counted[e] == done:
            heapq.heappop(heap)
            chosen[done], gains[done] = e, -bound
            done += 1
            continue
        for j in chosen[counted[e] : done]:
            product = np.float32(0)
            for d in range(unit.shape[1]):
                product += unit[e, d] * unit[j, d]
            bound += 2 * max(np.float32(0), product)
        counted[e] = done
        heapq.heapreplace(heap, (bound, e))
    return chosen, gains
