"""Graphs as files of edges: plain lists, GML, GraphML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vergence.core.errors import BadInput, unknown
from vergence.data.graph.build import Edges, build
from vergence.data.graph.lines import edge_columns, numbers, rows_of
from vergence.data.graph.source import NodeSource
from vergence.data.roles import reading_of

_LABELS = ("label", "class", "value", "club", "community")  # of nodes, by custom; GML's own label is the name
_DIGITS = 1000  # of a number; a longer one is a name


def edgelist(path: Path, uri: str, columns: Sequence[str] | None = None) -> NodeSource:
    """Open a text file of one edge a line: two names and, if there is one, a weight.

    Blanks, tabs, commas, semicolons or bars stand between them; lines that begin with # or % say
    nothing, and a first line of names is a header. Edges are undirected. Nodes are the names that occur,
    in the order of numbers where all are numbers; 007 is another node than 7. A column of times is left out.
    Labels may lie in a file of the same name that ends in ``.labels``: a node and its class a line.

    Args:
        path: The file.
        uri: What was opened.
        columns: The role of each column, see ``lines.ROLES``; None tells them by the header or their place.

    Raises:
        BadInput: If a line is something else.
    """
    read = edge_columns(path, uri, columns)
    names, pairs = numbered(read.ends)
    y, classes = labels_beside(path, names)
    graph, notes = build(Edges(pairs.reshape(-1, 2).T, len(names), read.values), uri, y=y)
    source = NodeSource(graph, uri, names=names, classes=classes, notes=[*read.notes, *notes])
    source.reading = read.reading
    return source


def numbered(names: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the different names, numbers in their order, and which one stands at each place.

    Whole numbers that came as 1.0 are 1; with leading zeros they are names.
    """
    known, place = np.unique(names, return_inverse=True)
    if known.dtype.kind == "i":
        return [str(number) for number in known.tolist()], place
    words = [str(name) for name in known.tolist()]
    if all(re.fullmatch(r"-?\d+(\.0+)?", word) for word in words) and not any(map(_padded, words)):
        whole = [word.partition(".")[0] for word in words]
        if len(set(whole)) < len(whole):  # both 1 and 1.0 occur
            return numbered(np.array(whole, object).astype(str)[place])
        words = whole
    if all(re.fullmatch(r"-?\d+", word) and len(word) <= _DIGITS for word in words):
        order = sorted(range(len(words)), key=lambda i: (int(words[i]), words[i]))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return [words[i] for i in order], rank[place]
    return words, place


def _padded(word: str) -> bool:
    return re.match(r"-?0\d", word) is not None


def labels_beside(path: Path, names: list[str]) -> tuple[np.ndarray | None, list[str] | None]:
    """Return what the file of the same name that ends in ``.labels`` says; see ``labels_of``."""
    beside = path.with_suffix(".labels")
    return labels_of(beside, names) if beside.is_file() else (None, None)


def labels_of(path: Path, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Read a node and its class a line: labels ``(N,)``, -1 where unknown, and the classes' names.

    Raises:
        BadInput: If a line names a node that is not there, or a node has two classes.
    """
    rows = rows_of(path, str(path), "labels").entries
    if len(rows[0]) != 2:
        raise BadInput(f"{path}: a line needs a node and its class.")
    place = {name: i for i, name in enumerate(names)}
    if rows[0][0] not in place and all(row[0] in place for row in rows[1:]) and len(rows) > 1:
        rows = rows[1:]  # a header
    stray = next((row[0] for row in rows if row[0] not in place), None)
    if stray is not None:
        raise BadInput(f"{path} labels node '{stray}', which no edge names; remove the line or add the node.")
    if len(set(map(tuple, rows))) > len({row[0] for row in rows}):
        raise BadInput(f"{path} gives a node two classes; a line needs a node and its one class.")
    classes, coded = numbered(np.array([row[1] for row in rows]))
    y = np.full(len(names), -1, np.int64)
    y[[place[row[0]] for row in rows]] = coded
    return y, classes


def gml(path: Path, uri: str) -> NodeSource:
    """Open a GML file; see ``graphml``."""
    return _networkx(path, uri, "read_gml")


def graphml(path: Path, uri: str) -> NodeSource:
    """Open a GraphML file.

    Of the nodes' attributes, one called label, class, value, club or community, the same for several
    nodes, is the label, and those that are numbers everywhere are features. Of the edges', ``weight`` is
    the weight. What is left out is said in ``reading``.

    Raises:
        BadInput: If it cannot be read, or has no edges.
    """
    return _networkx(path, uri, "read_graphml")


def _networkx(path: Path, uri: str, reader: str) -> NodeSource:
    import networkx as nx

    try:
        network = getattr(nx, reader)(str(path))
    except Exception as error:  # noqa: BLE001 - networkx and expat raise all kinds
        raise BadInput(f"{uri} cannot be read: {' '.join(str(error).split())[:200]}.") from None
    return of_network(network, uri)


@dataclass
class Network:
    """What a graph of networkx holds.

    Args:
        edges: Its edges, nodes in its order.
        names: One a node.
        x: ``(N, F)`` features, or None.
        y: ``(N,)`` labels, or None.
        classes: Their names.
        reading: Which attribute was taken for what.
    """

    edges: Edges
    names: list[str]
    x: np.ndarray | None
    y: np.ndarray | None
    classes: list[str] | None
    reading: str


def of_network(network: Any, uri: str, label: str | None = None) -> NodeSource:
    """Take a graph of networkx, whose nodes are the samples; see ``graphml``.

    Args:
        network: The graph.
        uri: For messages.
        label: Attribute of the nodes that is their label; None takes one of the usual names.

    Raises:
        BadInput: If it has no edges, or no node has that attribute.
    """
    read = read_network(network, uri, label)
    if not read.edges.pairs.size:
        raise BadInput(
            f"{uri} is a graph of {len(read.names):,} nodes without edges; there is nothing to learn from."
        )
    graph, notes = build(read.edges, uri, x=read.x, y=read.y)
    if alone := len(read.names) - len(np.unique(read.edges.pairs)):
        notes.append(f"{alone:,} nodes have no edges")
    source = NodeSource(
        graph, uri, names=read.names, classes=read.classes, notes=notes, directed=read.edges.directed
    )
    source.reading = read.reading
    return source


def read_network(network: Any, uri: str, label: str | None = None) -> Network:
    """Read a graph of networkx: its edges, and which attributes of its nodes are features and labels."""
    names = [str(node) for node in network]
    place = {node: i for i, node in enumerate(network)}
    edges = list(network.edges(data=True))
    pairs = np.array([(place[a], place[b]) for a, b, _ in edges], np.int64).reshape(-1, 2).T
    values = {}
    if edges and all("weight" in more for *_, more in edges):
        values["edge_weight"] = numbers([more["weight"] for *_, more in edges], f"{uri}: weights")
    nodes = [dict(more) for _, more in network.nodes(data=True)]
    known = list(dict.fromkeys(name for more in nodes for name in more))
    if label is not None and label not in known:
        raise unknown(f"attribute of the nodes of {uri}", label, map(str, known))
    columns = _columns(nodes)
    label = label or next((name for name in _LABELS if name in columns), None)
    y, classes = None, None
    if label is not None:
        columns.pop(label, None)
        marked = np.flatnonzero([more.get(label) is not None for more in nodes])
        classes, coded = numbered(np.array([str(nodes[i][label]) for i in marked]))
        y = np.full(len(nodes), -1, np.int64)
        y[marked] = coded
    features = [name for name, c in columns.items() if all(isinstance(v, int | float | np.number) for v in c)]
    kept = [numbers(columns[name], f"{uri}: {name}").astype(np.float32) for name in features]
    x = np.stack(kept, axis=1) if kept else None
    left = {name: "of words, or not of every node" for name in known if name not in (label, *features)}
    named = {} if label is None else {"label": label}
    reading = reading_of(dict.fromkeys(features, ""), {}, named, left)
    return Network(
        Edges(pairs, len(names), values, bool(network.is_directed())), names, x, y, classes, reading
    )


def _columns(nodes: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the attributes that every node has; a label that is another for each is a name, not a class."""
    shared = [name for name in (nodes[0] if nodes else {}) if all(name in node for node in nodes)]
    columns = {name: [node[name] for node in nodes] for name in shared}
    return {
        name: column
        for name, column in columns.items()
        if name not in _LABELS or len(set(map(str, column))) < len(column)
    }
