"""Builds a checked graph from edges as they were read: nothing missing, nothing twice, both directions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from vergence.core.errors import BadInput
from vergence.data.graph import pyg


@dataclass
class Edges:
    """Edges as a file gives them.

    Args:
        pairs: ``(2, E)`` whole numbers, from and to.
        nodes: N; the pairs lie in [0, N).
        values: Name -> ``(E,)`` or ``(E, K)``, such as ``edge_weight`` and ``edge_attr``.
        directed: Whether the format means directions; if not, each edge is there both ways.
    """

    pairs: np.ndarray
    nodes: int
    values: dict[str, np.ndarray] = field(default_factory=dict)
    directed: bool = False


def build(
    edges: Edges, uri: str, *, x: np.ndarray | None = None, y: np.ndarray | None = None
) -> tuple[pyg.Data, list[str]]:
    """Return a PyG graph and what a user should know about how it came to be.

    Duplicate edges are joined (weights add up, other values come from the first), self-loops are
    kept, undirected edges are there in both directions, sorted by source and target. Values are
    float32, times as exact as they came.

    Args:
        edges: As they were read.
        uri: For messages.
        x: ``(N, F)`` features.
        y: ``(N,)`` labels, -1 where unknown, or ``(N, C)`` marks.

    Raises:
        BadInput: If the graph has fewer than 2 nodes, an edge to a node that is not there, or a
            feature or weight that is not a finite number.
    """
    if edges.nodes < 2:
        what = "no nodes" if edges.nodes == 0 else "one node only"
        raise BadInput(f"{uri} is a graph of {what}; learning needs 2 or more that are joined.")
    _check_ends(edges, uri)
    check_features(x, uri)
    weight = edges.values.get("edge_weight")
    if weight is not None and not np.isfinite(weight).all():
        bad = int((~np.isfinite(weight)).argmax())
        raise BadInput(f"{uri}: the weight of edge {bad + 1} is not a number; repair or remove it.")
    pairs, values, notes = joined(edges)
    graph = pyg.Data(edge_index=torch.from_numpy(pairs), num_nodes=edges.nodes)
    for name, value in values.items():
        kept = (
            _times(value)
            if name == "edge_time"
            else value.astype(np.float32)
            if value.dtype.kind == "f"
            else value
        )
        graph[name] = torch.from_numpy(np.ascontiguousarray(kept))
    if x is not None:
        graph.x = torch.from_numpy(np.ascontiguousarray(x, np.float32))
    if y is not None:
        graph.y = torch.from_numpy(np.ascontiguousarray(y))
    return graph, notes


def _times(times: np.ndarray) -> np.ndarray:
    """Return times as float32 where nothing is lost, else as they are."""
    near = times.astype(np.float32)
    return near if np.array_equal(near, times) else times


def joined(edges: Edges) -> tuple[np.ndarray, dict[str, np.ndarray], list[str]]:
    """Return each edge once a direction ``(2, E)``, sorted, its values, and notes on what was joined."""
    pairs = np.asarray(edges.pairs, np.int64).reshape(2, -1)
    n, notes = edges.nodes, []
    _, first, group = np.unique(pairs[0] * n + pairs[1], return_index=True, return_inverse=True)
    if twice := pairs.shape[1] - len(first):
        notes.append(f"{twice:,} duplicate edges were joined")
    values = {name: value[first] for name, value in edges.values.items()}
    if "edge_weight" in values:
        values["edge_weight"] = np.bincount(group, edges.values["edge_weight"].astype(np.float64), len(first))
    pairs = pairs[:, first]
    if not edges.directed:  # an edge that was written both ways is one edge
        ends = pairs.min(0) * n + pairs.max(0)
        _, first, group = np.unique(ends, return_index=True, return_inverse=True)
        if "edge_time" in values:
            np.minimum.at(values["edge_time"], first[group], values["edge_time"])
        if both := pairs.shape[1] - len(first):
            notes.append(f"{both:,} edges that were written both ways count once")
        pairs, values = pairs[:, first], {name: value[first] for name, value in values.items()}
    loops = int((pairs[0] == pairs[1]).sum())
    if loops:
        notes.append(f"{loops:,} self-loops are kept")
    if not edges.directed:
        other = np.flatnonzero(pairs[0] != pairs[1])
        pairs = np.concatenate([pairs, pairs[::-1, other]], axis=1)
        values = {name: np.concatenate([value, value[other]]) for name, value in values.items()}
    order = np.lexsort((pairs[1], pairs[0]))
    return np.ascontiguousarray(pairs[:, order]), {k: v[order] for k, v in values.items()}, notes


def check_features(x: np.ndarray | None, uri: str) -> None:
    """Raise ``BadInput`` where features are not finite numbers."""
    if x is None:
        return
    bad = ~np.isfinite(x).all(axis=tuple(range(1, x.ndim)))
    if bad.any():
        raise BadInput(
            f"{uri}: the features of {bad.sum():,} nodes, the first is node {bad.argmax()}, are not finite "
            "numbers; fill or remove them."
        )


def _check_ends(edges: Edges, uri: str) -> None:
    pairs = np.asarray(edges.pairs).reshape(2, -1)
    bad = ((pairs < 0) | (pairs >= edges.nodes)).any(0)
    if bad.any():
        at = int(bad.argmax())
        raise BadInput(
            f"{uri}: edge {at + 1} joins nodes {pairs[0, at]} and {pairs[1, at]}, but there are "
            f"{edges.nodes:,} nodes, 0 to {edges.nodes - 1}; remove the edge or add the node."
        )
