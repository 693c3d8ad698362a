"""Pickles of arrays, sparse matrices and plain collections, read without running or trusting anything.

Every name that a pickle may ask for is answered by a class or function of this file, which checks what it is
given and makes the array itself: numpy's own would build objects out of bytes.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from vergence.core.errors import BadInput
from vergence.data.graph.sparse import checked

_KINDS = "biufSU"  # of entries: numbers and texts; "O" holds a list, in lists of neighbours


class _Kind:
    """A ``numpy.dtype`` in the making."""

    def __init__(self, name: Any, *_: Any) -> None:
        name = name.decode("ascii") if isinstance(name, bytes) else name
        if not isinstance(name, str) or name[:1] not in _KINDS + "O" or not name[1:].isdecimal():
            raise pickle.UnpicklingError(f"its arrays are of {name!r:.40}")
        self.name, self.order = name, "="

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("its arrays are of several fields")
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"its arrays have the byte order {order!r:.40}")
        self.order = order


class _Array:
    """A ``numpy.ndarray`` in the making; once made, ``numpy.asarray`` and ``for`` find what it holds."""

    value: np.ndarray | list[Any]

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _Kind):
            raise pickle.UnpicklingError("an array of it has a state that numpy does not write")
        _, shape, kind, fortran, raw = state
        if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise pickle.UnpicklingError(f"an array of it has the shape {shape!r:.40}")
        if kind.name[0] == "O":
            if not isinstance(raw, list) or len(shape) != 1 or len(raw) != shape[0]:
                raise pickle.UnpicklingError("an array of it holds objects that are no list")
            self.value = raw
            return
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        dtype = np.dtype(kind.order + kind.name if kind.order != "|" else kind.name)
        if not isinstance(raw, bytes) or math.prod(shape) * dtype.itemsize != len(raw) or not dtype.itemsize:
            raise pickle.UnpicklingError(f"an array of it has not the bytes of {shape} {dtype}")
        made = np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")
        self.value = made.astype(dtype.newbyteorder("="))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if not isinstance(self.value, np.ndarray):
            raise TypeError("an array of objects holds no numbers")
        return np.array(self.value, dtype)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.value)


class _Matrix:
    """A ``scipy.sparse.csr_matrix`` in the making: ``matrix``, whose indices are not yet checked."""

    matrix: sp.csr_array

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a matrix of it has a state that scipy does not write")
        rows, columns = state["_shape"]
        parts = tuple(np.asarray(state[name]) for name in ("data", "indices", "indptr"))
        self.matrix = sp.csr_array(parts, shape=(int(rows), int(columns)))


class _Answer:
    """What a pickle may call, and may not change."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def __call__(self, *given: Any) -> Any:
        return self.call(*given)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes what it was given")


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not _Array or shape != (0,):
        raise pickle.UnpicklingError("it asks for an array that numpy does not write")
    return _Array()


def _encode(text: Any, code: Any = "latin1") -> bytes:
    if not isinstance(text, str) or code not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it asks for the encoding {code!r:.40}")
    return text.encode("latin1")


# What Planetoid's and HeCo's files are made of, under the names of the libraries of 2016 and of today.
_ANSWERS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Answer(_reconstruct),
    ("numpy._core.multiarray", "_reconstruct"): _Answer(_reconstruct),
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Answer(_Kind),
    ("scipy.sparse.csr", "csr_matrix"): _Matrix,
    ("scipy.sparse._csr", "csr_matrix"): _Matrix,
    ("collections", "defaultdict"): _Answer(lambda *factory: {}),
    ("__builtin__", "list"): _Answer(list),
    ("builtins", "list"): _Answer(list),
    ("__builtin__", "bytes"): _Answer(lambda: b""),
    ("_codecs", "encode"): _Answer(_encode),
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ANSWERS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ANSWERS[module, name]


def _check_memo(raw: bytes) -> None:
    """Raise if a pickle numbers what it remembers beyond its length: room is made for all numbers below."""
    for op, number, _ in pickletools.genops(raw):
        if op.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(number, int) and number > len(raw):
            raise pickle.UnpicklingError(f"it remembers {number:,} things")


def safe_unpickle(raw: bytes, path: Path) -> Any:
    """Read a pickle and refuse whatever is no number, text, array, matrix or plain collection.

    Returns:
        What it holds: an array, the list that an array of objects held, a checked CSR matrix, or a
        collection; arrays inside of a collection are made by ``numpy.asarray``.

    Raises:
        BadInput: If it asks for anything else, or is broken.
    """
    try:
        _check_memo(raw)
        loaded = _Restricted(io.BytesIO(raw), encoding="latin1").load()
        if isinstance(loaded, _Matrix):
            return checked(loaded.matrix, path)
        return loaded.value if isinstance(loaded, _Array) else loaded
    except BadInput:
        raise
    except Exception as error:  # noqa: BLE001 - a broken pickle raises whatever its bytes spell
        reason = " ".join(str(error).split())
        raise BadInput(f"{path} is refused: not a plain pickle of arrays ({reason}).") from None
