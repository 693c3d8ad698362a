"""Times as whole ticks, so that nanoseconds keep their order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vergence.core.errors import BadInput
from vergence.data.columns import floats, reason
from vergence.data.dates import date_order, iso_dates
from vergence.data.written import is_text

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def times_of(column: pa.ChunkedArray, name: str, what: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Return times as exactly as it stands there.

    Args:
        column: Timestamps, dates, durations, plain numbers, or text: ISO 8601, or dates such as 31/12/2024 of
            which one shows whether day or month comes first.
        name: Of the column, for errors.
        what: It stands in, for errors.

    Returns:
        Ticks ``(N,)``, int64 where they are whole, else float64; whether each time is known ``(N,)``; ticks a
        second, counted from 1970 UTC. Plain numbers are ticks of their own unit.

    Raises:
        BadInput: If it is none of these.
    """
    values = column
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if is_text(values.type):
        values = _from_text(values, f"Column {name} of {what}")
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("s"))
    kind = values.type
    known = np.asarray(values.is_valid().to_numpy(), bool)
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        return _whole(values.cast(pa.int64())), known, _PER_SECOND[kind.unit]
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return _whole(values.cast(pa.int64())), known, 1
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        ticks = np.require(floats(values), requirements="W")
        return ticks, np.isfinite(ticks), 1
    raise BadInput(f"Column {name} of {what} is of type {kind}; a time is a timestamp, a date or a number.")


def _whole(values: pa.ChunkedArray) -> np.ndarray:
    return np.require(values.fill_null(0).to_numpy(), np.int64, requirements="W")


def _from_text(values: pa.ChunkedArray, what: str) -> pa.ChunkedArray:
    values = pc.utf8_trim_whitespace(values)
    order = date_order(values)
    if order in ("unknown", "mixed"):
        shown = pc.drop_null(values)[0].as_py()
        why = (
            "no value tells whether the day or"
            if order == "unknown"
            else "in some the day comes first, in others"
        )
        raise BadInput(
            f"{what} has dates such as {shown}: {why} the month comes first. Write them as 2024-01-31."
        )
    if order is not None:
        values = iso_dates(values, order)
    values = pc.replace_substring_regex(values, r"\s*(UTC|GMT|Z)$", "Z")
    for kind in (
        pa.timestamp("us"),
        pa.timestamp("us", "UTC"),
        pa.timestamp("ns"),
        pa.timestamp("ns", "UTC"),
    ):
        try:
            return values.cast(kind)
        except pa.ArrowInvalid as error:
            refused = error
    raise BadInput(
        f"{what} is text that is no ISO 8601 time, all with or all without a zone: {reason(refused)}"
    )
