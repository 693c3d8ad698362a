"""Sparse matrices from outside: scipy's loops follow indices without looking, so all are looked at first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from vergence.core.errors import BadInput
from vergence.data.arrays import read_npz

LARGEST = 2**28  # values of a matrix that is made dense; PubMed's features have 10 million
_ARRAYS: dict[str, tuple[str, ...]] = {
    "csr": ("data", "indices", "indptr"), "csc": ("data", "indices", "indptr"), "coo": ("data", "row", "col")
}  # fmt: skip


def checked(matrix: Any, where: str | Path) -> sp.csr_array:
    """Return a matrix that was read, as CSR, once all its indices are known to lie inside of it.

    Args:
        matrix: Of scipy, in the format "csr", "csc" or "coo", or an array ``(n, m)``.
        where: Named in errors.

    Raises:
        BadInput: If an index lies outside, pointers descend, or its entries are not numbers.
    """
    try:
        if not sp.issparse(matrix):
            matrix = sp.csr_array(np.atleast_2d(np.asarray(matrix)))
        if matrix.format not in _ARRAYS or matrix.ndim != 2:
            raise ValueError(f"its format is {matrix.format}, not {', '.join(_ARRAYS)}")
        if matrix.dtype.kind not in "biuf":
            raise ValueError(f"its entries are {matrix.dtype}, not numbers")
        if matrix.format != "coo":
            if (np.diff(matrix.indptr) < 0).any():  # scipy does not look where there are no entries
                raise ValueError("its pointers descend")
            matrix.check_format(full_check=True)
        return sp.csr_array(matrix)
    except Exception as error:  # noqa: BLE001 - scipy raises what hostile arrays lead it to
        reason = " ".join(str(error).split())[:120].rstrip(".")
        raise BadInput(f"{where} is not a usable sparse matrix: {reason}.") from None


def read_sparse(path: Path) -> sp.csr_array:
    """Return the matrix of a ``.npz`` file as ``scipy.sparse.save_npz`` writes it.

    Raises:
        BadInput: If it is not such a file, or ``checked`` refuses the matrix.
    """
    arrays = read_npz(path)
    try:
        said = arrays["format"].item()
        kind = said.decode("ascii") if isinstance(said, bytes) else str(said)
        if kind == "coo" and "coords" in arrays:
            arrays["row"], arrays["col"] = arrays["coords"]
        data, first, second = (arrays[name] for name in _ARRAYS[kind])
        if first.dtype.kind not in "iu" or second.dtype.kind not in "iu":
            raise ValueError(f"its indices are {first.dtype} and {second.dtype}, not whole numbers")
        rows, columns = (int(n) for n in arrays["shape"])
        parts = (data, (first, second)) if kind == "coo" else (data, first, second)
        matrix = getattr(sp, f"{kind}_array")(parts, shape=(rows, columns))
    except Exception as error:  # noqa: BLE001 - so do their constructors
        reason = " ".join(str(error).split())[:120].rstrip(".")
        raise BadInput(f"{path} is not a sparse matrix as scipy saves it: {reason}.") from None
    return checked(matrix, path)


def dense(matrix: sp.csr_array | sp.coo_array, where: str | Path, *, dtype: Any = np.float32) -> np.ndarray:
    """Return a checked matrix as an array ``(n, m)`` of ``dtype``.

    Raises:
        BadInput: If it would have more than 2^28 values.
    """
    size = matrix.shape[0] * matrix.shape[1]
    if size > LARGEST:
        raise BadInput(f"{where} would have {size:,} values; up to {LARGEST:,} are read.")
    return matrix.astype(dtype).toarray()
