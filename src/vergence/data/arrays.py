"""Arrays of numpy's files, whoever wrote them: what a header claims is checked before anything is read."""

from __future__ import annotations

import io
import math
import os
import zipfile
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np

from vergence.core.errors import BadInput

LARGEST_ARCHIVE = 2**32  # bytes that the arrays of an .npz may have in all once they are unpacked


def read_npy(path: str | Path, *, mmap_mode: Literal["c", "r"] | None = None) -> np.ndarray:
    """Return the array of a ``.npy`` file.

    Args:
        path: Of the file.
        mmap_mode: As of ``numpy.load``.

    Raises:
        BadInput: If it is not such a file, holds Python objects, or is shorter than its header says.
    """
    try:
        _check_kind(Path(path))
        with Path(path).open("rb") as file:
            _check_header(file, os.fstat(file.fileno()).st_size)
        return cast(np.ndarray, np.load(path, mmap_mode=mmap_mode, allow_pickle=False))
    except Exception as error:  # noqa: BLE001 - numpy lets out what its tokenizer and parser raise
        raise BadInput(f"{path} is not an array as numpy saves it: {_reason(error)}.") from None


def read_npz(path: str | Path | BinaryIO) -> dict[str, np.ndarray]:
    """Return the arrays of a ``.npz`` file by name.

    Raises:
        BadInput: If it is not such a file, an array of it holds Python objects or is shorter than its header
            says, or they have more than 4 GiB in all.
    """
    try:
        if isinstance(path, str | Path):
            _check_kind(Path(path))
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if (size := sum(part.file_size for part in parts)) > LARGEST_ARCHIVE:
                raise ValueError(f"its arrays have {size:,} bytes, more than {LARGEST_ARCHIVE:,}")
            arrays = {}
            for part in parts:
                with archive.open(part) as file:
                    head = file.read(min(part.file_size, 2**17))
                _check_header(io.BytesIO(head), part.file_size)
                with archive.open(part) as file:
                    name = part.filename.removesuffix(".npy")
                    arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
        return arrays
    except Exception as error:  # noqa: BLE001 - so does zipfile
        raise BadInput(f"{path} is not an archive as numpy saves it: {_reason(error)}.") from None


def header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    """Return the shape and the type of the array that begins here, and go to where its content does.

    Raises:
        ValueError: If no array begins here; numpy may raise other errors of its own.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if any(n < 0 for n in shape):
        raise ValueError(f"its header says {shape}")
    return shape, dtype


def _check_kind(path: Path) -> None:
    """Raise ``ValueError`` for a pipe or a device, whose reading may never end."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")


def _check_header(file: BinaryIO, size: int) -> None:
    """Raise ``ValueError`` if an array holds objects, or more than a file of ``size`` bytes can."""
    shape, dtype = header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not unpickled")
    if math.prod(shape) * dtype.itemsize > size - file.tell():
        raise ValueError(f"it is shorter than the {shape} of {dtype} that its header says")
    if math.prod(n for n in shape if n) > 2**62:  # numpy multiplies these without looking
        raise ValueError(f"its header says {shape}")


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
