"""Arrow's less usual types as the ordinary ones that every kernel and Lance know."""

from __future__ import annotations

import functools

import pyarrow as pa
import pyarrow.types as kinds


def ordinary(table: pa.Table) -> pa.Table:
    """Return a table whose columns are of ordinary types, also inside others.

    Views of strings, bytes and lists become strings, bytes and lists. Times in a zone that this system does
    not know are the same instants in UTC.

    >>> ordinary(pa.table({"id": pa.array(["a"], pa.string_view())})).schema.types
    [DataType(string)]
    """
    for place, field in enumerate(table.schema):
        if (kind := _ordinary(field.type)) != field.type:
            table = table.set_column(place, field.with_type(kind), table[place].cast(kind))
    return table


def times_as_words(table: pa.Table) -> pa.Table:
    """Return a table whose dates and times are words, for Python's end with the year 9999.

    >>> times_as_words(pa.table({"at": pa.array([2**38], pa.timestamp("s"))})).to_pylist()
    [{'at': '10680-07-14 06:09:04'}]
    """
    return pa.table([time_as_words(column) for column in table.columns], table.schema.names)


def time_as_words(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return dates and times as words, other values as they are."""
    return values.cast(pa.string()) if kinds.is_temporal(values.type) else values


def _ordinary(kind: pa.DataType) -> pa.DataType:
    if kinds.is_string_view(kind):
        return pa.string()
    if kinds.is_binary_view(kind):
        return pa.binary()
    if kinds.is_timestamp(kind) and kind.tz is not None and not _is_known(kind.tz):
        return pa.timestamp(kind.unit, "UTC")
    if kinds.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _ordinary(kind.value_type), kind.ordered)
    if kinds.is_struct(kind):
        return pa.struct([field.with_type(_ordinary(field.type)) for field in kind])
    if kinds.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_ordinary(kind.value_type)), kind.list_size)
    for of_kind, make in (
        ((kinds.is_list, kinds.is_list_view), pa.list_),
        ((kinds.is_large_list, kinds.is_large_list_view), pa.large_list),
    ):
        if any(of(kind) for of in of_kind):
            return make(kind.value_field.with_type(_ordinary(kind.value_type)))
    return kind


@functools.cache
def _is_known(zone: str) -> bool:
    """Say whether both Arrow and Python know a time zone."""
    try:
        instant = pa.scalar(0, pa.timestamp("s", zone))
        instant.cast(pa.string()), instant.as_py()
    except (pa.ArrowException, LookupError, ValueError, OSError):
        return False
    return True
