"""Reads the arrays of a table from parquet and csv files, or from a data frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vergence.core.errors import BadInput
from vergence.data.columns import coded, codes, columns_of_numbers, plain, read_parquet, stacked, text
from vergence.data.delimited import read_csv
from vergence.data.roles import reading_of
from vergence.data.tables.batch import Columns
from vergence.data.tables.schema import TableSchema
from vergence.data.written import decimal_of, written_as


@dataclass(eq=False)
class Values:
    """A table in memory.

    Args:
        columns: Their names and words.
        numeric: ``(n, M)`` float32, less ``columns.offsets``, NaN where missing.
        categorical: ``(n, C)`` int32, 0 where missing.
        labels: ``(n,)`` int64, -1 where unknown, or None.
        classes: Names of the labels, or None.
        notes: What a reader should know, such as lines left out.
        reading: What each column was read as, and why, in words.
    """

    columns: Columns
    numeric: np.ndarray
    categorical: np.ndarray
    labels: np.ndarray | None = None
    classes: list[str] | None = None
    notes: list[str] = field(default_factory=list)
    reading: str = ""


def read_table(paths: Sequence[Path], *, limit: float = 0.5) -> tuple[pa.Table, list[str]]:
    """Read files with the same columns, one below the other.

    Args:
        paths: ``.parquet`` or csv files.
        limit: See ``read_csv``.

    Returns:
        The table, and what a user should know of how it was read.

    Raises:
        BadInput: If one cannot be read.
    """
    parts, notes = [], []
    for path in paths:
        if not path.is_file():
            raise BadInput(f"{path} is not a file; a table is one or more .parquet or .csv files.")
        if path.suffix.lower() == ".parquet":
            parts.append(read_parquet(path))
        else:
            table, own = read_csv(path, limit=limit)
            parts.append(table)
            notes += own if len(paths) == 1 else [f"{path.name}: {note}" for note in own]
    return stacked(parts, str(paths[0])), notes


def values_of(table: pa.Table, schema: TableSchema, what: str) -> tuple[TableSchema, Values]:
    """Turn columns into numbers and codes.

    Categories are compared as words, so that 5, 5.0 and "5" are one. What is not finite is missing.

    Raises:
        BadInput: If a named column is missing or of an impossible type, or there are no rows.
    """
    if not table.num_rows:
        raise BadInput(f"{what} holds no rows.")
    whole, left = schema.complete(table, what)
    decimal = decimal_of(table)
    assert whole.numeric is not None and whole.categorical is not None
    numeric, offsets = columns_of_numbers(table, whole.numeric, what, decimal)
    categorical = np.empty((table.num_rows, len(whole.categorical)), np.int32)
    words = []
    for i, name in enumerate(whole.categorical):
        categorical[:, i], vocabulary = codes(text(table[name], name, what), name, what)
        words.append(vocabulary)
    labels: Any = None
    classes: Any = None
    if whole.label is not None:
        labels, classes = coded(plain(text(table[whole.label], whole.label, what)).to_pylist())
    columns = Columns(
        whole.numeric, whole.categorical, tuple(words), whole.groups,
        offsets=tuple(offsets.tolist()) if offsets.any() else (),
    )  # fmt: skip
    reading = reading_of(
        {name: written_as(table[name], decimal) for name in whole.numeric},
        {name: f"{len(known):,} values" for name, known in zip(whole.categorical, words, strict=True)},
        {} if whole.label is None else {"label": whole.label},
        left,
    )
    return whole, Values(columns, numeric, categorical, labels, classes, reading=reading)
