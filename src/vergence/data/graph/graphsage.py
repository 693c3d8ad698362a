"""GraphSAGE's layout, in which its graphs and GAIN's roads were published: JSON and an array of features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from vergence.core.errors import BadInput
from vergence.data.arrays import read_npy
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import NodeSource
from vergence.data.graph.splits import Split


def graphsage(folder: Path, name: str, uri: str) -> NodeSource:
    """Open ``graphsage:FOLDER/NAME``, such as GAIN's ``graphsage:DIR/linkoping-osm``.

    ``NAME-G.json`` lists nodes, with an ``id`` and marks ``val`` and ``test``, and links between ids, or
    between places in that list; ``NAME-class_map.json`` has a class for each id, or a list of marks;
    ``NAME-feats.npy`` the features ``(N, F)``, in the order of ``NAME-id_map.json``. The split that the marks
    give is called "graphsage".

    Raises:
        BadInput: If a file is missing or does not fit the others.
    """
    graph = _json(folder, f"{name}-G.json", uri)
    try:
        ids = [str(node["id"]) for node in graph["nodes"]]
        ends = [(link["source"], link["target"]) for link in graph["links"]]
        role = np.array([2 if node.get("test") else int(bool(node.get("val"))) for node in graph["nodes"]])
        directed = bool(graph.get("directed"))
    except (TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"{uri}: {name}-G.json does not list nodes and links with ids ({error}).") from None
    place = {node: i for i, node in enumerate(ids)}
    if len(place) < len(ids):
        raise BadInput(f"{uri}: {name}-G.json has a node twice.")
    rows, marks = (_json(folder, f"{name}-{part}.json", uri) for part in ("id_map", "class_map"))
    by_id = all(str(end) in place for link in ends for end in link)
    try:
        pairs = np.array(
            [[place[str(end)] if by_id else int(end) for end in link] for link in ends], np.int64
        )
        row = np.array([int(rows[node]) for node in ids], np.int64)
        y = np.array([marks[node] for node in ids])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"{uri}: its files do not name the same nodes ({error}).") from None
    classes = None
    if y.dtype.kind not in ("biufU" if y.ndim == 1 else "biuf") or y.ndim > 2:
        raise BadInput(
            f"{uri}: {name}-class_map.json gives nodes neither a class nor marks, as many for each."
        )
    if y.ndim == 1:
        known, y = np.unique(y, return_inverse=True)
        classes = [str(k) for k in known]
    edges = Edges(pairs.reshape(-1, 2).T, len(ids), directed=directed)
    built, notes = build(edges, uri, x=_features(folder / f"{name}-feats.npy", row, uri), y=y)
    split = Split("graphsage", *(np.flatnonzero(role == task) for task in range(3)))
    fixed = [split] if len(split.val) and len(split.test) and classes else []
    return NodeSource(built, uri, names=ids, classes=classes, fixed=fixed, notes=notes, directed=directed)


def _json(folder: Path, name: str, uri: str) -> Any:
    try:
        return json.loads((folder / name).read_bytes())
    except FileNotFoundError:
        raise BadInput(f"{uri}: there is no {folder / name}.") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{folder / name} is not JSON: {error}.") from None


def _features(path: Path, row: np.ndarray, uri: str) -> np.ndarray | None:
    """Return a row a node, ``(N, F)``, or None where there is no such file."""
    if not path.is_file():
        return None
    x = read_npy(path)
    try:
        x = x.astype(np.float32)
    except (ValueError, TypeError) as error:
        raise BadInput(f"{path} holds no numbers: {error}.") from None
    if x.ndim != 2 or ((row < 0) | (row >= len(x))).any():
        raise BadInput(f"{uri}: {path.name} is {x.shape}, and nodes name rows that it does not have.")
    return x[row]
