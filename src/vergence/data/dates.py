"""Dates as people write them, such as 31/12/2024 or 12/31/2024 3:05 PM, as ISO 8601."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_TRIED = 1000  # values of a column that are looked at first
_TIME = (
    r"(?:[ T]+(?P<hour>\d{1,2}):(?P<rest>\d{2}(?::\d{2}(?:\.\d{1,9})?)?)"
    r"\s*(?P<half>[AaPp][Mm])?\s*(?P<zone>Z|[+-]\d{2}:?\d{2})?)?\s*$"
)
_YEAR_LAST = rf"^\s*(?P<first>\d{{1,2}})[/.-](?P<second>\d{{1,2}})[/.-](?P<year>\d{{4}}){_TIME}"
_YEAR_FIRST = rf"^\s*(?P<year>\d{{4}})[/.](?P<first>\d{{1,2}})[/.](?P<second>\d{{1,2}}){_TIME}"


def date_order(values: pa.ChunkedArray) -> str | None:
    """Return what comes first in the dates of a column of words.

    Returns:
        "year", "day" or "month"; "unknown" where no day is above 12, so that day and month cannot be told;
        "mixed" where both orders occur; None where the words are no such dates, or ISO 8601.

    >>> date_order(pa.chunked_array([["1/3/2024", "1/31/2024 7:00 PM"]]))
    'month'
    """
    for pattern in (_YEAR_LAST, _YEAR_FIRST):
        parts = (values.slice(0, _TRIED), values)
        if all(pc.all(pc.match_substring_regex(part, pattern)).as_py() for part in parts):
            break
    else:
        return None
    if values.null_count == len(values):
        return None
    if pattern == _YEAR_FIRST:
        return "year"
    first, second = (_numbers(values, pattern, name) for name in ("first", "second"))
    days = [pc.max(part).as_py() > 12 for part in (first, second)]
    if all(days):
        return "mixed"
    if not any(days):
        return "unknown" if pc.any(pc.not_equal(first, second)).as_py() else "day"
    return "day" if days[0] else "month"


def iso_dates(values: pa.ChunkedArray, order: str) -> pa.ChunkedArray:
    """Return the dates of a column as words in ISO 8601; a day that no month has stays so.

    Args:
        values: For which ``date_order`` found an order.
        order: "year", "day" or "month".

    >>> iso_dates(pa.chunked_array([["1/3/2024", "1/31/2024 7:00 PM"]]), "month").to_pylist()
    ['2024-01-03', '2024-01-31 19:00']
    """
    pattern = _YEAR_FIRST if order == "year" else _YEAR_LAST
    matches = pc.extract_regex(values, pattern)
    year, first, second, hour, rest, half, zone = (
        pc.struct_field(matches, name) for name in ("year", "first", "second", "hour", "rest", "half", "zone")
    )
    day, month = (first, second) if order == "day" else (second, first)
    date = pc.binary_join_element_wise(year, _two(month), _two(day), "-")
    has_time = pc.not_equal(hour, "")
    hours = pc.if_else(has_time, hour, "0").cast(pa.int64())
    late, halved = pc.equal(pc.utf8_lower(half), "pm"), pc.not_equal(half, "")
    in_half = pc.if_else(pc.equal(hours, 12), 0, hours)
    hours = pc.if_else(halved, pc.add(in_half, pc.if_else(late, 12, 0)), hours)
    time = pc.binary_join_element_wise(" ", _two(hours.cast(pa.string())), ":", rest, zone, "")
    return pc.binary_join_element_wise(date, pc.if_else(has_time, time, ""), "")


def _numbers(values: pa.ChunkedArray, pattern: str, name: str) -> pa.ChunkedArray:
    return pc.struct_field(pc.extract_regex(values, pattern), name).cast(pa.int64())


def _two(digits: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_lpad(digits, 2, "0")
