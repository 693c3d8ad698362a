"""Graphs as files of edges: plain lists, GML, GraphML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vergence.core.errors import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import NodeSource

_LABELS = ("label", "class", "value", "club", "community")  # of nodes, by custom; GML's own label is the name


def edgelist(path: Path, uri: str) -> NodeSource:
    """Open a text file of one edge a line: two names and, if there is one, a weight.

    Blanks, tabs or commas stand between them, lines that begin with # or % say nothing. Edges are
    undirected. Nodes are the names that occur, in the order of numbers where all are numbers. Labels
    may lie in a file of the same name that ends in ``.labels``: a node and its class a line.

    Raises:
        BadInput: If a line is something else.
    """
    table = _all_numbers(path)
    if table is None:
        table = np.array(read_table(path, uri))
    width = table.shape[1]
    if width not in (2, 3):
        raise BadInput(f"{uri}: a line needs two nodes and perhaps a weight; the first has {width} entries.")
    names, pairs = numbered(table[:, :2].reshape(-1))
    values = {"edge_weight": numbers(table[:, 2], f"{uri}: weights")} if width == 3 else {}
    y, classes = None, None
    beside = path.with_suffix(".labels")
    if beside.is_file():
        y, classes = labels_of(beside, names)
    graph, notes = build(Edges(pairs.reshape(-1, 2).T, len(names), values), uri, y=y)
    return NodeSource(graph, uri, names=names, classes=classes, notes=notes)


def _all_numbers(path: Path) -> np.ndarray | None:
    """Read a file of nothing but numbers fast, ``(E, columns)`` float64; None where it is something else."""
    try:
        with path.open() as file:
            line = next((line for line in file if line.strip() and line.lstrip()[0] not in "#%"), None)
        if line is None:
            return None
        table = np.loadtxt(path, delimiter="," if "," in line else None, comments=["#", "%"], ndmin=2)
    except (ValueError, UnicodeDecodeError):
        return None
    whole = table.size > 0 and bool((table[:, :2] == np.floor(table[:, :2])).all())
    return table if whole else None


def read_table(path: Path, uri: str) -> list[list[str]]:
    """Return the entries of every line that is not empty or a comment, all lines equally many.

    Raises:
        BadInput: If there are none, or a line has another number of them than the first.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{uri} is not a text file: {error}.") from None
    kept = [
        (i, line.replace(",", " ").split())
        for i, line in enumerate(lines, 1)
        if line.strip() and line.lstrip()[0] not in "#%"
    ]
    if not kept:
        raise BadInput(f"{uri} is a graph of no nodes: it has no lines with edges.")
    width = len(kept[0][1])
    bad = next((i for i, row in kept if len(row) != width), None)
    if bad is not None:
        raise BadInput(f"{uri}: line {bad} has not {width} entries as the first one; repair or remove it.")
    return [row for _, row in kept]


def numbered(names: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the different names, numbers in their order, and which one stands at each place."""
    known, place = np.unique(names, return_inverse=True)
    if known.dtype.kind == "f":
        return [str(int(number)) for number in known], place
    if all(name.lstrip("-").isdecimal() for name in known.tolist()):
        order = np.argsort(known.astype(np.int64), kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        known, place = known[order], rank[place]
    return [str(name) for name in known], place


def numbers(entries: Sequence[str] | np.ndarray, what: str) -> np.ndarray:
    """Return entries as float64, or raise ``BadInput``."""
    try:
        return np.array(entries, np.float64)
    except ValueError as error:
        raise BadInput(f"{what} must be numbers: {error}.") from None


def labels_of(path: Path, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Read a node and its class a line: labels ``(N,)``, -1 where unknown, and the classes' names."""
    rows = read_table(path, str(path))
    if len(rows[0]) != 2:
        raise BadInput(f"{path}: a line needs a node and its class.")
    place = {name: i for i, name in enumerate(names)}
    stray = next((row[0] for row in rows if row[0] not in place), None)
    if stray is not None:
        raise BadInput(f"{path} labels node '{stray}', which no edge names; remove the line or add the node.")
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
    the weight.

    Raises:
        BadInput: If it cannot be read.
    """
    return _networkx(path, uri, "read_graphml")


def _networkx(path: Path, uri: str, reader: str) -> NodeSource:
    import networkx as nx

    try:
        network = getattr(nx, reader)(str(path))
    except Exception as error:  # noqa: BLE001 - networkx and expat raise all kinds
        raise BadInput(f"{uri} cannot be read: {' '.join(str(error).split())[:200]}.") from None
    names = [str(node) for node in network]
    place = {node: i for i, node in enumerate(network)}
    edges = list(network.edges(data=True))
    pairs = np.array([(place[a], place[b]) for a, b, _ in edges], np.int64).reshape(-1, 2).T
    values = {}
    if edges and all("weight" in more for *_, more in edges):
        values["edge_weight"] = numbers([more["weight"] for *_, more in edges], f"{uri}: weights")
    columns = _columns([dict(more) for _, more in network.nodes(data=True)])
    label = next((name for name in _LABELS if name in columns), None)
    y, classes = None, None
    if label is not None:
        classes, y = numbered(np.array([str(value) for value in columns.pop(label)]))
    kept = [np.array(c, np.float32) for c in columns.values() if all(isinstance(v, int | float) for v in c)]
    x = np.stack(kept, axis=1) if kept else None
    directed = bool(network.is_directed())
    graph, notes = build(Edges(pairs, len(names), values, directed), uri, x=x, y=y)
    return NodeSource(graph, uri, names=names, classes=classes, notes=notes, directed=directed)


def _columns(nodes: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the attributes that every node has; a label that is another for each is a name, not a class."""
    shared = [name for name in (nodes[0] if nodes else {}) if all(name in node for node in nodes)]
    columns = {name: [node[name] for node in nodes] for name in shared}
    return {
        name: column
        for name, column in columns.items()
        if name not in _LABELS or len(set(map(str, column))) < len(column)
    }
