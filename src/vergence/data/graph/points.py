"""Point clouds of shapes: arrays, lists of points, and the vertices of meshes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from vergence.core.errors import BadInput
from vergence.data.arrays import read_npy
from vergence.data.graph import pyg
from vergence.data.graph.source import GraphsSource

_PLY = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDER = {"binary_little_endian": "<", "binary_big_endian": ">"}


def clouds(
    points: Sequence[np.ndarray],
    uri: str = "clouds",
    *,
    labels: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    classes: list[str] | None = None,
) -> GraphsSource:
    """Return point clouds ``(N_i, 3)`` as a source: graphs without edges whose features are the places.

    Args:
        points: All of them in the plane or all in space, in any unit of length.
        uri: What was opened.
        labels: ``(n,)``, -1 where unknown.
        names: One a cloud; None counts.
        classes: Names of the labels.
    """
    every = np.concatenate([np.asarray(cloud, np.float32) for cloud in points])
    data = pyg.Data(
        x=torch.from_numpy(every), edge_index=torch.zeros(2, 0, dtype=torch.long), num_nodes=len(every)
    )
    ptr = np.concatenate([[0], np.cumsum([len(cloud) for cloud in points])])
    return GraphsSource(data, ptr, uri, labels=labels, names=names, classes=classes)


def shapes(path: Path, uri: str) -> GraphsSource:
    """Open a file, or a folder of files, of ``READERS``; folders inside it are labels.

    Of meshes the corners are taken. An array ``(n, N, 3)`` holds n clouds of N points.

    Raises:
        BadInput: If a file is something else, or holds no points; the line names the file.
    """
    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in READERS and p.is_file())
    if not files or files[0].suffix.lower() not in READERS:
        raise BadInput(f"{uri} holds no shapes; needs {', '.join(READERS)}, or a folder of them.")
    loaded, names, groups = [], [], []
    for file in files:
        read = _read(file)
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        loaded += read
        names += [name] if len(read) == 1 else [f"{name}:{i}" for i in range(len(read))]
        groups += [str(Path(name).parent)] * len(read)
    width = loaded[0].shape[1]
    other = next((name for name, cloud in zip(names, loaded, strict=True) if cloud.shape[1] != width), None)
    if other is not None:
        raise BadInput(f"{uri}: {names[0]} has {width} coordinates a point and {other} another number.")
    classes, labels = np.unique(groups, return_inverse=True)
    if len(classes) == 1:
        return clouds(loaded, uri, names=names)
    return clouds(loaded, uri, labels=labels.astype(np.int64), names=names, classes=classes.tolist())


def _read(path: Path) -> list[np.ndarray]:
    try:
        array = READERS[path.suffix.lower()](path)
    except Exception as error:  # noqa: BLE001 - whatever the words of a broken file lead to
        said = " ".join(str(error).split())[:120]
        raise BadInput(f"{path} is no readable {path.suffix} of points: {said}.") from None
    shapes = list(array) if array.ndim == 3 else [array]
    fits = array.ndim in (2, 3) and array.dtype.kind in "fiu" and array.shape[-1] in (2, 3)
    if not fits or not shapes or len(shapes[0]) < 3 or not np.isfinite(array).all():
        raise BadInput(
            f"{path} holds numbers {array.shape}; a shape needs 3 or more finite points, (N, 2) or (N, 3), "
            "and several shapes (n, N, 3)."
        )
    return shapes


def _xyz(path: Path) -> np.ndarray:
    return np.loadtxt(path, comments="#", ndmin=2)[:, :3]  # what else stands there are normals or colours


def _obj(path: Path) -> np.ndarray:
    lines = (line.split() for line in path.read_text(errors="replace").splitlines())
    return np.array([line[1:4] for line in lines if line and line[0] == "v"], np.float64)


def _off(path: Path) -> np.ndarray:
    words = " ".join(line.partition("#")[0] for line in path.read_text().splitlines())
    if not words.lstrip().startswith("OFF"):
        raise ValueError("it does not begin with OFF")
    numbers = words.lstrip()[3:].split()  # some files write OFF and the counts as one word
    corners = int(numbers[0])
    return np.array(numbers[3 : 3 + 3 * corners], np.float64).reshape(corners, 3)


def _ply(path: Path) -> np.ndarray:
    raw = path.read_bytes()
    head, ended, body = raw.partition(b"end_header\n" if b"end_header\n" in raw else b"end_header\r\n")
    lines = [line.split() for line in head.decode("ascii", "replace").splitlines() if line.strip()]
    if not ended or lines[0] != ["ply"]:
        raise ValueError("it has no header of PLY")
    form = {line[0]: line[-2] for line in lines[1:2]}["format"]
    elements = [i for i, line in enumerate(lines) if line[0] == "element"]
    if not elements or lines[elements[0]][1] != "vertex":
        raise ValueError("its first element is not vertex")
    count = int(lines[elements[0]][2])
    own = [line for line in lines[elements[0] : [*elements, len(lines)][1]] if line[0] == "property"]
    names = [line[-1] for line in own]
    if form == "ascii":
        rows = [line.split() for line in body.decode("ascii", "replace").splitlines() if line.strip()]
        return np.array(rows[:count], np.float64)[:, [names.index(axis) for axis in "xyz"]]
    kinds = np.dtype([(line[-1], _ORDER[form] + _PLY[line[1]]) for line in own])
    corners = np.frombuffer(body, kinds, count)
    return np.stack([corners[axis] for axis in "xyz"], axis=1).astype(np.float64)


READERS: dict[str, Callable[[Path], np.ndarray]] = {
    ".npy": read_npy, ".xyz": _xyz, ".off": _off, ".obj": _obj, ".ply": _ply,
}  # fmt: skip
