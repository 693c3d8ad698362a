"""Errors of Lance, in one line each, and readers of batches that may fail while they are made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from vergence.core.errors import BadInput, VergenceError

PARTS = "_parts"  # the folder in a table where those who write it in parts keep count


def is_table(path: Path) -> bool:
    return (path / "_versions").is_dir()


def is_begun(path: Path) -> bool:
    return (path / PARTS).is_dir()


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def one_line(error: BaseException) -> str:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return first.partition(", rust/")[0].partition(", /")[0].rstrip(".") + "."


@contextlib.contextmanager
def lance_errors(path: Path) -> Iterator[None]:
    """Turn what Lance meets in a damaged table, down to a panic of its own, into one line."""
    try:
        yield
    except BadInput:
        raise
    except BaseException as error:
        panic = type(error).__name__ == "PanicException"  # of pyo3, which derives it from BaseException
        if not panic and not isinstance(error, ValueError | OSError | RuntimeError | KeyError | MemoryError):
            raise
        raise BadInput(f"{path} is damaged: {one_line(error)} Make it anew with `vergence embed`.") from None


@contextlib.contextmanager
def batch_reader(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatchReader]:
    """Hand batches to Lance; what goes wrong while making them is raised as it was."""
    failed: list[Exception] = []

    def watched() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except Exception as error:
            failed.append(error)
            raise

    try:
        yield pa.RecordBatchReader.from_batches(schema, watched())
    except OSError as error:
        raise (failed[0] if failed else error) from None


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn a failing disk into one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise VergenceError(f"Cannot write {path}: {reason.rstrip('.')}. Nothing of it was kept.") from error
