"""Columns of parquet and csv files as arrays: what event logs and tables read alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vergence.core.errors import BadInput
from vergence.data.arrow_types import ordinary, time_as_words
from vergence.data.written import is_text, parsed, style

LARGE = 1024  # a centre that is so many times the spread is subtracted before float32 rounds it away
_SAMPLE = 10_000  # values from which both are taken
_CELLS = 100_000  # values of many columns that are narrowed together


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a parquet file, or some of its columns.

    Raises:
        BadInput: If it is broken.
    """
    try:
        return checked_table(pq.read_table(path, columns=columns), path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not a parquet file that can be read: {reason(error)}") from None


def checked_table(table: pa.Table, path: Path | str) -> pa.Table:
    """Return a table whose words and codes are in order, and whose columns differ in their names.

    Types for which Arrow lacks most functions become ordinary ones (``arrow_types``).

    Raises:
        BadInput: If two columns have one name.
        pyarrow.ArrowException: If the values are broken; ``UnicodeDecodeError`` if the names are.
    """
    check_names(table.column_names, path)
    table.validate(full=True)
    table = ordinary(table)
    for i, field in enumerate(table.schema):
        if pa.types.is_float16(field.type):  # Arrow neither sorts nor rounds these
            table = table.set_column(i, field.with_type(pa.float32()), table.column(i).cast(pa.float32()))
    return table


def check_names(names: Sequence[str], what: Path | str) -> None:
    """Raise ``BadInput`` if two columns have one name."""
    for name, count in Counter(names).most_common(1):
        if count > 1:
            raise BadInput(f"{what} has two columns called '{name[:60]}'; rename or drop one.")


def stacked(tables: Sequence[pa.Table], what: str) -> pa.Table:
    """Return tables one below the other; a column that is of words in one is of words in all.

    Raises:
        BadInput: If their columns differ, or two columns of one have the same name.
    """
    for table in tables:
        check_names(table.column_names, what)
    if len(tables) == 1:
        return tables[0]
    words = {field.name for table in tables for field in table.schema if is_text(field.type)}

    def worded(field: pa.Field) -> pa.Field:
        same = field.name not in words or is_text(field.type) or pa.types.is_null(field.type)
        return field if same else field.with_type(pa.string())

    try:
        parts = [table.cast(pa.schema(map(worded, table.schema), table.schema.metadata)) for table in tables]
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException as error:
        raise BadInput(f"{what} and the others differ in their columns: {reason(error)}") from None


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
    """Return one array of values, no dictionary and no times but as words.

    Whole numbers that came as floats become whole again.
    """
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
    return time_as_words(whole)


def single(values: pa.Array, name: str, what: str) -> pa.Array:
    """Return values as they are.

    Raises:
        BadInput: If they are lists, maps or records: neither names nor categories.
    """
    if pa.types.is_nested(values.type):
        raise BadInput(
            f"Column {name} of {what} is of type {values.type}; an id or a category is a word or a number."
        )
    return values


def floats(values: pa.ChunkedArray) -> np.ndarray:
    """Return numbers ``(N,)`` float64, NaN where missing."""
    if values.type == pa.float64():
        return values.to_numpy()
    return np.asarray(values.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(), np.float64)


def numbers(column: pa.ChunkedArray, name: str, what: str, decimal: str = ".") -> tuple[np.ndarray, float]:
    """Return a field ``(N,)`` float32, NaN where missing or not finite, and what was subtracted from it.

    Numbers that are large for their spread, such as milliseconds since 1970, are centred before they are
    rounded to float32, which would make them equal.

    Args:
        column: Of the field: numbers, or words that are numbers.
        name: Of the column, for errors.
        what: It stands in, for errors.
        decimal: Mark that words are tried with first.

    Raises:
        BadInput: If it holds no numbers.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    mark = style(column, decimal)
    try:
        wide = column if mark is None else pa.chunked_array([parsed(column, mark)])
        values = floats(wide)
    except pa.ArrowException:
        raise BadInput(
            f"Column {name} of {what} is of type {column.type}, not numeric; name it under categorical."
        ) from None
    if not pa.types.is_signed_integer(wide.type):
        return narrowed(values)
    known = np.asarray(wide.is_valid().to_numpy(), bool)
    near, centre = narrowed(wide.cast(pa.int64()).fill_null(0).to_numpy(), known)
    near[~known] = np.nan
    return near, centre


def columns_of_numbers(
    table: pa.Table, names: Sequence[str], what: str, decimal: str = "."
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``numbers`` of many columns: ``(N, M)`` float32, and what was subtracted from each ``(M,)``.

    Thousands of short columns are done together.
    """
    numeric, centres = np.empty((table.num_rows, len(names)), np.float32), np.zeros(len(names))
    together = 1 + _CELLS // max(1, table.num_rows)
    for start in range(0, len(names), together):
        part = slice(start, start + together)
        columns = [table[name] for name in names[part]]
        wide = _exact(columns) if together > 1 else None
        if wide is not None:
            numeric[:, part], centres[part] = _narrowed_together(wide)
            continue
        for place, (name, column) in enumerate(zip(names[part], columns, strict=True), start):
            numeric[:, place], centres[place] = numbers(column, name, what, decimal)
    return numeric, centres


def _exact(columns: Sequence[pa.ChunkedArray]) -> np.ndarray | None:
    """Return finite numbers ``(N, M)`` float64 as they stand, None where one cannot be had so."""
    for column in columns:
        kind = column.type
        if column.null_count or not (pa.types.is_signed_integer(kind) or pa.types.is_floating(kind)):
            return None
    wide = np.stack([column.to_numpy() for column in columns], axis=1).astype(np.float64)
    return wide if (np.abs(wide) < 2.0**53).all() else None


def _narrowed_together(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return finite columns ``(N, M)`` as float32, and what was subtracted from each; see ``narrowed``."""
    some = np.sort(values[:: max(1, len(values) // _SAMPLE)], axis=0)
    least, low, first, middle, third, high, most = some[_places(len(some))]
    spreads = [third - first, high - low, most - least]
    spread = np.select([part > 0 for part in spreads], spreads)
    centre = np.where((spread > 0) & (spread < np.abs(middle) / LARGE), middle, 0.0)
    return (values - centre).astype(np.float32), centre


def narrowed(values: np.ndarray, known: np.ndarray | None = None) -> tuple[np.ndarray, float]:
    """Return numbers ``(N,)`` as float32, NaN where not finite, and what was subtracted; see ``numbers``.

    Args:
        values: float64, or int64, of which every digit counts.
        known: ``(N,)``, which of them count; None takes all.
    """
    some = values if known is None else values[known]
    centre = _centre(some[np.isfinite(some)])
    wide = values.astype(np.float64) - float(centre)
    if centre and values.dtype.kind == "i":  # exact, but for values near both ends of 64 bits
        wide = np.where(np.abs(wide) < 2.0**62, values - int(centre), wide)
    with np.errstate(over="ignore"):
        near = wide.astype(np.float32)
    near[~np.isfinite(near)] = np.nan
    return near, float(centre)


def _centre(values: np.ndarray) -> Any:
    """Return what is to be subtracted before rounding to float32: 0 where little is lost without."""
    some = np.sort(values[:: max(1, len(values) // _SAMPLE)])
    if not len(some):
        return 0
    least, low, first, middle, third, high, most = some[_places(len(some))].tolist()
    spread = next((part for part in (third - first, high - low, most - least) if part > 0), 0)
    # a float64, so that a schema or a run can hold it
    return type(middle)(float(middle)) if 0 < spread < abs(middle) / LARGE else 0


def _places(n: int) -> np.ndarray:
    """Return where the least, some quantiles and the most of ``n`` sorted values stand."""
    return (np.array([0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]) * (n - 1)).astype(np.int64)


def codes(column: pa.ChunkedArray, name: str, what: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return codes ``(N,)`` int32, 0 where missing, and the words they stand for, the most frequent first.

    Args:
        column: Of single values.
        name: Of the column, for errors.
        what: It stands in, for errors.

    Raises:
        BadInput: If its values are lists, maps or records.
    """
    coded = single(plain(column), name, what).dictionary_encode()
    indices = coded.indices.fill_null(-1).to_numpy()
    counts = np.bincount(indices + 1, minlength=len(coded.dictionary) + 1)[1:]
    words = np.array(coded.dictionary.cast(pa.string()).to_pylist(), dtype=object)
    order = np.lexsort((words.astype(str), -counts)) if len(words) else np.empty(0, np.int64)
    code = np.zeros(len(words) + 1, np.int32)
    code[order] = np.arange(1, len(words) + 1, dtype=np.int32)  # the last place stays 0: missing
    return code[indices], tuple(words[order])


def plain_label(label: Any) -> Any:
    """Return a label as Python has it: out of an array, whole numbers that came as floats whole, None for
    NaN.

    >>> [plain_label(label) for label in (np.int64(3), 2.0, float("nan"), "cat")]
    [3, 2, None, 'cat']
    """
    if hasattr(label, "item") and getattr(label, "ndim", 0) == 0:
        label = label.item()
    if not isinstance(label, float) or np.isinf(label):
        return label
    return None if np.isnan(label) else int(label) if label.is_integer() else label


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
