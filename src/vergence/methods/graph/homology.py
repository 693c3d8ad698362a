"""Persistent homology of small clouds and complexes in dimensions 0 and 1, over two elements.

Every complex here is a flag complex: its triangles are the triples of points that are joined pairwise, and
they enter with their last edge. Rips complexes and complexes filtered by a function of their points are both
of that kind.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vergence.core import BadInput


def rips(distances: np.ndarray, *, most: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the bars of components and of loops of a cloud whose points grow together.

    Args:
        distances: ``(n, n)``, symmetric.
        most: Longest edge that is looked at; None takes the radius from which one point sees all others,
            beyond which no loop is left.

    Returns:
        Bars of dimension 0, ``(k, 2)`` birth and death, one of them infinite a component, and of dimension
        1, ``(l, 2)``. A bar that ends at once is left out.
    """
    distances = _square(distances)
    reach = distances.max(axis=1).min() if most is None else most
    joined = distances <= reach
    return flag_bars(np.zeros(len(distances)), np.where(joined, distances, np.inf))


def lower_star(values: np.ndarray, joined: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bars of a fixed complex whose points enter by their value, edges and triangles as they can.

    Args:
        values: ``(n,)``, of the points.
        joined: ``(n, n)`` bool, symmetric: the edges of the complex.
    """
    last = np.maximum(values[:, None], values[None, :])
    return flag_bars(np.asarray(values, np.float64), np.where(_square(joined), last, np.inf))


def flag_bars(births: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bars of dimensions 0 and 1 of any filtered flag complex.

    Dimension 1 is found in cohomology, edges from the last to the first, as Ripser does (Bauer 2021,
    arXiv:1908.02518): edges that join components are skipped, and most others find a partner at once.

    Args:
        births: ``(n,)``, when the points enter.
        edges: ``(n, n)``, symmetric, when the edges enter, not before their ends; infinite: never.
    """
    n = len(births)
    u, v = np.nonzero(np.triu(np.isfinite(edges), 1))
    order = np.argsort(edges[u, v], kind="stable")
    u, v = u[order], v[order]
    value = edges[u, v].astype(np.float64)
    rank = np.full((n, n), -1, np.int64)
    rank[u, v] = rank[v, u] = np.arange(len(u))
    zero, tree = _components(births.astype(np.float64), u, v, value)
    return zero, _loops(n, u, v, value, rank, tree)


def _square(matrix: np.ndarray) -> np.ndarray:
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise BadInput(f"Homology needs a square matrix of one or more points; got {matrix.shape}.")
    return matrix


@njit(nogil=True)
def _components(
    births: np.ndarray, u: np.ndarray, v: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    n = len(births)
    above = np.arange(n)
    tree = np.zeros(len(u), np.bool_)
    bars = np.empty((n, 2))
    count = 0
    for e in range(len(u)):
        a, b = u[e], v[e]
        while above[a] != a:
            above[a] = above[above[a]]
            a = above[a]
        while above[b] != b:
            above[b] = above[above[b]]
            b = above[b]
        if a == b:
            continue
        tree[e] = True
        if births[a] > births[b]:
            a, b = b, a
        above[b] = a  # the elder goes on
        if value[e] > births[b]:
            bars[count] = births[b], value[e]
            count += 1
    for a in range(n):
        if above[a] == a:
            bars[count] = births[a], np.inf
            count += 1
    return bars[:count], tree


@njit(nogil=True)
def _triangles_over(e: int, n: int, u: np.ndarray, v: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Return the triangles that hold edge ``e``, first to last: their last edge · n + their third point."""
    a, b = u[e], v[e]
    triangles = np.empty(n, np.int64)
    k = 0
    for w in range(n):
        left, right = rank[a, w], rank[b, w]
        if left < 0 or right < 0:
            continue
        if e > left and e > right:
            triangles[k] = e * n + w
        elif left > right:
            triangles[k] = left * n + b
        else:
            triangles[k] = right * n + a
        k += 1
    return np.sort(triangles[:k])


@njit(nogil=True)
def _sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return what is in one of two sorted arrays only."""
    out = np.empty(len(a) + len(b), np.int64)
    i = j = k = 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            i += 1
            j += 1
        elif a[i] < b[j]:
            out[k] = a[i]
            i += 1
            k += 1
        else:
            out[k] = b[j]
            j += 1
            k += 1
    for rest in range(i, len(a)):
        out[k] = a[rest]
        k += 1
    for rest in range(j, len(b)):
        out[k] = b[rest]
        k += 1
    return out[:k]


@njit(nogil=True)
def _loops(
    n: int, u: np.ndarray, v: np.ndarray, value: np.ndarray, rank: np.ndarray, tree: np.ndarray
) -> np.ndarray:
    m = len(u)
    size = 16
    while size < 2 * m:
        size *= 2
    keys, owner = np.full(size, -1, np.int64), np.empty(size, np.int64)  # triangle -> the edge it ends
    kept, begin, end = np.empty(1024, np.int64), np.full(m, -1, np.int64), np.zeros(m, np.int64)
    used = 0
    bars = np.empty((m, 2))
    count = 0
    for e in range(m - 1, -1, -1):
        if tree[e]:
            continue
        column = _triangles_over(e, n, u, v, rank)
        summed = False
        slot = 0
        while len(column):
            slot = (column[0] * 2654435761) & (size - 1)
            while keys[slot] != -1 and keys[slot] != column[0]:
                slot = (slot + 1) & (size - 1)
            if keys[slot] == -1:
                break
            other = owner[slot]
            if begin[other] < 0:
                column = _sum(column, _triangles_over(other, n, u, v, rank))
            else:
                column = _sum(column, kept[begin[other] : end[other]])
            summed = True
        if len(column) == 0:
            bars[count] = value[e], np.inf
            count += 1
            continue
        keys[slot], owner[slot] = column[0], e
        if summed:
            while used + len(column) > len(kept):
                more = np.empty(2 * len(kept), np.int64)
                more[:used] = kept[:used]
                kept = more
            begin[e], end[e] = used, used + len(column)
            kept[used : used + len(column)] = column
            used += len(column)
        death = value[column[0] // n]
        if death > value[e]:
            bars[count] = value[e], death
            count += 1
    return bars[:count]


def statistics(bars: np.ndarray) -> np.ndarray:
    """Return 30 numbers ``(30,)`` that describe bars; zeros where there are none.

    Mean, standard deviation and percentiles 10, 25, 50, 75, 90 of births, deaths, lifespans and midpoints;
    their count; the entropy of the lifespans' shares, in nats.

    Args:
        bars: ``(k, 2)``, finite.
    """
    if not len(bars):
        return np.zeros(30)
    birth, death = bars.T
    four = np.stack([birth, death, death - birth, (birth + death) / 2])
    percentiles = np.percentile(four, (10, 25, 50, 75, 90), axis=1, method="midpoint").T
    of_each = np.concatenate([four.mean(1)[:, None], four.std(1)[:, None], percentiles], axis=1)
    share = (death - birth) / (death - birth).sum()
    return np.concatenate([of_each.ravel(), [len(bars), -(share * np.log(share)).sum()]])
