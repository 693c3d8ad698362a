"""Graphs, shapes and arrays that are wrong in what they say: indices, pointers, headers, pickled state."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.io import savemat

from vergence.benchmarks.stress.drawn import (
    EDGES,
    drawn_lines,
    edged,
    exchanged,
    header,
    npy,
    pickled,
    saved,
    sparse_parts,
)
from vergence.benchmarks.stress.hostile import GRAPHS, Kind, planetoid_parts, planetoids, read_planetoid
from vergence.data import open as open_source


def touch(source: Any) -> None:
    """Use what was opened as training would: a batch, a sample, its names."""
    batch = next(source.loader(4))
    assert len(batch) > 0
    source.sample(0), repr(source), list(source.names[:3]), list(source.notes)


def read_in(folder: Path, name: str, raw: bytes, files: dict[str, bytes], uri: str) -> None:
    """Open a source of several files, of which one is the case."""
    place = folder / "case"
    for other, content in {**files, name: raw}.items():
        path = place / other
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    touch(open_source(uri.format(place)))


def one_of(
    files: dict[str, bytes], uri: str
) -> tuple[Callable[..., list[bytes]], Callable[[Path, bytes], None]]:
    """Return the seeds and the reader of a layout of several files, each named in front of its content."""

    def read(folder: Path, raw: bytes) -> None:
        name, _, content = raw.partition(b"\0")
        known = {other.encode(): other for other in files}
        read_in(folder, known.get(name, next(iter(files))), content if name in known else raw, files, uri)

    return lambda folder: [name.encode() + b"\0" + content for name, content in files.items()], read


def named(suffix: str, uri: str = "{}") -> Callable[[Path, bytes], None]:
    """Return a reader of single files."""

    def read(folder: Path, raw: bytes) -> None:
        path = folder / f"case{suffix}"
        path.write_bytes(raw)
        touch(open_source(uri.format(path)))

    return read


def _heco() -> dict[str, bytes]:
    wrote = np.eye(6, 5, dtype=np.int64) + np.eye(6, 5, 1, dtype=np.int64) + np.eye(6, 5, -1, dtype=np.int64)
    lists = np.empty(6, object)
    lists[:] = [np.flatnonzero(row) for row in wrote]
    files = {"labels.npy": npy(np.arange(6) % 2), "nei_a.npy": npy(lists), "train_20.npy": npy(np.arange(2))}
    files |= {"val_20.npy": npy(np.array([2, 3])), "test_20.npy": npy(np.array([4, 5]))}
    for name, matrix in {"pap": wrote @ wrote.T, "p_feat": np.eye(6), "a_feat": np.eye(5)}.items():
        file = io.BytesIO()
        sp.save_npz(file, sp.csr_array(matrix))
        files[f"{name}.npz"] = file.getvalue()
    return files


def drawn_heco(draw: np.random.Generator) -> bytes:
    name = str(draw.choice(list(_heco())))
    if name.endswith(".npz"):
        n, m = {"pap.npz": (6, 6), "p_feat.npz": (6, 6), "a_feat.npz": (5, 5)}[name]
        return name.encode() + b"\0" + saved(sparse_parts(draw, n, m), packed=bool(draw.integers(2)))
    if name == "nei_a.npy" and draw.random() < 0.6:
        raw = npy(np.array([0], object))
        return name.encode() + b"\0" + raw[: raw.index(b"\n") + 1] + pickled(draw)
    return name.encode() + b"\0" + (header(draw) if draw.random() < 0.7 else npy(edged(np.arange(6), draw)))


def drawn_planetoid(draw: np.random.Generator) -> bytes:
    names = [name for name in planetoid_parts() if not name.endswith("index")]
    if draw.random() < 0.1:
        return b"ind.toy.test.index\0" + "\n".join(str(draw.choice(EDGES)) for _ in range(3)).encode()
    return str(draw.choice(names)).encode() + b"\0" + pickled(draw)


def mat(held: dict[str, Any], *, packed: bool) -> bytes:
    """Return a MATLAB file without the time at which it was made."""
    file = io.BytesIO()
    savemat(file, held, do_compression=packed)
    return b"MATLAB 5.0 MAT-file".ljust(116) + file.getvalue()[116:]


def matlabs(folder: Path) -> list[bytes]:
    ring = sp.csc_array(np.eye(6) + np.roll(np.eye(6), 1, 0))
    groups = np.eye(6)[:, :2]
    several: tuple[dict[str, Any], ...] = (
        {"network": ring, "group": groups},
        {"network": ring, "group": sp.csc_array(groups)},
        {"network": np.ones((6, 6)), "group": np.arange(6)[:, None]},
        {"network": ring, "note": "words", "cells": np.array([1, "x"], object)},
    )
    return [mat(held, packed=packed) for held in several for packed in (False, True)]


def drawn_matlab(draw: np.random.Generator) -> bytes:
    """Return a MATLAB file with edges among its whole numbers, its elements packed or not."""
    raws = matlabs(Path())
    raw = bytearray(raws[2 * draw.integers(len(raws) // 2)])
    for _ in range(draw.integers(1, 4)):
        at = int(draw.integers(32, len(raw) // 4)) * 4
        raw[at : at + 4] = struct.pack("<i", int(np.int64(draw.choice(EDGES)).astype(np.int32)))
    if draw.integers(2):
        return bytes(raw)
    packed, at = bytes(raw[:128]), 128
    while at + 8 <= len(raw):
        size = 8 + int.from_bytes(raw[at + 4 : at + 8], "little")
        part = zlib.compress(bytes(raw[at : at + size]))
        packed, at = packed + struct.pack("<II", 15, len(part)) + part, at + size
    return packed


def read_boundaries(folder: Path, raw: bytes) -> None:
    from vergence.data.matlab import read

    maps = read("boundaries", raw, "case.mat")["maps"]
    assert maps.dtype == bool and maps.ndim == 3


def boundaries(folder: Path) -> list[bytes]:
    cells = np.empty((1, 2), object)
    for k in range(2):
        cells[0, k] = {
            "Boundaries": np.eye(5, 7, k).astype(np.uint8),
            "Segmentation": np.ones((5, 7), np.uint16),
        }
    return [mat({"groundTruth": cells}, packed=packed) for packed in (False, True)]


def edge_texts(folder: Path) -> list[bytes]:
    pairs = [(i, (i + 1) % 9) for i in range(9)]
    plain = "# a ring\n" + "".join(f"{a} {b}\n" for a, b in pairs)
    words = "".join(f"n{a},n{b},{a + 0.5}\n" for a, b in pairs)
    return [
        plain.encode(),
        words.encode(),
        "".join(f"{a}\t{b}\t{i}\n" for i, (a, b) in enumerate(pairs)).encode(),
    ]


def markups(kind: str) -> Callable[[Path], list[bytes]]:
    def seeds(folder: Path) -> list[bytes]:
        import networkx as nx

        club = nx.karate_club_graph()
        file = io.BytesIO()
        getattr(nx, f"write_{kind}")(club, file)
        return [file.getvalue()]

    return seeds


_TU = {
    "toy/toy_A.txt": b"1, 2\n2, 1\n3, 4\n4, 3\n5, 6\n6, 5\n",
    "toy/toy_graph_indicator.txt": b"1\n1\n2\n2\n3\n3\n",
    "toy/toy_graph_labels.txt": b"1\n-1\n1\n",
    "toy/toy_node_labels.txt": b"0\n1\n0\n2\n0\n1\n",
    "toy/toy_node_attributes.txt": b"0.5,1\n1,2\n3,4\n5,6\n7,8\n9,0\n",
    "toy/toy_edge_labels.txt": b"0\n0\n1\n1\n0\n0\n",
}


_SAGE = {
    "toy-G.json": json.dumps(
        {
            "directed": False,
            "nodes": [{"id": i, "val": i == 2, "test": i == 3} for i in range(5)],
            "links": [{"source": i, "target": (i + 1) % 5} for i in range(5)],
        }
    ).encode(),
    "toy-id_map.json": json.dumps({str(i): i for i in range(5)}).encode(),
    "toy-class_map.json": json.dumps({str(i): i % 2 for i in range(5)}).encode(),
    "toy-feats.npy": npy(np.eye(5)),
}


def drawn_tu(draw: np.random.Generator) -> bytes:
    return str(draw.choice(list(_TU))).encode() + b"\0" + drawn_lines(draw)


def drawn_json(draw: np.random.Generator) -> bytes:
    """Return GraphSAGE's files with a value exchanged anywhere in them."""
    name = str(draw.choice(list(_SAGE)))
    if name.endswith(".npy"):
        return name.encode() + b"\0" + header(draw)
    return name.encode() + b"\0" + json.dumps(exchanged(json.loads(_SAGE[name]), draw)).encode()


def clouds(kind: str) -> Callable[[Path], list[bytes]]:
    points = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    text = "".join(" ".join(f"{x:.3f}" for x in point) + "\n" for point in points)
    fields = "".join(f"property float {axis}\n" for axis in "xyz")
    head = "ply\nformat {} 1.0\nelement vertex 8\n" + fields + "end_header\n"
    corners = "".join(f"v {line}\n" for line in text.splitlines())
    made = {
        ".npy": [npy(points), npy(np.stack([points, points]))],
        ".xyz": [text.encode()],
        ".off": [f"OFF\n8 0 0\n{text}".encode()],
        ".obj": [f"{corners}f 1 2 3\n".encode()],
        ".ply": [
            (head.format("ascii") + text).encode(),
            head.format("binary_little_endian").encode() + points.tobytes(),
        ],
    }
    return lambda folder: made[kind]


_heco_seeds, _read_heco = one_of(_heco(), "hetero:{}")
_tu_seeds, _read_tu = one_of(_TU, "tu:{}/toy")
_sage_seeds, _read_sage = one_of(_SAGE, "graphsage:{}/toy")


FILES = [
    Kind("hetero", _heco_seeds, _read_heco, drawn_heco, imports=GRAPHS),
    Kind("planetoid-drawn", planetoids, read_planetoid, drawn_planetoid, imports=GRAPHS),
    Kind("matlab", matlabs, named(".mat"), drawn_matlab, imports=GRAPHS),
    Kind("boundaries", boundaries, read_boundaries),
    Kind("edgelist", edge_texts, named(".edgelist"), drawn_lines, imports=GRAPHS),
    Kind("hyper", edge_texts, named(".txt", "hyper:{}"), drawn_lines, imports=GRAPHS),
    Kind(
        "temporal",
        lambda folder: edge_texts(folder)[1:],
        named(".csv", "temporal:{}"),
        drawn_lines,
        imports=GRAPHS,
    ),
    Kind("gml", markups("gml"), named(".gml"), imports=(*GRAPHS, "networkx")),
    Kind("graphml", markups("graphml"), named(".graphml"), imports=(*GRAPHS, "networkx")),
    Kind("tu", _tu_seeds, _read_tu, drawn_tu, imports=GRAPHS),
    Kind("graphsage", _sage_seeds, _read_sage, drawn_json, imports=GRAPHS),
    Kind("npy", clouds(".npy"), named(".npy"), header, imports=GRAPHS),
    *(Kind(k[1:], clouds(k), named(k), imports=GRAPHS) for k in (".xyz", ".off", ".obj", ".ply")),
]
