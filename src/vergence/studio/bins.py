"""Bins of columns: values or ranges that the rows of a store are counted by, with their conditions in SQL."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vergence.core.errors import BadInput, unknown
from vergence.core.numbers import written
from vergence.data.arrow_types import time_as_words
from vergence.store.lance_io import quoted
from vergence.store.table import Store
from vergence.studio.colours import FEW, NONE, OTHER, columns, decoded, kinds

RANGES = 32  # bins of numbers
_TAIL = 0.005  # share of numbers that the first and the last bin take in beyond the others


@dataclass(frozen=True, slots=True)
class Bins:
    """A column's rows by value or range.

    Args:
        column: Its name.
        of: ``(n,)`` uint8, the bin of each row; ``OTHER`` for rarer values, ``NONE`` where there is no value.
        names: Of the bins, for people.
        conditions: Of the bins, in SQL; the last two of all are those of ``OTHER`` and ``NONE``.
        counts: Rows in each.
        ranges: Whether bins are ranges, one after the other; otherwise they are values.
    """

    column: str
    of: np.ndarray
    names: list[str]
    conditions: list[str]
    counts: np.ndarray
    ranges: bool

    def condition(self, chosen: list[int]) -> str:
        """Return the condition of rows in any of these bins; raises ``BadInput`` if one is not there."""
        *own, other, none = self.conditions
        known = {**dict(enumerate(own)), OTHER: other, NONE: none}
        if not chosen or not set(chosen) <= set(known):
            raise BadInput(f"{self.column} has the bins 0 to {len(self.names) - 1}, {OTHER} and {NONE}.")
        return f"({' OR '.join(known[i] for i in dict.fromkeys(chosen))})"


def bins(store: Store, column: str) -> Bins:
    """Return the bins of a column; raises ``BadInput`` if there is none such, or none of values to count."""
    known = columns(store)
    if column not in known:
        raise unknown("column", column, known)
    return store.once(f"bins of {column}", lambda: _bins(column, decoded(store, column)))


def _bins(column: str, values: pa.Array) -> Bins:
    kind, name = values.type, '"{}"'.format(column.replace('"', '""'))
    whole = pa.types.is_integer(kind)
    few = pa.types.is_string(kind) or pa.types.is_boolean(kind)
    if few or (whole and pc.count_distinct(values).as_py() <= FEW):
        return _values(column, name, values)
    time = pa.types.is_temporal(kind)
    numbers = values.cast(pa.int64() if kind.bit_width == 64 else pa.int32()) if time else values
    x = numbers.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return _ranges(column, name, x, kind, whole=whole or time)


def _values(column: str, name: str, values: pa.Array) -> Bins:
    of, legend = kinds(column, values)
    words = [_literal(values[int(np.flatnonzero(of == i)[0])]) for i in range(len(legend.names))]
    listed = f"{name} NOT IN ({', '.join(words)}) AND " if words else ""
    conditions = [*(f"{name} = {word}" for word in words), f"({listed}{name} IS NOT NULL)", f"{name} IS NULL"]
    return Bins(column, of, legend.names, conditions, np.bincount(of, minlength=256), ranges=False)


def _ranges(column: str, name: str, x: np.ndarray, kind: pa.DataType, *, whole: bool) -> Bins:
    valid = np.isfinite(x)
    low, high = np.quantile(x[valid], [_TAIL, 1 - _TAIL]) if valid.any() else (0.0, 0.0)
    ends = (x[valid].min(), x[valid].max()) if valid.any() else (0.0, 0.0)
    if whole:
        step = max(1.0, np.ceil((np.floor(high) - np.ceil(low) + 1) / RANGES))
        edges = np.ceil(low) + step * np.arange(max(1, int((high - low) // step) + 1) + 1)
    else:
        edges = np.linspace(low, high, RANGES + 1) if high > low else np.array([low, low])
    inner = edges[1:-1]
    if pa.types.is_floating(kind):
        inner = inner.astype(kind.to_pandas_dtype()).astype(
            np.float64
        )  # the edges are compared as such values
    of = np.full(len(x), NONE, np.uint8)
    of[valid] = np.searchsorted(inner, x[valid], "right")
    bounds = [ends[0], *inner, ends[1]]
    shown, literals = _shown(bounds, kind), [_number(value, kind) for value in bounds]
    last = len(inner)
    conditions = [
        f"({name} >= {literals[i]} AND {name} {'<=' if i == last else '<'} {literals[i + 1]})"
        for i in range(last + 1)
    ]
    inside = f"{name} >= {literals[0]} AND {name} <= {literals[-1]}"
    conditions += [f"{name} IS NULL AND {name} IS NOT NULL", f"({name} IS NULL OR NOT ({inside}))"]
    names = [f"{a} to {b}" for a, b in itertools.pairwise(shown)]
    return Bins(column, of, names, conditions, np.bincount(of, minlength=256), ranges=True)


def _literal(value: pa.Scalar) -> str:
    word = value.as_py()
    return quoted(word) if isinstance(word, str) else str(word).upper()


def _number(value: float, kind: pa.DataType) -> str:
    if pa.types.is_date(kind):
        return f"DATE '{_moment(value, kind)}'"
    if pa.types.is_temporal(kind):
        return f"TIMESTAMP '{_moment(value, kind)}'"
    return str(int(value)) if pa.types.is_integer(kind) else repr(float(value))


def _moment(value: float, kind: pa.DataType) -> str:
    raw = pa.array([int(value)], pa.int64() if kind.bit_width == 64 else pa.int32())
    return str(time_as_words(raw.cast(kind))[0].as_py())


def _shown(bounds: list[float], kind: pa.DataType) -> list[str]:
    return [_moment(v, kind) if pa.types.is_temporal(kind) else written(float(v)) for v in bounds]


def counted(all_bins: Bins, rows: np.ndarray | None) -> dict[str, Any]:
    """Return bins as the page shows them, with the rows of each, and how many of those are in ``rows``."""
    places = [*range(len(all_bins.names)), *(code for code in (OTHER, NONE) if all_bins.counts[code])]
    inside = all_bins.counts if rows is None else np.bincount(all_bins.of[rows], minlength=256)
    extra = {OTHER: "others", NONE: "none"}
    return {
        "column": all_bins.column,
        "ranges": all_bins.ranges,
        "bins": [
            {
                "bin": i,
                "name": extra[i] if i in extra else all_bins.names[i],
                "counts": [int(all_bins.counts[i]), int(inside[i])],
            }
            for i in places
        ],
    }
