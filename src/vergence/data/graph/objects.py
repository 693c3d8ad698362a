"""Graphs that are in memory already: of networkx and of PyG, one or a list of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.data.columns import coded, plain_label
from vergence.data.graph import pyg
from vergence.data.graph.build import Edges, build
from vergence.data.graph.edges import of_network, read_network
from vergence.data.graph.source import GraphSource, GraphsSource, NodeSource
from vergence.data.graph.splits import Split

URI = "memory:graph"
GRAPH_LABELS = ("label", "class", "y")  # of whole graphs of networkx, by custom
MASKS = ("train_mask", "val_mask", "test_mask")


def open_object(data: Any, *, limit: float = 0.5, label: str | None = None) -> GraphSource | None:
    """Take a graph, whose nodes are the samples, or several, each a sample.

    Args:
        data: A graph of networkx; a ``Data`` of PyG, whose ``y`` are labels, and whose masks are the split
            "public"; or a list or a PyG data set of these, whose ``y`` are one label a graph.
        limit: Has no meaning here: a graph is read whole or not at all.
        label: Attribute of networkx' nodes, or of its graphs where there are several, that is their label;
            None takes one called label, class, value, club or community.

    Raises:
        BadInput: If a graph has no edges, a feature is not a number, or graphs differ in their features.
    """
    if (
        _is_of(data, "torch_geometric")
        and hasattr(data, "get")
        and hasattr(data, "__len__")
        and _is_set(data)
    ):
        data = [data[i] for i in range(len(data))]
        data = data[0] if len(data) == 1 else data
    many = isinstance(data, list | tuple)
    first = data[0] if many and data else data
    if _is_hetero(first):
        raise BadInput(
            "A HeteroData has nodes of several types, which are not read from memory: see hetero:DIR."
        )
    if _is_of(first, "networkx"):
        return _of_networks(data, label) if many else of_network(data, URI, label)
    if not (_is_of(first, "torch_geometric") and hasattr(first, "edge_index")):
        return None
    if label is not None:
        raise BadInput("The labels of a PyG graph are its y; leave label out.")
    return (
        _of_several([_parts(graph, f"graph {i}") for i, graph in enumerate(data)]) if many else _of_data(data)
    )


def _is_of(data: Any, package: str) -> bool:
    return any(base.__module__.partition(".")[0] == package for base in type(data).__mro__)


def _is_set(data: Any) -> bool:
    return any(base.__name__ == "Dataset" for base in type(data).__mro__)


def _is_hetero(data: Any) -> bool:
    return _is_of(data, "torch_geometric") and type(data).__name__ == "HeteroData"


def _of_data(data: pyg.Data) -> NodeSource:
    edges, x, y = _parts(data, URI)
    y = y if y is not None and len(y) == edges.nodes else None
    if not edges.pairs.size:
        raise _without_edges(edges.nodes)
    graph, notes = build(edges, URI, x=x, y=y)
    fixed = []
    if all(name in data and data[name].ndim == 1 for name in MASKS):
        fixed = [Split("public", *(np.flatnonzero(data[name].cpu().numpy()) for name in MASKS))]
    return NodeSource(graph, URI, notes=notes, fixed=fixed, directed=edges.directed)


def _parts(data: pyg.Data, what: str) -> tuple[Edges, np.ndarray | None, np.ndarray | None]:
    """Return the edges, features and labels of a PyG graph."""
    if not isinstance(data.edge_index, Tensor) or data.edge_index.ndim != 2 or len(data.edge_index) != 2:
        shape = tuple(getattr(data.edge_index, "shape", ()))
        raise BadInput(f"{what} needs edge_index (2, E); got {shape or type(data.edge_index).__name__}.")
    nodes, pairs = int(data.num_nodes or 0), data.edge_index.cpu().numpy().astype(np.int64)
    values = {}
    for name in ("edge_weight", "edge_attr", "edge_time"):
        if isinstance(value := data.get(name), Tensor):
            if len(value) != pairs.shape[1]:
                raise BadInput(f"{what} has {len(value):,} {name} for {pairs.shape[1]:,} edges.")
            values[name] = value.detach().cpu().numpy()
    x = None if data.x is None else data.x.detach().cpu().float().numpy()
    if x is not None and (x.ndim != 2 or len(x) != nodes):
        raise BadInput(f"{what} needs features x (N, F) of its {nodes:,} nodes; got {x.shape}.")
    inside = not pairs.size or (pairs.min() >= 0 and pairs.max() < nodes)
    directed = inside and data.is_directed()
    return Edges(pairs, nodes, values, directed), x, _labels_of(data)


def _labels_of(data: pyg.Data) -> np.ndarray | None:
    """Return ``y`` where it is whole numbers, one each, or marks; None where it is something else."""
    y = data.get("y")
    if not isinstance(y, Tensor):
        return None if y is None or not isinstance(y, int | float) else np.array([y])
    values = y.detach().cpu().reshape(len(y), -1).squeeze(1).numpy() if y.ndim else y.reshape(1).cpu().numpy()
    whole = values.dtype.kind in "biu" or bool(
        np.isfinite(values).all() and (values == np.rint(values)).all()
    )
    return values.astype(np.int64) if whole else None


def _of_networks(networks: Sequence[Any], label: str | None) -> GraphsSource:
    parts, marks = [], []
    for i, network in enumerate(networks):
        read = read_network(network, f"graph {i}")
        name = label or next((name for name in GRAPH_LABELS if name in network.graph), None)
        marks.append(None if name is None else network.graph.get(name))
        parts.append((read.edges, read.x, None))
    return _of_several(parts, marks)


def _of_several(
    parts: Sequence[tuple[Edges, np.ndarray | None, np.ndarray | None]], marks: Sequence[Any] | None = None
) -> GraphsSource:
    """Put graphs one behind the other."""
    counts = np.array([edges.nodes for edges, _, _ in parts])
    ptr = np.concatenate([[0], np.cumsum(counts)])
    widths = {None if x is None else x.shape[1] for _, x, _ in parts}
    if len(widths) > 1:
        said = " and ".join(sorted("none" if width is None else str(width) for width in widths))
        raise BadInput(f"Graphs of one set have as many features each; these have {said}.")
    pairs = np.concatenate(
        [edges.pairs + start for (edges, _, _), start in zip(parts, ptr, strict=False)], axis=1
    )
    if not pairs.size:
        raise _without_edges(int(ptr[-1]))
    shared = set.intersection(*(set(edges.values) for edges, _, _ in parts))
    values = {name: np.concatenate([edges.values[name] for edges, _, _ in parts]) for name in shared}
    x = None if None in widths else np.concatenate([x for _, x, _ in parts if x is not None])
    directed = any(edges.directed for edges, _, _ in parts)
    graph, notes = build(Edges(pairs, int(ptr[-1]), values, directed), URI, x=x)
    if marks is None:
        marks = [None if y is None or len(y) != 1 else y[0] for _, _, y in parts]
    labels, classes = coded([plain_label(mark) for mark in marks])
    return GraphsSource(graph, ptr, URI, labels=labels, classes=classes, notes=notes)


def _without_edges(nodes: int) -> BadInput:
    return BadInput(f"{URI} is a graph of {nodes:,} nodes without edges; there is nothing to learn from.")
