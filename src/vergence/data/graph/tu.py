"""TU sets: many small graphs as raw text, ``NAME_A.txt`` and its companions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vergence.core.errors import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import GraphsSource


def tu(folder: Path, name: str, uri: str) -> GraphsSource:
    """Open ``tu:FOLDER/NAME``, which holds ``NAME_A.txt`` itself or in ``raw/``.

    Node features are the node labels, one-hot, then the node attributes; sets with neither have
    degrees instead. Edge labels, one-hot, and attributes become ``edge_attr``. Whole numbers, one a graph, in
    ``NAME_graph_labels.txt`` are classes; others, and ``NAME_graph_attributes.txt``, are numbers to predict.

    Raises:
        BadInput: If a file is missing, not numbers, or does not fit the others.
    """
    root = next(
        (at for at in (folder / name / "raw", folder / name) if (at / f"{name}_A.txt").is_file()), None
    )
    if root is None:
        near = sorted(path.name for path in folder.glob("*") if path.is_dir()) if folder.is_dir() else []
        holds = f"{folder} holds {', '.join(near)}" if near else f"there are no sets in {folder}"
        raise BadInput(f"{uri}: {name}_A.txt is neither in {folder / name} nor in its folder raw; {holds}.")

    def table(part: str) -> np.ndarray | None:
        path = root / f"{name}_{part}.txt"
        if not path.is_file():
            return None
        try:
            return np.loadtxt(path, delimiter=",", ndmin=2)
        except ValueError as error:
            raise BadInput(f"{path} must hold numbers with commas between: {error}.") from None

    pairs, member, marks = table("A"), table("graph_indicator"), table("graph_labels")
    if pairs is None or member is None or not len(member):
        raise BadInput(f"{uri}: {name}_A.txt or {name}_graph_indicator.txt is empty or missing in {root}.")
    of = member[:, 0].astype(np.int64) - 1
    if (np.diff(of) < 0).any():
        raise BadInput(f"{uri}: {name}_graph_indicator.txt must list the nodes graph by graph.")
    ends = pairs.astype(np.int64).T - 1
    x = _columns(table("node_labels"), table("node_attributes"), len(of), uri, "node")
    attr = _columns(table("edge_labels"), table("edge_attributes"), ends.shape[1], uri, "edge")
    values = {} if attr is None else {"edge_attr": attr}
    graph, notes = build(Edges(ends, len(of), values), uri, x=x)
    row = torch.from_numpy(of)
    if (row[graph.edge_index[0]] != row[graph.edge_index[1]]).any():
        raise BadInput(f"{uri}: {name}_A.txt has an edge between two graphs.")
    count = int(of[-1]) + 1
    ptr = np.searchsorted(of, np.arange(count + 1))
    labels, classes, targets = _targets(marks, table("graph_attributes"), count, uri)
    return GraphsSource(graph, ptr, uri, labels=labels, values=targets, classes=classes, notes=notes)


def _targets(
    marks: np.ndarray | None, numbers: np.ndarray | None, count: int, uri: str
) -> tuple[np.ndarray | None, list[str] | None, np.ndarray | None]:
    """Return the classes of graphs, their names, and the numbers to predict."""
    labels = classes = None
    for part, targets in (("labels", marks), ("attributes", numbers)):
        if targets is not None and len(targets) != count:
            raise BadInput(f"{uri}: {len(targets)} {part} for {count} graphs.")
    if marks is not None and marks.shape[1] == 1 and (marks == np.rint(marks)).all():
        known, labels = np.unique(marks[:, 0].astype(np.int64), return_inverse=True)
        classes, marks = [str(k) for k in known], None
    parts = [part for part in (marks, numbers) if part is not None]
    return labels, classes, np.concatenate(parts, axis=1) if parts else None


def _columns(
    labels: np.ndarray | None, numbers: np.ndarray | None, n: int, uri: str, what: str
) -> np.ndarray | None:
    parts = []
    for values in (labels, numbers):
        if values is not None and len(values) != n:
            raise BadInput(f"{uri}: {len(values):,} {what} rows for {n:,} {what}s.")
    if labels is not None:
        parts += [(column[:, None] == np.unique(column)).astype(np.float32) for column in labels.T]
    if numbers is not None:
        parts.append(numbers.astype(np.float32))
    return np.concatenate(parts, axis=1) if parts else None
