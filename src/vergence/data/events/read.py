"""Reads an ``EventLog`` from parquet and csv files, a column at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vergence.core.errors import BadInput, unknown
from vergence.data.columns import (
    checked_table,
    coded,
    codes,
    floats,
    numbers,
    plain,
    read_csv,
    read_parquet,
    reason,
    text,
)
from vergence.data.events.batch import Fields
from vergence.data.events.log import EventLog, Names
from vergence.data.events.schema import EventSchema

PEEK = 100_000  # rows from which the schema is guessed
SUFFIXES = (".parquet", ".csv", ".tsv", ".txt", ".csv.gz")


def read_log(paths: Sequence[Path], schema: EventSchema | None = None, *, limit: float = 0.5) -> EventLog:
    """Read one row an event from files with the same columns.

    Rows without an id or a time are left out and counted. Times with a zone become UTC, times
    without one are taken as UTC, plain numbers stay in their unit. Events of one entity at the same
    time keep the order of the file. Categories are compared as words, so that 5, 5.0 and "5" are one.

    Args:
        paths: ``.parquet``, ``.csv`` or ``.tsv`` files.
        schema: What is not said in it is guessed.
        limit: Share of rows without id or time that is put up with, in [0, 1].

    Raises:
        BadInput: If a file cannot be read, a column is missing or of an impossible type, or too many
            rows cannot be used.
    """
    table = _Table(paths)
    schema, left = (schema or EventSchema()).complete(table.peek(), table.what)
    assert schema.id and schema.time and schema.categorical is not None and schema.numeric is not None
    notes = [f"{name} left out ({why})" for name, why in left.items()]

    owner = plain(table.column(schema.id))
    time = _seconds(table.column(schema.time), schema.time, table.what)
    usable = owner.is_valid().to_numpy(zero_copy_only=False) & np.isfinite(time)
    bad = _count_bad(usable, schema, table.what, limit)
    if bad:
        notes.append(f"{bad:,} rows without {schema.id} or {schema.time} left out")
        owner, time = owner.filter(pa.array(usable)), time[usable]
    entity, ids = _entities(owner)
    del owner
    order = _order(entity, time)
    if order is not None:
        entity, time = entity[order], time[order]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(entity, minlength=len(ids)))]).astype(np.int64)
    first = offsets[:-1]
    if bad:
        order = np.flatnonzero(usable) if order is None else np.flatnonzero(usable)[order]
    del usable, entity

    def sorted_(values: np.ndarray) -> np.ndarray:
        return values if order is None else values[order]

    gap = np.diff(time, prepend=time[:1]).astype(np.float32)
    gap[first] = 0
    categorical = np.empty((len(time), len(schema.categorical)), np.int32)
    words = []
    for i, name in enumerate(schema.categorical):
        numbered, values = codes(table.column(name))
        categorical[:, i] = sorted_(numbered)
        words.append(values)
    numeric = np.empty((len(time), len(schema.numeric)), np.float32)
    for i, name in enumerate(schema.numeric):
        numeric[:, i] = sorted_(numbers(table.column(name), name, table.what))
    labels, classes = None, None
    if schema.label is not None:
        if schema.labels is None:
            labels, classes = _labels_in_log(table.column(schema.label), order, offsets)
        else:
            labels, classes = labels_from(Path(schema.labels), schema.id, schema.label, ids)
    fields = Fields(schema.categorical, schema.numeric, tuple(words))
    return EventLog(
        schema, fields, Names(ids), offsets, time, gap, categorical, numeric, labels, classes, notes
    )


def _count_bad(usable: np.ndarray, schema: EventSchema, what: str, limit: float) -> int:
    """Return how many rows cannot be used; raise BadInput if they are too many, or there are no rows."""
    bad = len(usable) - int(usable.sum())
    if bad and (bad == len(usable) or bad > limit * len(usable)):
        raise BadInput(
            f"{bad:,} of {len(usable):,} rows of {what} have no {schema.id} or no {schema.time}; "
            f"up to {limit:.0%} are left out."
        )
    if not len(usable):
        raise BadInput(f"{what} holds no events.")
    return bad


def looks_like_events(paths: Sequence[Path]) -> bool:
    """Say whether files without a schema have columns that look like an id and a time."""
    return EventSchema().found_in(_Table(paths).peek(), "")


def labels_from(path: Path, id: str, label: str, ids: pa.Array) -> tuple[np.ndarray | None, list[str] | None]:
    """Read what is known about each entity from a file with one row each.

    Args:
        path: A parquet or csv file with the columns ``id`` and ``label``.
        id: As in the log.
        label: Column to take.
        ids: The entities' names.

    Returns:
        ``(n,)`` int64, -1 for entities that the file does not know, and the labels' names.
    """
    table = _Table([path])
    for name in (id, label):
        if name not in table.names:
            raise unknown(f"column of {path}", name, table.names)
    rows = pc.index_in(ids, value_set=plain(table.column(id)).cast(pa.string()))
    return coded(plain(table.column(label)).take(rows).to_pylist())


class _Table:
    """The columns of some files, read when they are asked for (parquet) or all at once (csv)."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.what = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
        self.parquet = all(path.suffix.lower() == ".parquet" for path in paths)
        self._whole: pa.Table | None = None
        for path in paths:
            if not path.is_file():
                raise BadInput(f"{path} is not a file; an event log is one or more .parquet or .csv files.")
            if not path.name.lower().endswith(SUFFIXES):
                raise BadInput(f"{path} is no event log that can be read; needs {', '.join(SUFFIXES)}.")

    @property
    def names(self) -> list[str]:
        return self.peek().column_names

    def peek(self) -> pa.Table:
        """Return the first rows."""
        if not self.parquet:
            return self.whole().slice(0, PEEK)
        path = self.paths[0]
        try:
            file = pq.ParquetFile(path)
            first = next(file.iter_batches(PEEK), None)
            table = file.schema_arrow.empty_table() if first is None else pa.Table.from_batches([first])
            return checked_table(table, path)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{path} is not a parquet file that can be read: {reason(error)}") from None

    def column(self, name: str) -> pa.ChunkedArray:
        try:
            if self.parquet:
                parts = [read_parquet(path, [name])[name] for path in self.paths]
                chunks = [chunk for part in parts for chunk in part.chunks]
                return text(pa.chunked_array(chunks, parts[0].type), name, self.what)
            return text(self.whole()[name], name, self.what)
        except (pa.ArrowException, KeyError, OSError) as error:
            raise BadInput(f"Column {name} of {self.what} cannot be read: {reason(error)}") from None

    def whole(self) -> pa.Table:
        if self._whole is None:
            self._whole = pa.concat_tables(
                [read_csv(path) for path in self.paths], promote_options="permissive"
            )
        return self._whole


def _seconds(column: pa.ChunkedArray, name: str, what: str) -> np.ndarray:
    """Return times ``(N,)`` float64, NaN where missing: seconds since 1970 UTC, or plain numbers."""
    values = column
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        values = _parsed(values, name, what)
        kind = values.type
    if pa.types.is_date(kind):
        values = values.cast(pa.timestamp("s"))
        kind = values.type
    if pa.types.is_timestamp(kind):
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
        whole = values.cast(pa.int64())
        return floats(whole) / per_second
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return np.require(floats(values), requirements="W")
    raise BadInput(f"Column {name} of {what} is of type {kind}; a time is a timestamp, a date or a number.")


def _parsed(values: pa.ChunkedArray, name: str, what: str) -> pa.ChunkedArray:
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):  # without a zone, with one
        try:
            return values.cast(kind)
        except pa.ArrowInvalid as error:
            refused = error
    raise BadInput(
        f"Column {name} of {what} is text that is no ISO 8601 time, all with or all without a zone: "
        f"{reason(refused)}"
    )


def _entities(owner: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Return each event's entity ``(N,)`` int32 and the entities' names in the order of their ids."""
    coded = owner.dictionary_encode()
    order = pc.sort_indices(coded.dictionary).to_numpy()
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank[coded.indices.to_numpy()], coded.dictionary.take(pa.array(order)).cast(pa.string())


def _order(entity: np.ndarray, time: np.ndarray) -> np.ndarray | None:
    """Return the rows by entity, then time, then place in the file; None where they lie so already."""
    ahead = np.diff(entity)
    if (ahead >= 0).all() and (np.diff(time)[ahead == 0] >= 0).all():
        return None
    if (np.diff(time) >= 0).all():
        return np.argsort(entity, kind="stable")
    return np.lexsort((time, entity))


def _labels_in_log(
    column: pa.ChunkedArray, order: np.ndarray | None, offsets: np.ndarray
) -> tuple[np.ndarray | None, list[str] | None]:
    """Return each entity's first known label."""
    values = plain(column)
    if order is not None:
        values = values.take(pa.array(order))
    n = len(values)
    known = np.where(values.is_valid().to_numpy(zero_copy_only=False), np.arange(n), n)
    first = np.minimum.reduceat(known, offsets[:-1])
    return coded(values.take(pa.array(first, mask=first == n)).to_pylist())
