"""Colours of the map: any column, as a few kinds or as a scale."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vergence.core.errors import unknown
from vergence.core.numbers import written
from vergence.store.table import Store

KINDS = 60  # that get a colour of their own, the most frequent ones
FEW = 20  # different whole numbers up to which they are kinds, not a scale
OTHER, NONE = 254, 255  # codes of the kinds without one, and of rows without a value
STEPS = 254  # of a scale
_TAIL = 0.005  # share of values at either end that a scale does not stretch for


@dataclass(frozen=True, slots=True)
class Legend:
    """How to read codes.

    Args:
        column: What is shown.
        scale: Whether codes are steps between ``low`` and ``high``; otherwise they are kinds.
        names: Of the kinds, by code.
        counts: Rows of each.
        other: Rows of further kinds.
        none: Rows without a value.
        low: Lower end of a scale, as people write it.
        high: Upper end.
    """

    column: str
    scale: bool
    names: list[str]
    counts: list[int]
    other: int
    none: int
    low: str = ""
    high: str = ""

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def columns(store: Store) -> list[str]:
    """Return the columns that a map can be coloured by, class (or label) first where there is one."""
    first = "class" if _some(store, "class") else "label" if _some(store, "label") else None
    rest = [
        field.name
        for field in store.table.schema
        if field.name not in ("id", "uri", "class", "label", "thumbnail") and _fits(field.type)
    ]
    return ([first] if first else []) + rest


def codes(store: Store, column: str) -> tuple[np.ndarray, Legend]:
    """Return the colour ``(n,)`` uint8 of every row by a column, and how to read it.

    Raises:
        BadInput: If a map cannot be coloured by it.
    """
    known = columns(store)
    if column not in known:
        raise unknown("column", column, known)
    values = decoded(store, column)
    if pa.types.is_temporal(values.type):
        return _times(column, values)
    if pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        return scale(column, values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    if pa.types.is_integer(values.type) and pc.count_distinct(values).as_py() > FEW:
        return scale(column, values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    return kinds(column, values)


def decoded(store: Store, column: str) -> pa.Array:
    """Return a column of a store, its words as words though they be kept by number."""
    values = store.read([column])[column].combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.string()) if pa.types.is_large_string(values.type) else values


def kinds(column: str, values: pa.Array) -> tuple[np.ndarray, Legend]:
    """Code the most frequent kinds, in their own order; numbers as numbers, words as words."""
    counted = values.drop_null().value_counts()
    words, counts = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    most = sorted(zip(words, counts, strict=True), key=lambda pair: (-pair[1], pair[0]))[:KINDS]
    most.sort()
    places = pc.index_in(values, pa.array([word for word, _ in most], values.type)).to_numpy(
        zero_copy_only=False
    )
    missing = pc.is_null(values).to_numpy(zero_copy_only=False)
    of = np.where(np.isnan(places), OTHER, np.nan_to_num(places)).astype(np.uint8)
    of[missing] = NONE
    legend = Legend(
        column,
        False,
        [str(word) for word, _ in most],
        [count for _, count in most],
        int((of == OTHER).sum()),
        int(missing.sum()),
    )
    return of, legend


def scale(column: str, values: np.ndarray) -> tuple[np.ndarray, Legend]:
    """Code numbers by their place between the ends of a scale; what is not finite has no value."""
    finite = np.isfinite(values)
    low, high = np.quantile(values[finite], [_TAIL, 1 - _TAIL]) if finite.any() else (0.0, 0.0)
    place = (np.where(finite, values, low) - low) / ((high - low) or 1)
    of = np.round(np.clip(place, 0, 1) * (STEPS - 1)).astype(np.uint8)
    of[~finite] = NONE
    return of, Legend(column, True, [], [], 0, int((~finite).sum()), written(low), written(high))


def _times(column: str, values: pa.Array) -> tuple[np.ndarray, Legend]:
    numbers = values.cast(pa.int64() if values.type.bit_width == 64 else pa.int32())
    of, legend = scale(column, numbers.cast(pa.float64()).to_numpy(zero_copy_only=False))
    known = values.drop_null()
    if len(known):
        ends = pc.min_max(known)
        low, high = (str(ends[end].as_py()) for end in ("min", "max"))
        legend = Legend(column, True, [], [], 0, legend.none, low, high)
    return of, legend


def _some(store: Store, column: str) -> bool:
    return store.table.count_rows(f"`{column}` IS NOT NULL") > 0


def _fits(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_boolean,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_date,
        pa.types.is_timestamp,
    )
    return any(test(kind) for test in tests)
