"""Roles of columns that nobody named: what is a quantity, a category, or not learned from, and why."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from vergence.data.dates import date_order
from vergence.data.written import is_text, style

CATEGORICAL, NUMERIC = "categorical", "numeric"
MANY = 0.5  # share of distinct words from which a column is free text or a name of the row
FEW = 256  # distinct words that are always taken for categories, where some occur twice
SHOWN = 12  # columns of a role that are named
SHORT = 32  # rows of a table in which words may all differ by chance
_INDEX = re.compile(
    r"|__index_level_\d+__|unnamed: \d+(_level_\d+)?|index|level_0|row(_?(id|nr|no|num(ber)?))?"
)
_CODE = re.compile(
    r"(.*[\W_])?(id|ids|uuid|guid|key|nr|no|zip|zip_?code|post_?code|postal(_?code)?|plz|phone|tel|fax|iban|ssn|"
    r"isbn|ean|sku)"
)


def role(name: str, column: pa.ChunkedArray, decimal: str = ".") -> str:
    """Return "categorical", "numeric", or why a column is left out.

    Args:
        name: Of the column; one called id, key, zip and the like holds names, whatever its type.
        column: Its values, or the first of them.
        decimal: Mark that numbers written as words are tried with first.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_boolean(kind):
        return CATEGORICAL
    if pa.types.is_temporal(kind):
        return "a time"
    if pa.types.is_null(kind):
        return "empty"
    whole = pa.types.is_integer(kind)
    if (whole or is_text(kind)) and _INDEX.fullmatch(name.lower()) and _all_differ(column):
        return "an index"
    coded = _CODE.fullmatch(_snake(name)) is not None
    if whole or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _of_code(column) if coded and _is_whole(column) else NUMERIC
    if not is_text(kind):
        return f"of type {kind}"
    if not coded and style(column, decimal) is not None:
        return NUMERIC
    return "a time" if date_order(column) is not None else _of_words(column)


def reading_of(
    numeric: Mapping[str, str],
    categorical: Mapping[str, str],
    named: Mapping[str, str],
    left: Mapping[str, str],
) -> str:
    """Say in one line what each column was read as, and why where a name or type does not say it.

    Args:
        numeric: Columns of numbers, and how each was written.
        categorical: Columns of categories, and how many each has.
        named: Other roles and their columns.
        left: Columns that are not learned from, and why.

    >>> reading_of({"age": ""}, {"town": "3 values"}, {"label": "sick"}, {"id": "an id"})
    'label sick; numeric age; categorical town (3 values); left out id (an id)'
    """
    parts = [f"{what} {name}" for what, name in named.items()]
    for what, columns in ((NUMERIC, numeric), (CATEGORICAL, categorical), ("left out", left)):
        words = [f"{called(name)} ({why})" if why else called(name) for name, why in columns.items()]
        more = f", … ({len(words):,} in all)" if len(words) > SHOWN else ""
        parts += [f"{what} {', '.join(words[:SHOWN])}{more}"] if words else []
    return "; ".join(parts)


def called(name: str) -> str:
    """Return a name as it can stand in a list: in quotes where it is empty or holds a comma."""
    return f"'{name}'" if not name or re.search("[,;]", name) else name


def _of_code(column: pa.ChunkedArray) -> str:
    distinct = pc.count_distinct(pc.drop_null(column)).as_py()
    few = FEW if len(column) < SHORT else min(FEW, MANY * len(column))
    return CATEGORICAL if distinct <= few else "an id"


def _of_words(column: pa.ChunkedArray) -> str:
    distinct = pc.count_distinct(pc.drop_null(column)).as_py()
    if distinct > max(FEW, MANY * len(column)):
        return "nearly every row differs"
    return "every row differs" if len(column) >= SHORT and distinct == len(column) else CATEGORICAL


def _all_differ(column: pa.ChunkedArray) -> bool:
    return bool(column.null_count == 0 and pc.count_distinct(column).as_py() == len(column))


def _is_whole(column: pa.ChunkedArray) -> bool:
    """Say whether numbers are whole ones, as ids are that came as floats beside missing ones."""
    if pa.types.is_integer(column.type):
        return True
    known = pc.drop_null(column)
    return bool(pc.all(pc.equal(pc.floor(known), known)).as_py())


def _snake(name: str) -> str:
    """Return a name in lower case, words parted.

    >>> _snake("customerID"), _snake("ZipCode"), _snake("paid")
    ('customer_id', 'zip_code', 'paid')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip()).lower().replace(" ", "_")
