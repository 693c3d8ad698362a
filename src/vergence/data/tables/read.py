"""Reads the arrays of a table from parquet and csv files, or from a data frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vergence.core.errors import BadInput
from vergence.data.columns import coded, codes, numbers, plain, read_csv, read_parquet, text
from vergence.data.tables.batch import Columns
from vergence.data.tables.schema import TableSchema


@dataclass(eq=False)
class Values:
    """A table in memory.

    Args:
        columns: Their names and words.
        numeric: ``(n, M)`` float32, NaN where missing.
        categorical: ``(n, C)`` int32, 0 where missing.
        labels: ``(n,)`` int64, -1 where unknown, or None.
        classes: Names of the labels, or None.
        notes: What a reader should know, such as columns left out.
    """

    columns: Columns
    numeric: np.ndarray
    categorical: np.ndarray
    labels: np.ndarray | None = None
    classes: list[str] | None = None
    notes: list[str] = field(default_factory=list)


def read_table(paths: Sequence[Path]) -> pa.Table:
    """Read files with the same columns, one below the other.

    Raises:
        BadInput: If one cannot be read.
    """
    parts = []
    for path in paths:
        if not path.is_file():
            raise BadInput(f"{path} is not a file; a table is one or more .parquet or .csv files.")
        parts.append(read_parquet(path) if path.suffix.lower() == ".parquet" else read_csv(path))
    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException as error:
        raise BadInput(f"{paths[0]} and the others differ in their columns: {error}") from None


def values_of(table: pa.Table, schema: TableSchema, what: str) -> tuple[TableSchema, Values]:
    """Turn columns into numbers and codes.

    Categories are compared as words, so that 5, 5.0 and "5" are one. What is not finite is missing.

    Raises:
        BadInput: If a named column is missing or of an impossible type, or there are no rows.
    """
    if not table.num_rows:
        raise BadInput(f"{what} holds no rows.")
    whole, left = schema.complete(table, what)
    assert whole.numeric is not None and whole.categorical is not None
    numeric = np.empty((table.num_rows, len(whole.numeric)), np.float32)
    for i, name in enumerate(whole.numeric):
        numeric[:, i] = numbers(table[name], name, what)
    categorical = np.empty((table.num_rows, len(whole.categorical)), np.int32)
    words = []
    for i, name in enumerate(whole.categorical):
        categorical[:, i], vocabulary = codes(text(table[name], name, what))
        words.append(vocabulary)
    labels: Any = None
    classes: Any = None
    if whole.label is not None:
        labels, classes = coded(plain(text(table[whole.label], whole.label, what)).to_pylist())
    columns = Columns(whole.numeric, whole.categorical, tuple(words), whole.groups)
    notes = [f"{name} left out ({why})" for name, why in left.items()]
    return whole, Values(columns, numeric, categorical, labels, classes, notes)
