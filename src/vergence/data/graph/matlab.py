"""Graphs as MATLAB files, as BlogCatalog comes: a matrix ``network``, and ``group``, the labels of nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from vergence.core.errors import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import NodeSource


def matlab(path: Path, uri: str) -> NodeSource:
    """Open a ``.mat`` file with ``network`` ``(N, N)`` and, if there is one, ``group`` ``(N, C)``.

    Where every node has one group, groups are labels; otherwise they are ``values``. A matrix that is
    not symmetric is read as undirected.

    Raises:
        BadInput: If there is no such matrix, or the two do not fit.
    """
    from scipy.io import loadmat

    try:
        held = loadmat(str(path))
    except Exception as error:  # noqa: BLE001 - scipy raises all kinds; version 7.3 is HDF5
        raise BadInput(f"{uri} is not a MATLAB file of version 7.2 or older: {error}.") from None
    network = held.get("network")
    if network is None or network.ndim != 2 or network.shape[0] != network.shape[1]:
        inside = ", ".join(name for name in held if not name.startswith("__")) or "nothing"
        raise BadInput(f"{uri} needs a square matrix called network; it holds {inside}.")
    matrix = sp.coo_array(network)
    n, values = matrix.shape[0], {}
    if matrix.nnz and not (matrix.data == 1).all():
        values["edge_weight"] = np.asarray(matrix.data, np.float64)
    y, classes = _groups(held.get("group"), n, uri)
    graph, notes = build(Edges(np.stack([matrix.row, matrix.col]), n, values), uri, y=y)
    return NodeSource(graph, uri, classes=classes, notes=notes)


def _groups(group: Any, n: int, uri: str) -> tuple[np.ndarray | None, list[str] | None]:
    if group is None:
        return None, None
    marks = group.toarray() if sp.issparse(group) else np.asarray(group)
    if marks.shape[0] != n:
        raise BadInput(f"{uri}: group has {marks.shape[0]:,} rows for {n:,} nodes.")
    if marks.shape[1] == 1:
        known, y = np.unique(marks[:, 0], return_inverse=True)
        return y, [str(k) for k in known]
    classes = [str(i) for i in range(marks.shape[1])]
    many = (marks > 0).sum(1)
    if many.max() <= 1:
        return np.where(many, (marks > 0).argmax(1), -1), classes
    return (marks > 0).astype(np.int8), classes
