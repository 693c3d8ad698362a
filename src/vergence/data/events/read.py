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
    numbers,
    plain,
    read_parquet,
    reason,
    single,
    stacked,
    text,
)
from vergence.data.delimited import names_in, read_csv
from vergence.data.events.batch import Fields
from vergence.data.events.log import EventLog, Names
from vergence.data.events.schema import IDS, ONCE, EventSchema
from vergence.data.roles import called
from vergence.data.times import times_of
from vergence.data.written import decimal_of, is_text

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
    table = _Table(paths, limit)
    schema, left = (schema or EventSchema()).complete(table.peek(), table.what)
    assert schema.id and schema.time and schema.categorical is not None and schema.numeric is not None
    notes = [*table.notes, *(f"{called(name)} left out ({why})" for name, why in left.items())]

    owner = _owners(table.column(schema.id), schema.id, table.what)
    ticks, known, per_second = times_of(table.column(schema.time), schema.time, table.what)
    usable = owner.is_valid().to_numpy(zero_copy_only=False) & known
    bad = _count_bad(usable, schema, table.what, limit)
    if bad:
        notes.append(f"{bad:,} rows without {schema.id} or {schema.time} left out")
        owner, ticks = owner.filter(pa.array(usable)), ticks[usable]
    entity, ids = _entities(owner)
    del owner
    order = _order(entity, ticks)
    if order is not None:
        entity, ticks = entity[order], ticks[order]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(entity, minlength=len(ids)))]).astype(np.int64)
    first = offsets[:-1]
    if bad:
        order = np.flatnonzero(usable) if order is None else np.flatnonzero(usable)[order]
    del usable, entity

    def sorted_(values: np.ndarray) -> np.ndarray:
        return values if order is None else values[order]

    gap = (np.diff(ticks, prepend=ticks[:1]) / per_second).astype(np.float32)  # of whole ticks, exact
    gap[first] = 0
    time = ticks / per_second
    del ticks
    categorical = np.empty((len(time), len(schema.categorical)), np.int32)
    words = []
    for i, name in enumerate(schema.categorical):
        numbered, values = codes(table.column(name), name, table.what)
        categorical[:, i] = sorted_(numbered)
        words.append(values)
    numeric = np.empty((len(time), len(schema.numeric)), np.float32)
    centres = np.zeros(len(schema.numeric))
    decimal = decimal_of(table.peek())
    for i, name in enumerate(schema.numeric):
        own, centres[i] = numbers(table.column(name), name, table.what, decimal)
        numeric[:, i] = sorted_(own)
    labels, classes = None, None
    if schema.label is not None:
        if schema.labels is None:
            labels, classes = _labels_in_log(table.column(schema.label), order, offsets)
        else:
            labels, classes = labels_from(Path(schema.labels), schema.id, schema.label, ids)
    fields = Fields(
        schema.categorical, schema.numeric, tuple(words), tuple(centres.tolist()) if centres.any() else ()
    )
    return EventLog(
        schema, fields, Names(ids), offsets, time, gap, categorical, numeric, labels, classes, notes
    )


def _owners(column: pa.ChunkedArray, name: str, what: str) -> pa.Array:
    """Return whose event each is, null where nobody is named; raise BadInput if there are none."""
    owner = plain(column)
    if not len(owner):
        raise BadInput(f"{what} holds no events.")
    owner = single(owner, name, what)
    if is_text(owner.type):
        owner = pc.if_else(pc.equal(pc.binary_length(owner), 0), pa.scalar(None, owner.type), owner)
    return owner


def _count_bad(usable: np.ndarray, schema: EventSchema, what: str, limit: float) -> int:
    """Return how many rows cannot be used; raise BadInput if they are too many."""
    bad = len(usable) - int(usable.sum())
    if bad and (bad == len(usable) or bad > limit * len(usable)):
        raise BadInput(
            f"{bad:,} of {len(usable):,} rows of {what} have no {schema.id} or no {schema.time}; "
            f"up to {limit:.0%} are left out."
        )
    return bad


def looks_like_events(paths: Sequence[Path]) -> bool:
    """Say whether files without a schema have columns that look like an id and a time.

    Raises:
        BadInput: If they are parquet files, which nobody else would read, in which hardly an id occurs twice.
    """
    table = _Table(paths)
    if not table.parquet and not any(name.lower() in IDS for name in names_in(paths[0])):
        return False
    schema = EventSchema()
    if not schema.found_in(peek := table.peek(), ""):
        return False
    id = str(schema.complete(peek, table.what)[0].id)
    column = table.column(id)
    if pa.types.is_nested(column.type):
        return False
    counts = pc.value_counts(column.drop_null())
    once = pc.sum(pc.equal(counts.field("counts"), 1)).as_py() or 0
    if not len(counts) or once <= ONCE * len(counts):
        return True
    if not table.parquet:
        return False
    raise BadInput(
        f"{once:,} of {len(counts):,} values of {id} occur once in {table.what}: a table is opened as "
        f"table:FILE, an event log as events:FILE?id={id}."
    )


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

    def __init__(self, paths: Sequence[Path], limit: float = 0.5) -> None:
        self.paths, self.limit = list(paths), limit
        self.notes: list[str] = []
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
            parts = [read_csv(path, limit=self.limit) for path in self.paths]
            self._whole = stacked([table for table, _ in parts], str(self.paths[0]))
            self.notes = [note for _, notes in parts for note in notes]
        return self._whole


def _entities(owner: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Return each event's entity ``(N,)`` int32 and the entities' names in the order of their ids."""
    coded = owner.dictionary_encode()
    order = pc.sort_indices(coded.dictionary).to_numpy()
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank[coded.indices.to_numpy()], coded.dictionary.take(pa.array(order)).cast(pa.string())


def _order(entity: np.ndarray, ticks: np.ndarray) -> np.ndarray | None:
    """Return the rows by entity, then time, then place in the file; None where they lie so already."""
    ahead = np.diff(entity)
    if (ahead >= 0).all() and (np.diff(ticks)[ahead == 0] >= 0).all():
        return None
    if (np.diff(ticks) >= 0).all():
        return np.argsort(entity, kind="stable")
    return np.lexsort((ticks, entity))


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
