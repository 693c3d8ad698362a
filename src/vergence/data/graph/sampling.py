"""Pieces of a large graph: neighbours hop by hop, induced subgraphs, what a restarting walk visits.

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
from vergence.data.graph.walks import _GOLDEN, Walker, below, has_edge, mixed, over_parts, stream


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


@dataclass(frozen=True)
class Pieces:
    """Many small parts of a graph, one after the other, as a PyG ``Batch`` holds them.

    Args:
        nodes: ``(M,)`` int64; the node that a part was made for comes first in it.
        ptr: ``(B + 1,)`` int64, where each part's nodes begin.
        edge_index: ``(2, E)`` int64 between places in ``nodes``.
    """

    nodes: np.ndarray
    ptr: np.ndarray
    edge_index: np.ndarray


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


def restart_subgraphs(
    graph: CSR,
    seeds: Any,
    steps: int | np.ndarray,
    *,
    restart: float,
    seed: int = 0,
    numbers: np.ndarray | None = None,
    workers: int | None = None,
) -> Pieces:
    """Return, for every seed, the induced subgraph of what a random walk with restarts from it visits.

    Args:
        graph: To walk along; edges of the subgraphs are those of these lists.
        seeds: ``(B,)`` nodes; one that stands twice gets two walks.
        steps: Of each walk, one number or ``(B,)``, at least 0.
        restart: Chance of a jump home before each step, in [0, 1).
        seed: Of the walks.
        numbers: ``(B,)``, the walks' own numbers, see ``Walker.walks``.
        workers: Threads; None takes as many as there are cores.

    Source: Qiu et al., arXiv:2006.09963, Sec. 3.2; Tong, Faloutsos, Pan 2006.
    """
    seeds = _nodes(graph, seeds)
    lengths = np.broadcast_to(np.asarray(steps, np.int64) + 1, len(seeds))
    if len(seeds) and lengths.min() < 1:
        raise BadInput("A walk takes 0 steps or more.")
    longest = int(lengths.max(initial=1))
    walker = Walker(graph, restart=restart)
    walks = walker.walks(seeds, longest, seed=seed, numbers=numbers, workers=workers)
    sizes = np.empty(len(seeds), np.int64)
    over_parts(lambda part: _visited(walks[part], lengths[part], sizes[part]), len(seeds), workers, 64)
    ptr = np.concatenate([[0], np.cumsum(sizes)])
    nodes = walks[np.arange(longest) < sizes[:, None]].astype(np.int64)
    degrees = np.empty(len(nodes), np.int64)
    shared = graph.indptr, graph.indices, nodes

    at, edges = np.empty(0, np.int64), np.empty((2, 0), np.int64)

    def join(part: slice) -> None:
        _inside(*shared, ptr[part.start : part.stop + 1], degrees, at, edges)

    over_parts(join, len(seeds), workers, 64)  # counts
    at = np.concatenate([[0], np.cumsum(degrees)])
    edges = np.empty((2, at[-1]), np.int64)
    over_parts(join, len(seeds), workers, 64)  # writes
    return Pieces(nodes, ptr, edges)


def _nodes(graph: CSR, nodes: Any) -> np.ndarray:
    nodes = np.asarray(nodes, dtype=np.int64).reshape(-1)
    if len(nodes) and (nodes.min() < 0 or nodes.max() >= graph.nodes):
        bad = nodes[(nodes < 0) | (nodes >= graph.nodes)][0]
        raise BadInput(f"The graph has nodes 0 to {graph.nodes - 1}; asked for {bad}.")
    return nodes


@njit(nogil=True, cache=False)
def _draw(indptr, front, starts, seed, hop, edge):
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
            state += _GOLDEN
            place = first + below(mixed(state), last + 1)
            for earlier in range(a, a + k):
                if edge[earlier] == place:
                    place = first + last
                    break
            edge[a + k] = place


@njit(nogil=True, cache=False)
def _name(near, place, count, front):
    """Give the nodes seen for the first time the next places; return how many there are."""
    new = 0
    for node in near:
        if place[node] < 0:
            place[node] = count + new
            front[new] = node
            new += 1
    return new


@njit(nogil=True, cache=False)
def _visited(walks, lengths, sizes):
    """Move what each walk visited to its front: the start, then the others ascending, each once."""
    for i in range(len(walks)):
        walk, home, size = walks[i], walks[i, 0], 1
        walk[1 : lengths[i]].sort()
        for step in range(1, lengths[i]):
            node = walk[step]
            if node != home and (size == 1 or node != walk[size - 1]):
                walk[size] = node
                size += 1
        sizes[i] = size


@njit(nogil=True, cache=False)
def _inside(indptr, indices, nodes, ptr, degrees, at, edges):
    """Count each node's edges inside its part, or, given where they go (``at``), write them."""
    for part in range(len(ptr) - 1):
        start, end = ptr[part], ptr[part + 1]
        for i in range(start, end):
            node, found = nodes[i], 0
            if indptr[node + 1] - indptr[node] > 16 * (end - start):  # a hub: ask for each member instead
                for j in range(start, end):
                    if has_edge(indptr, indices, node, nodes[j]):
                        if len(at) > 0:
                            edges[0, at[i] + found], edges[1, at[i] + found] = i, j
                        found += 1
            else:
                j = start + 1
                for k in range(indptr[node], indptr[node + 1]):
                    other = indices[k]
                    while j < end and nodes[j] < other:
                        j += 1
                    place = j if j < end and nodes[j] == other else (start if nodes[start] == other else -1)
                    if place >= 0:
                        if len(at) > 0:
                            edges[0, at[i] + found], edges[1, at[i] + found] = i, place
                        found += 1
            degrees[i] = found
