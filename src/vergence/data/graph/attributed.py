"""A graph of three files: its edges, a table of its nodes, and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from vergence.core.errors import BadInput
from vergence.data.columns import codes, numbers, plain, read_parquet, text
from vergence.data.delimited import read_csv
from vergence.data.graph.build import Edges, build
from vergence.data.graph.edges import labels_beside, labels_of, numbered
from vergence.data.graph.lines import edge_columns
from vergence.data.graph.source import NodeSource
from vergence.data.graph.temporal import TemporalSource
from vergence.data.roles import CATEGORICAL, NUMERIC, reading_of, role
from vergence.data.written import decimal_of, written_as

INDEX = "__index_level_0__"  # of a data frame, as pandas writes it
MOST = 256  # categories of a column that become features


def edges(
    path: Path, uri: str, columns: Sequence[str] | None = None, *, features: str = "", labels: str = ""
) -> NodeSource:
    """Open ``edges:FILE?features=NODES.csv&labels=LABELS.csv``.

    Nodes are those of the edges and of the table of features.

    Args:
        path: A file of one edge a line; see ``edges.edgelist``.
        uri: What was opened.
        columns: The role of each column, see ``lines.ROLES``; None tells them by the header or their place.
        features: A csv or parquet file whose first column, or whose index, names the node. Numbers are
            brought to mean 0 and deviation 1, missing ones to 0, categories are one-hot, columns of only 0
            and 1 stay.
        labels: A file of a node and its class a line, or a column of ``features``; without, the file beside
            ``path`` that ends in ``.labels``.

    Raises:
        BadInput: If a file cannot be read, or a node stands twice in a table.
    """
    timed = columns is not None and "time" in columns
    table, notes = _nodes(features, uri) if features else (pa.table({}), [])
    read = edge_columns(path, uri, columns, timed=timed)
    known = plain(text(table.column(0), table.column_names[0], features)) if features else pa.array([])
    rows = known.cast(pa.string()).to_pylist()
    names, place = numbered(np.concatenate([read.ends.astype(str), np.array(rows, str)]))
    pairs, at = place[: len(read.ends)].reshape(-1, 2), place[len(read.ends) :]
    if len(set(rows)) < len(rows):
        raise BadInput(f"{uri}: {features} has a node twice; leave one row for each.")
    label = labels if labels in table.column_names and not Path(labels).is_file() else ""
    x, reading = _features(table, label, at, len(names), features) if features else (None, "")
    y, classes = _labels(path, names, labels, label, table, at)
    graph, more = build(Edges(pairs.T, len(names), read.values), uri, x=x, y=y)
    if features and (bare := len(names) - len(rows)):
        more.append(f"{bare:,} nodes have no row in {features}: their features are 0")
    if alone := len(names) - len(np.unique(pairs)):
        more.append(f"{alone:,} nodes have no edges")
    cls = TemporalSource if timed else NodeSource
    source = cls(graph, uri, names=names, classes=classes, notes=[*read.notes, *notes, *more])
    source.reading = "; ".join(filter(None, [read.reading, reading]))
    return source


def _nodes(file: str, uri: str) -> tuple[pa.Table, list[str]]:
    """Return the rows of a table of nodes that name one, that name first, and notes."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise BadInput(f"{uri}: there is no file {path} of features; its first column names the node.")
    table, notes = (read_parquet(path), []) if path.suffix.lower() == ".parquet" else read_csv(path)
    if INDEX in table.column_names:
        table = table.select([INDEX, *(name for name in table.column_names if name != INDEX)])
    if bare := table.column(0).null_count:
        notes = [*notes, f"{bare:,} rows of {file} without a node were left out"]
        table = table.filter(table.column(0).is_valid())
    return table, notes


def _features(table: pa.Table, label: str, at: np.ndarray, nodes: int, what: str) -> tuple[np.ndarray, str]:
    """Return the features ``(N, F)`` of all nodes, those of the table in the rows ``at``, and the reading."""
    decimal, parts = decimal_of(table), []
    said: dict[str, dict[str, str]] = {NUMERIC: {}, CATEGORICAL: {}, "left out": {}}
    for name, column in list(zip(table.column_names, table.columns, strict=True))[1:]:
        if name == label:
            continue
        kind = role(name, column, decimal)
        if kind == NUMERIC:
            said[NUMERIC][name] = written_as(column, decimal)
            parts.append(_scaled(numbers(column, name, what, decimal)[0])[:, None])
        elif kind == CATEGORICAL:
            code, words = codes(text(column, name, what), name, what)
            said[CATEGORICAL][name] = f"{len(words):,} values"
            parts.append(code[:, None] == np.arange(1, min(len(words), MOST) + 1))
        else:
            said["left out"][name] = kind
    if not parts:
        raise BadInput(f"{what} has no column of numbers or categories beside the node's name.")
    x = np.zeros((nodes, sum(part.shape[1] for part in parts)), np.float32)
    x[at] = np.concatenate(parts, axis=1)
    named = {"node": table.column_names[0], **({"label": label} if label else {})}
    return x, reading_of(said[NUMERIC], said[CATEGORICAL], named, said["left out"])


def _scaled(values: np.ndarray) -> np.ndarray:
    known = values[~np.isnan(values)].astype(np.float64)
    if np.isin(known, (0, 1)).all():
        return np.nan_to_num(values)
    deviation = known.std()
    return np.nan_to_num((values - known.mean()) / (deviation if deviation > 0 else 1.0))


def _labels(
    path: Path, names: list[str], labels: str, column: str, table: pa.Table, at: np.ndarray
) -> tuple[np.ndarray | None, list[str] | None]:
    if not labels:
        return labels_beside(path, names)
    if not column:
        return labels_of(Path(labels).expanduser(), names)
    values = plain(text(table[column], column, labels)).cast(pa.string())
    known = np.asarray(values.is_valid().to_numpy(zero_copy_only=False), bool)
    classes, coded = numbered(np.array(values.drop_null().to_pylist(), str))
    y = np.full(len(names), -1, np.int64)
    y[at[known]] = coded
    return y, classes
