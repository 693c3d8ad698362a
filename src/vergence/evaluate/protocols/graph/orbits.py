"""Orbits: the roles of nodes in all small subgraphs, counted exactly."""

from __future__ import annotations

import numpy as np
from numba import njit

from vergence.core.errors import BadInput
from vergence.evaluate.inputs import Array


def orbit_counts(edge_index: Array, nodes: int) -> np.ndarray:
    """Count how often each node plays each of the 15 roles in connected induced subgraphs of 2 to 4 nodes.

    Orbits are numbered as in Przulj 2007: 0 the degree; 1, 2 end and middle of a path of 3; 3 triangle; 4, 5
    end and middle of a path of 4; 6, 7 leaf and hub of a star; 8 square; 9, 10, 11 tail, far and near corners
    of a triangle with a tail; 12, 13 the corners of degree 2 and 3 of a square with a diagonal; 14 complete
    graph of 4. Every subgraph is enumerated once (ESU, Wernicke 2006), so the cost is the number of them: for
    graphs of some hundred nodes.

    Args:
        edge_index: ``(2, E)``; direction, repetition and self-loops do not matter.
        nodes: N.

    Returns:
        ``(N, 15)`` int64.
    """
    edges = np.asarray(edge_index)
    if edges.size and (edges.min() < 0 or edges.max() >= nodes):
        raise BadInput(f"An edge names node {int(edges.max())}, but there are {nodes} nodes, from 0.")
    linked = np.zeros((nodes, nodes), dtype=np.bool_)
    linked[edges[0], edges[1]] = linked[edges[1], edges[0]] = True
    np.fill_diagonal(linked, False)
    pointers = np.concatenate([[0], np.cumsum(linked.sum(1))]).astype(np.int64)
    counts: np.ndarray = _count(linked, pointers, np.nonzero(linked)[1].astype(np.int64))
    counts[:, 0] = linked.sum(1)
    return counts


@njit(cache=False, nogil=True)
def _count(linked: np.ndarray, pointers: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    n = len(linked)
    counts = np.zeros((n, 15), dtype=np.int64)
    one = np.empty(n, dtype=np.int64)
    two = np.empty(n, dtype=np.int64)
    three = np.empty(n, dtype=np.int64)
    four = np.empty(4, dtype=np.int64)
    degrees = np.empty(4, dtype=np.int64)
    for v in range(n):
        size_one = 0
        for i in range(pointers[v], pointers[v + 1]):
            if neighbours[i] > v:
                one[size_one] = neighbours[i]
                size_one += 1
        for a in range(size_one):
            w = one[a]
            # what may come next: the rest, and the neighbours of w that v does not know
            size_two = 0
            for i in range(a + 1, size_one):
                two[size_two] = one[i]
                size_two += 1
            for i in range(pointers[w], pointers[w + 1]):
                u = neighbours[i]
                if u > v and not linked[v, u]:
                    two[size_two] = u
                    size_two += 1
            for b in range(size_two):
                x = two[b]
                if linked[v, x] and linked[w, x]:
                    counts[v, 3] += 1
                    counts[w, 3] += 1
                    counts[x, 3] += 1
                else:
                    middle = v if linked[v, x] else w
                    for u in (v, w, x):
                        counts[u, 2 if u == middle else 1] += 1
                size_three = 0
                for i in range(b + 1, size_two):
                    three[size_three] = two[i]
                    size_three += 1
                for i in range(pointers[x], pointers[x + 1]):
                    u = neighbours[i]
                    if u > v and u != w and not linked[v, u] and not linked[w, u]:
                        three[size_three] = u
                        size_three += 1
                for c in range(size_three):
                    four[0], four[1], four[2], four[3] = v, w, x, three[c]
                    _add(linked, four, degrees, counts)
    return counts


@njit(cache=False, nogil=True)
def _add(linked: np.ndarray, four: np.ndarray, degrees: np.ndarray, counts: np.ndarray) -> None:
    total, low, high = 0, 4, 0
    for i in range(4):
        degrees[i] = 0
        for j in range(4):
            degrees[i] += linked[four[i], four[j]]
        total += degrees[i]
        low, high = min(low, degrees[i]), max(high, degrees[i])
    for i in range(4):
        d = degrees[i]
        if total == 6:
            role = (6 if d == 1 else 7) if high == 3 else (4 if d == 1 else 5)
        elif total == 8:
            role = 8 + d if low == 1 else 8
        elif total == 10:
            role = 10 + d
        else:
            role = 14
        counts[four[i], role] += 1
