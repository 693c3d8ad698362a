"""Program that reads MATLAB files for another process, which outlives it; ``matlab`` starts it.

A request is one letter, which says what is wanted ("g" a graph, "b" boundaries), the length of the file
(8 bytes, little-endian) and the file. The answer is "+" and arrays as ``numpy.savez`` writes them, or "-" and
a reason, with the length between. It imports nothing of vergence, so that it starts as fast as scipy loads.
"""

import io
import struct
import sys
from typing import Any

import numpy as np
from scipy.io import loadmat, whosmat
from scipy.sparse import coo_array, issparse

MEMORY = 2**32  # bytes that reading may add to what the program has


def limit_memory() -> None:
    """Let the system refuse what a file asks for beyond ``MEMORY``, where it can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with open("/proc/self/statm") if sys.platform == "linux" else io.StringIO("0") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, resource.RLIM_INFINITY))


def graph(raw: bytes) -> dict[str, np.ndarray]:
    """Return the matrices ``network`` and ``group`` of a file: dense, or as row, col, data and shape."""
    held = loadmat(io.BytesIO(raw), variable_names=["network", "group"])
    if "network" not in held:
        inside = ", ".join(name for name, *_ in whosmat(io.BytesIO(raw))) or "nothing"
        raise ValueError(f"it needs a square matrix called network; it holds {inside}")
    parts = {}
    for name in ("network", "group"):
        if name in held:
            parts.update(_matrix(name, held[name]))
    return parts


def _matrix(name: str, matrix: Any) -> dict[str, np.ndarray]:
    if issparse(matrix):
        if (np.diff(matrix.indptr) < 0).any():  # scipy does not look where there are no entries
            raise ValueError(f"the pointers of {name} descend")
        matrix.check_format(full_check=True)
        coo = coo_array(matrix)
        parts = {"row": coo.row, "col": coo.col, "data": coo.data, "shape": np.array(coo.shape)}
        return {f"{name}.{part}": array for part, array in parts.items()}
    dense = np.asarray(matrix)
    if dense.ndim != 2 or dense.dtype.kind not in "biuf":
        raise ValueError(f"{name} is {dense.dtype} {dense.shape}, not a matrix of numbers")
    return {name: dense}


def boundaries(raw: bytes) -> dict[str, np.ndarray]:
    """Return the maps ``(people, H, W)`` of a file of BSDS."""
    people = loadmat(io.BytesIO(raw), variable_names=["groundTruth"])["groundTruth"]
    return {"maps": np.stack([one["Boundaries"][0, 0] > 0 for one in people.ravel()])}


def main() -> None:
    requests, answer = sys.stdin.buffer, sys.stdout.buffer
    limit_memory()
    while what := requests.read(1):
        (size,) = struct.unpack("<Q", requests.read(8))
        raw = requests.read(size)
        try:
            file = io.BytesIO()
            arrays: dict[str, Any] = {b"g": graph, b"b": boundaries}[what](raw)
            np.savez(file, **arrays)
            sign, said = b"+", file.getvalue()
        except Exception as error:  # noqa: BLE001 - scipy raises all kinds; version 7.3 is HDF5
            sign, said = b"-", (" ".join(str(error).split()) or type(error).__name__).encode()
        answer.write(sign + struct.pack("<Q", len(said)) + said)
        answer.flush()


if __name__ == "__main__":
    main()
