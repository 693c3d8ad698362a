"""What is drawn to be wrong in what it says: numbers at their edges, headers, indices, pickled state."""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any

import numpy as np
import scipy.sparse as sp

ODD_WORDS = (
    "nan", "inf", "-inf", "1e400", "1e-400", "0x10", "", "é", "\ufeff1", "{'w': 1}", '"a b"', "1_0", "٣",
    "%", "\0", "9" * 30, "9" * 5000, "1.5",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 2**63, 1e308, float("nan"), "", "x", "\ud800", [], {}, [[]], [1, "x"], {"a": 1},
    "9" * 5000,
)  # fmt: skip
EDGES = (0, 1, 2, 3, 7, 8, 9, -1, -2, 2**15, 2**20, 2**30, 2**31 - 1, -(2**31), 2**32, 2**62, 2**63 - 1)
TYPES = (
    "<f8", ">f8", "<f4", "<f2", "<i8", ">i4", "|i1", "|u1", "<u8", "|b1", "|O", "<U7", "|S9", "<U99999999",
    "|V0", "|V8", "<M8[ns]", "<m8[D]", "<c16", "<f16", "", "<f3", "O", "<U0", "x", "<i8,<f8",
)  # fmt: skip


def edge(draw: np.random.Generator) -> int:
    return int(draw.choice(EDGES))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def header(draw: np.random.Generator) -> bytes:
    """Return a ``.npy`` file whose header says something else than its content is."""
    shape = tuple(edge(draw) for _ in range(draw.integers(0, 4)))
    kind: Any = str(draw.choice(TYPES))
    if draw.random() < 0.1:
        kind = [("a", kind), ("b", "<f8", (edge(draw),))]
    about: Any = {"descr": kind, "fortran_order": bool(draw.integers(2)), "shape": shape}
    wrong = draw.integers(0, 12)
    if wrong == 0:
        about.pop(str(draw.choice(list(about))))
    elif wrong == 1:
        about[str(draw.choice(list(about)))] = [None, (), "x", 1.5, {}, [[]]][draw.integers(6)]
    text = repr(about) if wrong != 2 else repr(about).replace("}", "L,") + "(" * int(draw.integers(0, 300))
    raw, version = text.encode() + b"\n", int(draw.choice([1, 1, 1, 2, 3, 0, 9]))
    size = len(raw) if draw.random() < 0.9 else edge(draw) % 2**16
    length = struct.pack("<H", size) if version == 1 else struct.pack("<I", size)
    return b"\x93NUMPY" + bytes([version, 0]) + length + raw + draw.bytes(int(draw.integers(0, 200)))


def edged(array: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Return whole numbers with one to three of them at an edge."""
    made = np.array(array, np.int64)
    for _ in range(draw.integers(1, 4)):
        if made.size:
            made.flat[draw.integers(made.size)] = draw.choice(EDGES)
    return made


def sparse_parts(draw: np.random.Generator, n: int = 6, m: int = 6) -> dict[str, Any]:
    """Return the arrays of a saved sparse matrix, some of them wrong."""
    kind = str(
        draw.choice(
            ["csr", "csc", "coo", "bsr", "dia", "lil", "x"], p=[0.4, 0.25, 0.2, 0.05, 0.04, 0.03, 0.03]
        )
    )
    matrix = sp.random_array(
        (n, m), density=0.4, rng=draw, format=kind if kind in ("csr", "csc", "coo") else "csr"
    )
    parts: dict[str, Any] = {
        "format": np.array(kind.encode()),
        "shape": np.array(matrix.shape),
        "data": matrix.data,
    }
    names = ("row", "col") if kind == "coo" else ("indices", "indptr")
    parts.update({name: getattr(matrix, name) for name in names})
    for _ in range(draw.integers(1, 3)):
        name = str(draw.choice(list(parts)))
        way = draw.integers(0, 7)
        if way <= 2 and name != "format":
            parts[name] = edged(parts[name], draw)
        elif way == 3:
            parts[name] = parts[name][: draw.integers(0, 4)] if parts[name].ndim else parts[name]
        elif way == 4:
            wanted = str(draw.choice(["f8", "i1", "u8", "U3", "c16", "M8[s]", "?"]))
            parts[name] = np.zeros(np.shape(parts[name]), wanted)
        elif way == 5:
            parts[name] = np.atleast_1d(parts[name])[None]
        elif len(parts) > 2 and way == 6:
            del parts[name]
    return parts


def saved(parts: dict[str, Any], *, packed: bool) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(file, **parts)
    return file.getvalue()


class State:
    """Pickled as an array, a type or a matrix with a state that was drawn."""

    def __init__(self, made: Any, state: Any) -> None:
        self.made, self.state = made, state

    def __reduce__(self) -> Any:
        return (*self.made.__reduce__()[:2], self.state)


def pickled(draw: np.random.Generator) -> bytes:
    """Return a pickle of an array or a matrix whose state was drawn."""
    dtypes = [
        np.dtype(kind) for kind in ("f4", ">f8", "i8", "O", "S5", "U3", "?", "c16", "M8[s]", "V8", "f8,i4")
    ]
    dtype: Any = dtypes[draw.integers(len(dtypes))]
    if draw.random() < 0.2:
        dtype = State(
            dtype,
            (
                3,
                str(draw.choice(["<", ">", "|", "O", ""])),
                None,
                None,
                None,
                edge(draw),
                edge(draw),
                edge(draw),
            ),
        )
    shape = tuple(edge(draw) for _ in range(draw.integers(0, 3)))
    raw = [draw.bytes(int(draw.integers(0, 80))), [1, [2]], "text", None, 7][draw.integers(5)]
    array = State(np.zeros(1), (edge(draw), shape, dtype, bool(draw.integers(2)), raw))
    way = draw.integers(0, 4)
    if way == 0:
        thing: Any = array
    elif way == 1:
        thing = [array, {edge(draw): array}]
    elif way == 2:
        thing = {i: [edge(draw) for _ in range(draw.integers(0, 4))] for i in range(9)}
    else:
        matrix = sp.csr_matrix(np.eye(6, 5, dtype=np.float32))
        for name in ("indices", "indptr"):
            setattr(
                matrix, name, edged(getattr(matrix, name), draw).astype(draw.choice(["i4", "i8", "f8", "u2"]))
            )
        if draw.random() < 0.3:
            matrix.__dict__["_shape"] = (edge(draw), edge(draw))
        if draw.random() < 0.2:
            matrix.__dict__["data"] = array
        thing = matrix
    return pickle.dumps(thing, protocol=int(draw.choice([0, 2, 4])))


def drawn_lines(draw: np.random.Generator) -> bytes:
    """Return lines of numbers at their edges, words and nothing."""
    odd = [
        "nan",
        "inf",
        "-inf",
        "1e400",
        "1e-400",
        "0x10",
        "",
        "é",
        "\ufeff1",
        "{'w': 1}",
        '"a b"',
        "1_0",
        "٣",
        "%",
        "\0",
    ]
    words = [*map(str, EDGES), *odd, "9" * 30, "9" * 5000, "1.5"]
    comma = str(draw.choice([" ", ",", "\t", ";", ", "]))
    width = int(draw.integers(1, 5))
    rows = []
    for i in range(int(draw.integers(0, 12))):
        cells = [str(i), str(i + 1), "1", "2"][:width]
        if draw.random() < 0.4:
            cells[draw.integers(width)] = words[draw.integers(len(words))]
        rows.append(comma.join(cells))
    end = str(draw.choice(["\n", "\r\n", "\r", "\u2028"]))
    return end.join(rows).encode(
        str(draw.choice(["utf-8", "utf-8", "utf-8", "utf-16", "latin-1"])), "replace"
    )


def exchanged(value: Any, draw: np.random.Generator) -> Any:
    """Return a nested value with something else somewhere inside of it."""
    if not isinstance(value, dict | list) or not value or draw.random() < 0.15:
        return ODD_VALUES[draw.integers(len(ODD_VALUES))]
    made: Any = dict(value) if isinstance(value, dict) else list(value)
    key = list(made)[draw.integers(len(made))] if isinstance(made, dict) else int(draw.integers(len(made)))
    if draw.random() < 0.1:
        del made[key]
    else:
        made[key] = exchanged(made[key], draw)
    return made
