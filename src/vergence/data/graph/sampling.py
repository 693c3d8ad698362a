"""Pieces of a large graph: neighbours hop by hop, induced subgraphs.

Draws depend on the seed and on the node they are made for, never on threads or on the rest of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from vergence.core.errors import BadInput
from vergence.data.graph.csr import CSR
from vergence.data.graph.walks import GOLDEN, below, mixed, stream


@dataclass(frozen=True)
class Piece:
    """Part of a graph, its nodes counted from 0.

    Args:
        nodes: ``(M,)`` int64, which nodes of the whole graph these are; asked-for ones come first.
        edge_index: ``(2, E)`` int64 between places in ``nodes``; messages run from row 0 to row 1.
        edges: ``(E,)`` int64, where each edge stands in ``CSR.indices``, to look up its values.
    """

    nodes: np.ndarray
    edge_index: np.ndarray
    edges: np.ndarray


def neighbour_sample(graph: CSR, seeds: Any, fanouts: Sequence[int], seed: int = 0) -> Piece:
    """Draw up to ``fanouts[h]`` neighbours of every node that hop h reached first, without doubles.

    Args:
        graph: Its lists say whose messages a node hears: of a directed graph take the lists of
            in-neighbours, ``graph.reversed()``.
        seeds: ``(B,)`` nodes, each once.
        fanouts: Neighbours a node, hop by hop; -1 takes all of them.
        seed: Of the draws.

    Returns:
        The seeds, then each hop's new nodes, and an edge from every drawn neighbour to the node that
        drew it.

    Raises:
        BadInput: If a seed is no node or stands twice, or a fanout is neither -1 nor above 0.
    """
    front = _nodes(graph, seeds)
    if any(fanout < 1 and fanout != -1 for fanout in fanouts):
        raise BadInput(f"Fanouts are 1 or more, or -1 for all neighbours; got {list(fanouts)}.")
    place = np.full(graph.nodes, -1, np.int64)
    place[front] = np.arange(len(front))
    if len(np.unique(front)) < len(front):
        raise BadInput("A minibatch names a node twice; give each seed once.")
    nodes, ends, edges = [front], [], []
    count = len(front)
    for hop, fanout in enumerate(fanouts):
        degrees = graph.degrees[front]
        taken = degrees if fanout == -1 else np.minimum(degrees, fanout)
        starts = np.concatenate([[0], np.cumsum(taken)])
        edge = np.empty(starts[-1], np.int64)
        _draw(graph.indptr, front, starts, int(seed) % 2**63, hop, edge)
        near = graph.indices[edge]
        ends.append(np.repeat(place[front], taken))
        edges.append(edge)
        front = np.empty(len(edge), np.int64)
        new = _name(near, place, count, front)
        front = front[:new]
        count += new
        nodes.append(front)
    edge = np.concatenate(edges) if edges else np.empty(0, np.int64)
    end = np.concatenate(ends) if ends else np.empty(0, np.int64)
    return Piece(np.concatenate(nodes), np.stack([place[graph.indices[edge]], end]), edge)


def induced(graph: CSR, nodes: Any) -> Piece:
    """Return some nodes, each once, with every edge of the graph that joins two of them."""
    nodes = _nodes(graph, nodes)
    place = np.full(graph.nodes, -1, np.int64)
    place[nodes] = np.arange(len(nodes))
    if (place[nodes] != np.arange(len(nodes))).any():
        raise BadInput("A subgraph names a node twice; give each once.")
    degrees = graph.degrees[nodes]
    edge = np.arange(degrees.sum()) + np.repeat(graph.indptr[nodes] - np.cumsum(degrees) + degrees, degrees)
    inside = place[graph.indices[edge]] >= 0
    source, edge = np.repeat(np.arange(len(nodes)), degrees)[inside], edge[inside]
    return Piece(nodes, np.stack([source, place[graph.indices[edge]]]), edge)


def _nodes(graph: CSR, nodes: Any) -> np.ndarray:
    nodes = np.asarray(nodes, dtype=np.int64).reshape(-1)
    if len(nodes) and (nodes.min() < 0 or nodes.max() >= graph.nodes):
        bad = nodes[(nodes < 0) | (nodes >= graph.nodes)][0]
        raise BadInput(f"The graph has nodes 0 to {graph.nodes - 1}; asked for {bad}.")
    return nodes


@njit(nogil=True, cache=False)
def _draw(
    indptr: np.ndarray, front: np.ndarray, starts: np.ndarray, seed: int, hop: int, edge: np.ndarray
) -> None:
    """Fill each node's part of ``edge`` by places in its list: all, or some by Floyd's algorithm."""
    for i in range(len(front)):
        node, a, z = front[i], starts[i], starts[i + 1]
        first, degree = indptr[node], indptr[node + 1] - indptr[node]
        if z - a == degree:
            for k in range(degree):
                edge[a + k] = first + k
            continue
        state = stream(seed ^ (hop << 40), node)
        for k in range(z - a):
            last = degree - (z - a) + k
            state += GOLDEN
            place = first + below(mixed(state), last + 1)
            for earlier in range(a, a + k):
                if edge[earlier] == place:
                    place = first + last
                    break
            edge[a + k] = place


@njit(nogil=True, cache=False)
def _name(near: np.ndarray, place: np.ndarray, count: int, front: np.ndarray) -> int:
    """Give the nodes seen for the first time the next places; return how many there are."""
    new = 0
    for node in near:
        if place[node] < 0:
            place[node] = count + new
            front[new] = node
            new += 1
    return new
