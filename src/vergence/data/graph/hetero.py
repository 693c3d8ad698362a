"""Heterogeneous graphs in HeCo's layout: features, meta-path graphs, neighbour lists of one labelled type."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vergence.core.errors import BadInput
from vergence.data.arrays import header, read_npy
from vergence.data.graph import pyg
from vergence.data.graph.base import row_normalise
from vergence.data.graph.build import Edges, build, check_features
from vergence.data.graph.pickles import safe_unpickle
from vergence.data.graph.source import NodeSource
from vergence.data.graph.sparse import dense, read_sparse
from vergence.data.graph.splits import Split

PER_CLASS = (20, 40, 60)


class HeteroSource(NodeSource):
    """The nodes of one type of a typed graph.

    ``hetero`` is the whole of it, a PyG ``HeteroData``: ``hetero["p"].x``, for every meta-path
    ``hetero["p", "pap", "p"].edge_index``, for every list of neighbours
    ``hetero["p", "to", "a"].edge_index``. A batch is a ``Data`` of the labelled type along the
    sparsest meta-path, so that every encoder can read it, and carries ``hetero`` along. It always is
    the whole graph.

    Args:
        hetero: See above.
        target: Letter of the labelled type.
        paths: Names of the meta-paths, as in ``hetero``.
        flat: Of the labelled type, along the sparsest meta-path.
        uri: What was opened.
        **options: As of ``NodeSource``.
    """

    def __init__(
        self, hetero: pyg.HeteroData, target: str, paths: list[str], flat: pyg.Data, uri: str, **options: Any
    ) -> None:
        self.hetero, self.target_type, self.paths = hetero, target, paths
        super().__init__(flat, uri, **options)

    def scale_features(self) -> None:
        for kind in self.hetero.node_types:
            if "x" in self.hetero[kind]:
                self.hetero[kind].x = row_normalise(self.hetero[kind].x, self.uri)
        self.data.x = self.hetero[self.target_type].get("x")

    def fitting_batch(self, paper: int, most: int) -> int:
        return len(self)

    def around(self, samples: np.ndarray, *, seed: int = 0) -> pyg.Data:
        graph = self.whole_graph()
        return self._stamped(graph, samples, self.rows[samples])

    def _stamped(self, graph: pyg.Data, samples: np.ndarray, seeds: np.ndarray | None) -> pyg.Data:
        graph.hetero = self.hetero
        return super()._stamped(graph, samples, seeds)

    def hyperedges(self, via: str) -> np.ndarray:
        """Return pairs ``(2, m)`` of labelled nodes and the neighbours of type ``via`` that join them."""
        return self.hetero[self.target_type, "to", via].edge_index.numpy()


def hetero(folder: Path, name: str, uri: str) -> HeteroSource:
    """Open ``hetero:FOLDER/NAME`` as the HeCo release (arXiv:2105.09111) lays it out.

    ``labels.npy``; ``T_feat.npz`` of each type T; ``TXT.npz`` meta-path graphs, which begin and end
    with the labelled type; ``nei_X.npy``, lists of neighbours of type X; ``train_20.npy`` and its
    kind, the splits "heco-20", "heco-40", "heco-60".

    Raises:
        BadInput: If a file is missing, refused or does not fit the others.
    """
    root = folder / name
    if not (root / "labels.npy").is_file():
        raise BadInput(f"{uri}: there is no {root / 'labels.npy'}; the layout is that of the HeCo release.")
    y = _labels(root / "labels.npy", uri)
    stems = sorted(p.stem for p in root.glob("*.npz"))
    types = [stem[0] for stem in stems if re.fullmatch(r"[a-z]_feat", stem)]
    paths = [stem for stem in stems if len(stem) >= 3 and stem == stem[::-1] and "_" not in stem]
    if not paths:
        raise BadInput(f"{uri}: {root} holds no meta-path graph such as pap.npz.")
    target, graph, notes = paths[0][0], pyg.HeteroData(), []
    sizes = {}
    for kind in types:
        file = root / f"{kind}_feat.npz"
        x = dense(read_sparse(file), file)
        check_features(x, uri)
        graph[kind].x = torch.from_numpy(x)
        sizes[kind] = len(x)
    if sizes.get(target, len(y)) != len(y):
        raise BadInput(f"{uri}: {len(y)} labels for {sizes[target]} nodes of type {target}.")
    graph[target].y = torch.from_numpy(y)
    graph[target].num_nodes = len(y)
    flats: dict[str, pyg.Data] = {}
    for path in paths:
        matrix = read_sparse(root / f"{path}.npz").tocoo()
        if matrix.shape != (len(y), len(y)):
            raise BadInput(f"{uri}: {path}.npz is {matrix.shape}, not ({len(y)}, {len(y)}).")
        flat, graph_notes = build(Edges(np.stack([matrix.row, matrix.col]), len(y)), uri, y=y)
        notes += [f"{path}: {note}" for note in graph_notes]
        flats[path] = flat
        graph[target, path, target].edge_index = flat.edge_index
    for file in sorted(root.glob("nei_*.npy")):
        other = file.stem[-1]
        pairs = neighbour_lists(file)
        size = sizes.get(other, int(pairs[1].max(initial=-1)) + 1)
        most = min(size, np.iinfo(np.int32).max)
        if pairs.size and (pairs[0].max() >= len(y) or pairs.min() < 0 or pairs[1].max() >= most):
            raise BadInput(f"{uri}: {file.name} names a node that is not there ({size} of type {other}).")
        graph[other].num_nodes = size
        graph[target, "to", other].edge_index = torch.from_numpy(pairs)
    sparsest = min(flats.values(), key=lambda data: data.num_edges)
    if target in sizes:
        sparsest.x = graph[target].x
    return HeteroSource(
        graph, target, paths, sparsest, uri,
        classes=[str(i) for i in range(int(y.max()) + 1)], fixed=_heco_splits(root, len(y), uri), notes=notes,
    )  # fmt: skip


def _heco_splits(root: Path, n: int, uri: str) -> list[Split]:
    splits = []
    for labels in PER_CLASS:
        files = [root / f"{part}_{labels}.npy" for part in ("train", "val", "test")]
        if all(file.is_file() for file in files):
            rows = [np.sort(_whole_numbers(file)) for file in files]
            if any(len(part) and (part[0] < 0 or part[-1] >= n) for part in rows):
                raise BadInput(f"{uri}: the split of {labels} labels a class names a node that is not there.")
            try:
                splits.append(Split(f"heco-{labels}", *rows))
            except ValueError as error:
                raise BadInput(f"{uri}: {error}") from None
    return splits


def _labels(path: Path, uri: str) -> np.ndarray:
    y = _whole_numbers(path)
    if not len(y) or y.min() < 0 or y.max() >= max(len(y), 2):
        raise BadInput(f"{uri}: {path.name} does not hold the numbers of classes, from 0 on, of its nodes.")
    return y


def _whole_numbers(path: Path) -> np.ndarray:
    values = read_npy(path)
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and np.isfinite(values).all())
    if values.ndim != 1 or not whole or (values != np.rint(values)).any():
        raise BadInput(f"{path} is not a list of whole numbers, but {values.shape} of {values.dtype}.")
    return values.astype(np.int64)


def neighbour_lists(path: Path) -> np.ndarray:
    """Return lists of neighbours as pairs ``(2, m)``; the lists are pickled, and unpickled with care."""
    raw = path.read_bytes()
    file = io.BytesIO(raw)
    try:
        _, dtype = header(file)
    except Exception as error:  # noqa: BLE001 - numpy lets out what its parser raises
        raise BadInput(f"{path} is not an array as numpy saves it: {error}.") from None
    rows = safe_unpickle(raw[file.tell() :], path) if dtype.hasobject else read_npy(path)
    try:
        lists = [np.atleast_1d(np.asarray(row)).astype(np.int64) for row in rows]
        starts = np.repeat(np.arange(len(lists)), [len(row) for row in lists])
        return np.stack([starts, np.concatenate([np.empty(0, np.int64), *lists])])
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise BadInput(f"{path} holds no lists of whole numbers: {error}.") from None
