"""Graphs as MATLAB files, as BlogCatalog comes: a matrix ``network``, and ``group``, the labels of nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp

from vergence.core.errors import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import NodeSource
from vergence.data.graph.sparse import checked, dense
from vergence.data.matlab import read as read_matlab


def matlab(path: Path, uri: str) -> NodeSource:
    """Open a ``.mat`` file with ``network`` ``(N, N)`` and, if there is one, ``group`` ``(N, C)``.

    Where every node has one group, groups are labels; otherwise they are ``values``. A matrix that is
    not symmetric is read as undirected.

    Raises:
        BadInput: If there is no such matrix, the two do not fit, or reading them fails.
    """
    arrays = read_matlab("graph", path.read_bytes(), uri)
    matrix = _matrix(arrays, "network", uri)
    if matrix is None or matrix.shape[0] != matrix.shape[1]:
        shape = "missing" if matrix is None else str(matrix.shape)
        raise BadInput(f"{uri} needs a square matrix called network; it is {shape}.")
    n, values = matrix.shape[0], {}
    if matrix.nnz and not (matrix.data == 1).all():
        values["edge_weight"] = np.asarray(matrix.data, np.float64)
    y, classes = _groups(_matrix(arrays, "group", uri), n, uri)
    graph, notes = build(Edges(np.stack([matrix.row, matrix.col]), n, values), uri, y=y)
    return NodeSource(graph, uri, classes=classes, notes=notes)


def _matrix(arrays: dict[str, np.ndarray], name: str, uri: str) -> sp.coo_array | None:
    if name in arrays:
        return sp.coo_array(arrays[name])
    if f"{name}.shape" not in arrays:
        return None
    row, column, entries = (arrays[f"{name}.{part}"] for part in ("row", "col", "data"))
    shape = tuple(arrays[f"{name}.shape"].tolist())
    return checked(sp.coo_array((entries, (row, column)), shape=shape), f"{name} of {uri}").tocoo()


def _groups(group: sp.coo_array | None, n: int, uri: str) -> tuple[np.ndarray | None, list[str] | None]:
    if group is None:
        return None, None
    marks = dense(group, f"group of {uri}", dtype=group.dtype)
    if marks.shape[0] != n:
        raise BadInput(f"{uri}: group has {marks.shape[0]:,} rows for {n:,} nodes.")
    if not marks.size:
        return None, None
    if marks.shape[1] == 1:
        known, y = np.unique(marks[:, 0], return_inverse=True)
        return y, [str(k) for k in known]
    classes = [str(i) for i in range(marks.shape[1])]
    many = (marks > 0).sum(1)
    if many.max() <= 1:
        return np.where(many, (marks > 0).argmax(1), -1), classes
    return (marks > 0).astype(np.int8), classes
