"""Columns of parquet and csv files as arrays: what event logs and tables read alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq

from vergence.core.errors import BadInput


def read_csv(path: Path) -> pa.Table:
    """Read a csv file whose first line names the columns; the separator is what that line holds most of."""
    try:
        with pa.input_stream(path, compression="detect") as stream:
            head = stream.read(65_536).decode("utf-8", errors="replace").partition("\n")[0]
        comma = max(",;\t|", key=head.count)
        table = pc_csv.read_csv(
            path,
            parse_options=pc_csv.ParseOptions(delimiter=comma),
            read_options=pc_csv.ReadOptions(block_size=2**24),
            convert_options=pc_csv.ConvertOptions(strings_can_be_null=True),
        )
        return checked_table(table, path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as csv: {reason(error)}") from None


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a parquet file, or some of its columns.

    Raises:
        BadInput: If it is broken.
    """
    try:
        return checked_table(pq.read_table(path, columns=columns), path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not a parquet file that can be read: {reason(error)}") from None


def checked_table(table: pa.Table, path: Path) -> pa.Table:
    """Return a table whose words and codes are in order, and whose columns differ in their names.

    Raises:
        BadInput: If two columns have one name.
        pyarrow.ArrowException: If the values are broken; ``UnicodeDecodeError`` if the names are.
    """
    names = table.column_names
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise BadInput(f"{path} has two columns called {twice}; rename or drop one.")
    table.validate(full=True)
    return table


def reason(error: Exception) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split())[:300]


def text(column: pa.ChunkedArray, name: str, what: str) -> pa.ChunkedArray:
    """Return a column of bytes as words in UTF-8, any other as it is.

    Raises:
        BadInput: If the bytes are no such words.
    """
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        return column
    try:
        return column.cast(pa.string())
    except pa.ArrowException:
        raise BadInput(f"Column {name} of {what} is not text in UTF-8; save the file in UTF-8.") from None


def plain(column: pa.ChunkedArray) -> pa.Array:
    """Return one array of values, no dictionary; whole numbers that came as floats become whole again."""
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):  # too large for one, or empty
        whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.nulls(0, column.type)
    if pa.types.is_dictionary(whole.type):
        whole = whole.dictionary_decode()
    if pa.types.is_floating(whole.type):
        whole = pc.if_else(pc.is_nan(whole), None, whole)
        try:
            return whole.cast(pa.int64())
        except pa.ArrowInvalid:
            return whole
    return whole


def floats(values: pa.ChunkedArray) -> np.ndarray:
    """Return numbers ``(N,)`` float64, NaN where missing."""
    return np.asarray(values.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(), np.float64)


def numbers(column: pa.ChunkedArray, name: str, what: str) -> np.ndarray:
    """Return a field ``(N,)`` float32, NaN where it is missing or not finite.

    Args:
        column: Of the field.
        name: Of the column, for errors.
        what: It stands in, for errors.

    Raises:
        BadInput: If it holds no numbers.
    """
    try:
        wide = column.cast(pa.float64(), safe=False)
    except pa.ArrowException:
        raise BadInput(
            f"Column {name} of {what} is of type {column.type}, not numeric; name it under categorical."
        ) from None
    values = floats(wide).astype(np.float32)
    values[~np.isfinite(values)] = np.nan
    return values


def codes(column: pa.ChunkedArray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return codes ``(N,)`` int32, 0 where missing, and the words they stand for, the most frequent first."""
    coded = plain(column).dictionary_encode()
    indices = coded.indices.fill_null(-1).to_numpy()
    counts = np.bincount(indices + 1, minlength=len(coded.dictionary) + 1)[1:]
    words = np.array(coded.dictionary.cast(pa.string()).to_pylist(), dtype=object)
    order = np.lexsort((words.astype(str), -counts)) if len(words) else np.empty(0, np.int64)
    code = np.zeros(len(words) + 1, np.int32)
    code[order] = np.arange(1, len(words) + 1, dtype=np.int32)  # the last place stays 0: missing
    return code[indices], tuple(words[order])


def coded(values: list[Any]) -> tuple[np.ndarray | None, list[str] | None]:
    """Return labels as numbers, and their names where they were words; None, None if none is known.

    >>> coded(["dog", None, "cat"])
    (array([ 1, -1,  0]), ['cat', 'dog'])
    """
    known = [v for v in values if v is not None]
    if not known:
        return None, None
    if all(isinstance(v, int) and -(2**63) <= v < 2**63 for v in known):
        return np.array([-1 if v is None else v for v in values], dtype=np.int64), None
    classes = sorted({str(v) for v in known})
    place = {name: i for i, name in enumerate(classes)}
    return np.array([-1 if v is None else place[str(v)] for v in values], dtype=np.int64), classes
