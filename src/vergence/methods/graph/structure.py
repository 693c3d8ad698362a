"""Degrees, core numbers and distances of nodes, and the line graph.

All take the graph as undirected and without self-loops or repeated edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numba import njit
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from vergence.data.graph.csr import CSR
from vergence.methods.graph.transforms import edges_of


@dataclass(frozen=True)
class LineGraph:
    """A graph whose nodes are the edges of another.

    Args:
        edge_index: ``(2, L)``, both directions of each of the sum of deg (deg - 1) / 2 pairs of edges that
            meet.
        edges: ``(2, M)``, the edge that each node stands for, smaller end first, in ascending order.
        place: ``(E,)``, the node of each column of the graph's own ``edge_index``; -1 for a self-loop.
    """

    edge_index: Tensor
    edges: Tensor
    place: Tensor

    @property
    def nodes(self) -> int:
        return self.edges.shape[1]


def line_graph(edge_index: Tensor, nodes: int) -> LineGraph:
    """Join two edges where they share an end.

    Args:
        edge_index: ``(2, E)``; both directions of an edge, and its repetitions, are one node.
        nodes: N.
    """
    simple(edge_index, nodes)  # checks
    ends = edge_index.cpu().sort(dim=0).values
    keys = ends[0] * nodes + ends[1]
    proper = ends[0] < ends[1]
    unique, numbers = keys[proper].unique(return_inverse=True)
    place = torch.full_like(keys, -1)
    place[proper] = numbers
    edges = torch.stack([unique // nodes, unique % nodes])
    m = len(unique)
    incidence = sp.csr_array(
        (np.ones(2 * m), (edges.flatten().numpy(), np.tile(np.arange(m), 2))), shape=(nodes, m)
    )
    meeting = sp.csr_array(incidence.T @ incidence)
    meeting.setdiag(0)
    meeting.eliminate_zeros()
    return LineGraph(edges_of(meeting)[0], edges, place)


def simple(edge_index: Tensor, nodes: int) -> CSR:
    """Return the graph undirected, without weights, self-loops and repetitions.

    Raises:
        BadInput: If there is no node, or an edge ends outside of the graph.
    """
    return CSR.from_edges(edge_index.cpu(), nodes, undirected=True).without_loops()


def degrees(edge_index: Tensor, nodes: int) -> Tensor:
    """Return how many other nodes each node is joined to, ``(N,)`` int64."""
    return torch.from_numpy(simple(edge_index, nodes).degrees.copy())


def core_numbers(edge_index: Tensor, nodes: int) -> Tensor:
    """Return for each node the largest k of whose k-core it is part, ``(N,)`` int64.

    The k-core is what remains when nodes of fewer than k neighbours are taken away until none is left. Time
    grows with the number of edges (Batagelj & Zaversnik, cs/0310049).
    """
    graph = simple(edge_index, nodes)
    return torch.from_numpy(_peel(graph.indptr, graph.indices))


def distances(edge_index: Tensor, nodes: int, sources: Tensor, *, most: int | None = None) -> Tensor:
    """Return the hops from each of ``sources`` ``(S,)`` to all nodes, ``(S, N)`` int64.

    Args:
        edge_index: ``(2, E)``.
        nodes: N.
        sources: Nodes.
        most: Look no further; None looks everywhere. What is not reached is -1.
    """
    a = simple(edge_index, nodes).scipy().astype(np.float64)
    limit = np.inf if most is None else float(most)
    hops = np.atleast_2d(dijkstra(a, indices=sources.cpu().numpy(), unweighted=True, limit=limit))
    return torch.from_numpy(np.where(np.isfinite(hops), hops, -1).astype(np.int64))


@njit(cache=False, nogil=True)
def _peel(pointers: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    n = len(pointers) - 1
    core = np.empty(n, dtype=np.int64)
    for v in range(n):
        core[v] = pointers[v + 1] - pointers[v]
    starts = np.zeros((core.max() if n else 0) + 2, dtype=np.int64)
    for v in range(n):
        starts[core[v] + 1] += 1
    starts = np.cumsum(starts)
    place = np.empty(n, dtype=np.int64)
    order = np.empty(n, dtype=np.int64)
    filled = starts.copy()
    for v in range(n):
        place[v] = filled[core[v]]
        order[place[v]] = v
        filled[core[v]] += 1
    for i in range(n):
        v = order[i]
        for j in range(pointers[v], pointers[v + 1]):
            u = neighbours[j]
            if core[u] > core[v]:
                # u moves to the front of its bin, then the bin's border passes it
                front = starts[core[u]]
                w = order[front]
                order[front], order[place[u]] = u, w
                place[w], place[u] = place[u], front
                starts[core[u]] += 1
                core[u] -= 1
    return core
