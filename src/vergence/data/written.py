"""Numbers written as words: ``1,50``, ``1,500.00``, ``3%``, ``$5``, with ``?`` where one is missing."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DECIMAL = b"vergence:decimal"  # in a table's metadata: the decimal mark of its file
MISSING = (
    "", "?", "-", "--", "–", "—", ".", "..", "*", "na", "n/a", "#n/a", "nan", "null", "none", "missing",
)  # fmt: skip
_TRIED = 1000  # values of a column that are tried first
_MONEY = "[$€£¥]"
_UNIT = rf"\s?(?:%|{_MONEY})?$"
_SIGN = rf"^[+-]?{_MONEY}?\s?"
_BLANK = " '’\u00a0\u202f"  # thousands, in Switzerland and in print
_BY_POINT = rf"{_SIGN}(?:(?:\d{{1,3}}(?:[,{_BLANK}]\d{{3}})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?{_UNIT}"
_BY_COMMA = rf"{_SIGN}(?:(?:\d{{1,3}}(?:[.{_BLANK}]\d{{3}})+|\d+)(?:,\d*)?|,\d+)(?:[eE][+-]?\d+)?{_UNIT}"
_EITHER = r"^[+-]?[1-9]\d{0,2},\d{3}$"  # 1,500: thousands, or one and a half
_PADDED = r"^[+-]?0\d"


def is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def trimmed(name: str) -> str:
    """Return a name without blanks, and without the mark of UTF-8, around it."""
    return name.strip().strip("\ufeff")


def decimal_of(table: pa.Table) -> str:
    """Return the decimal mark of the file that a table was read from."""
    return (table.schema.metadata or {}).get(DECIMAL, b".").decode()


def comma_decimals(table: pa.Table, *, semicolons: bool) -> bool:
    """Say whether a column of words holds numbers with a decimal comma.

    Args:
        table: As it was read with decimal points.
        semicolons: Cells are separated by semicolons, so that 1,500 is one and a half.
    """
    for column in table.columns:
        if not is_text(column.type) or style(column, ",") != ",":
            continue
        values = pc.drop_null(_stripped(column))
        with_comma = values.filter(pc.match_substring(values, ","))
        either = pc.all(pc.match_substring_regex(with_comma, _EITHER)).as_py()
        if len(with_comma) and (semicolons or not either):
            return True
    return False


def style(column: pa.ChunkedArray, decimal: str = ".") -> str | None:
    """Return the decimal mark with which all words of a column are numbers, or None where they are none.

    Codes with leading zeros are no numbers.

    Args:
        column: Of words.
        decimal: Mark that is tried first.
    """
    if not is_text(column.type):
        return None
    for part in (column.slice(0, _TRIED), column):
        values = pc.drop_null(_stripped(part))
        if part is column and not len(values):
            return None
        if pc.any(pc.match_substring_regex(values, _PADDED)).as_py():
            return None
        marks = (".", ",") if decimal == "." else (",", ".")
        fits = [mark for mark in marks if pc.all(pc.match_substring_regex(values, _pattern(mark))).as_py()]
        if len(values) and not fits:
            return None
    return fits[0] if _unit(values) is not None else None


def parsed(column: pa.ChunkedArray, mark: str) -> np.ndarray:
    """Return the numbers ``(N,)`` float64 that ``style`` found words to be, NaN where one is missing.

    3% is 3.
    """
    thousands = "," if mark == "." else "."
    values = pc.replace_substring_regex(_stripped(column), rf"[%$€£¥\s{_BLANK}{thousands}]", "")
    if mark == ",":
        values = pc.replace_substring(values, ",", ".")
    return np.asarray(values.cast(pa.float64()).fill_null(np.nan).to_numpy(), np.float64)


def written_as(column: pa.ChunkedArray, decimal: str = ".") -> str:
    """Say how words were read as numbers, by an example; nothing of a column of numbers."""
    mark = style(column, decimal)
    if mark is None:
        return ""
    values = pc.drop_null(_stripped(column)).slice(0, _TRIED).to_pylist()
    odd = next((value for value in values if not re.fullmatch(r"[+-]?\d+(\.\d+)?", value)), None)
    missing = column.length() - column.null_count - len(pc.drop_null(_stripped(column)))
    parts = [] if odd is None else [f"{odd} is {parsed(pa.chunked_array([[odd]]), mark)[0]:.15g}"]
    if missing:
        marks = pc.unique(column.filter(pc.invert(pc.is_valid(_stripped(column))))).drop_null().to_pylist()
        parts.append(f"{' and '.join(repr(m) for m in marks[:3])} is missing in {missing:,} rows")
    return ", ".join(parts)


def _pattern(mark: str) -> str:
    return _BY_POINT if mark == "." else _BY_COMMA


def _unit(values: pa.ChunkedArray) -> str | None:
    """Return "%" or ""; None where some are shares and some are not."""
    shares = pc.sum(pc.ends_with(values, "%")).as_py() or 0
    return "" if not shares else "%" if shares == len(values) else None


def _stripped(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return words without blanks around them, null where they say that nothing is known."""
    values = pc.utf8_trim_whitespace(column)
    known = pc.is_in(pc.utf8_lower(values), value_set=pa.array(MISSING, values.type))
    return pc.if_else(known, pa.scalar(None, values.type), values)
