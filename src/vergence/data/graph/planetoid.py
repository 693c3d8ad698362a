"""Planetoid: Cora, Citeseer and PubMed with the public split of 2016, as pickled ``ind.NAME.*`` files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vergence.core.errors import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.pickles import safe_unpickle
from vergence.data.graph.source import NodeSource
from vergence.data.graph.sparse import LARGEST, checked
from vergence.data.graph.splits import Split

PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph")
_VALIDATING = 500  # the nodes after the training nodes, by custom


def planetoid(folder: Path, name: str, uri: str) -> NodeSource:
    """Open ``planetoid:FOLDER/NAME``.

    Nodes of the test set that the file of test rows leaves out (15 isolated ones of Citeseer) have
    zero features and no label. Classes go by number; the files name none.

    Raises:
        BadInput: If a file is missing or is not what Planetoid wrote.
    """
    parts: dict[str, Any] = {part: _part(folder, name, part, uri) for part in PARTS}
    order = _test_order(folder / f"ind.{name}.test.index", uri)
    try:
        known, judged = checked(parts["allx"], uri), checked(parts["tx"], uri)
        ally, ty, train = np.asarray(parts["ally"]), np.asarray(parts["ty"]), len(parts["y"])
        lists = [np.array([[node, v] for v in near], np.int64) for node, near in parts["graph"].items()]
        pairs = np.concatenate([np.empty((0, 2), np.int64), *(pair.reshape(-1, 2) for pair in lists)])
        fits = (
            len(order) == judged.shape[0] == len(ty) and train <= known.shape[0] == len(ally) == order.min()
        )
        marks = ally.ndim == ty.ndim == 2 and ally.dtype.kind in "biuf" and ty.dtype.kind in "biuf"
        fits = fits and marks and ally.shape[1] == ty.shape[1] > 0 and known.shape[1] == judged.shape[1]
        n = int(order.max()) + 1
        fits = fits and n - len(ally) <= 2 * len(order)  # of Citeseer's test nodes, 1.5 % have no row
        dense = n * max(known.shape[1], 1)
    except Exception as error:  # noqa: BLE001 - whatever the parts of a broken file lead to
        raise BadInput(f"{uri}: its parts are not of Planetoid's kinds ({error}).") from None
    if not fits:
        raise BadInput(f"{uri}: its parts do not fit each other; copy all eight files anew.")
    if dense > LARGEST:
        raise BadInput(f"{uri}: its features would have {dense:,} values; up to {LARGEST:,} are read.")
    x = np.zeros((n, known.shape[1]), np.float32)
    y = np.full(n, -1, np.int64)
    known.astype(np.float32).toarray(out=x[: len(ally)])
    x[order] = judged.astype(np.float32).toarray()
    y[: len(ally)] = np.where(ally.any(1), ally.argmax(1), -1)
    y[order] = np.where(ty.any(1), ty.argmax(1), -1)
    graph, notes = build(Edges(pairs.T, n), uri, x=x, y=y)
    val = np.arange(train, min(train + _VALIDATING, len(ally)))
    public = Split("public", np.arange(train), val[y[val] >= 0], np.sort(order))
    if absent := int((y < 0).sum()):
        notes.append(f"{absent} nodes have no label")
    classes = [str(i) for i in range(ally.shape[1])]
    return NodeSource(graph, uri, classes=classes, fixed=[public], notes=notes)


def _part(folder: Path, name: str, part: str, uri: str) -> Any:
    path = folder / f"ind.{name}.{part}"
    if not path.is_file():
        raise missing(folder, path.name, uri)
    return safe_unpickle(path.read_bytes(), path)


def missing(folder: Path, name: str, uri: str) -> BadInput:
    """Return the error for a file that is not there, naming what the folder holds instead."""
    if not folder.is_dir():
        return BadInput(f"{uri}: there is no folder {folder}.")
    sets = sorted({path.name.split(".")[1] for path in folder.glob("ind.*.*")})
    hint = f"it holds {', '.join(sets)}" if sets else "it holds no Planetoid set"
    return BadInput(f"{uri}: {name} is not in {folder}; {hint}.")


def _test_order(path: Path, uri: str) -> np.ndarray:
    try:
        order = np.array([int(line) for line in path.read_text().split()], np.int64)
    except (OSError, ValueError) as error:
        raise BadInput(f"{uri}: {path.name} must list whole numbers: {error}.") from None
    if not len(order) or len(np.unique(order)) < len(order):
        raise BadInput(f"{uri}: {path.name} must list one or more nodes, each once.")
    return order
