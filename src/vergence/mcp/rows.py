"""Rows as agents see them: few, in plain JSON, with pictures of a bounded size."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from vergence.core.errors import BadInput, unknown
from vergence.data.arrow_types import times_as_words
from vergence.store.conditions import BOUNDED, as_filter
from vergence.store.table import Store
from vergence.studio.encoder_session import picture

MOST = 200  # rows of an answer
LARGEST = 256  # pixels of the longer side of a picture
_LONGEST = 300  # characters of a value
_LINE = 600  # characters of an error
_USUAL = ("id", "class")
_CONDITION = 50_000  # characters


def between(name: str, value: int, least: int, most: int) -> int:
    """Return a number that lies in a range; raises ``BadInput`` where it does not."""
    if not least <= value <= most:
        raise BadInput(f"{name} is a number from {least:,} to {most:,}; got {value}.")
    return value


def matching(store: Store, condition: str) -> np.ndarray:
    """Return the rows that fulfil a condition of bounded work, ``(m,)`` int64, ascending.

    Raises:
        BadInput: As ``check`` and ``Store.where``.
    """
    check(store, condition)
    return store.where(condition)


def check(store: Store, condition: str | None) -> None:
    """Refuse a condition that is too long, or calls what can make a value of any size.

    Raises:
        BadInput: If it is so, or is not understood.
    """
    if condition is None:
        return
    if len(condition) > _CONDITION:
        raise BadInput(f"A condition has up to {_CONDITION:,} characters; got {len(condition):,}.")
    as_filter(condition, store.table.schema, functions=BOUNDED)


def shown_columns(store: Store) -> list[str]:
    """Return the columns whose values can be shown: all but vectors, pictures and other nested ones."""
    return [
        field.name
        for field in store.table.schema
        if not (pa.types.is_nested(field.type) or _is_binary(field.type))
    ]


def records(
    store: Store, rows: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return rows as plain values: id, class where there is one, and these columns.

    Raises:
        BadInput: If a column is not there, or holds vectors or pictures.
    """
    known = shown_columns(store)
    for name in columns or ():
        if name not in known:
            raise unknown("column", name, known)
    chosen = list(dict.fromkeys([*_USUAL, *(columns or ())]))
    if not len(rows):
        return []
    values = times_as_words(store.take(rows, chosen)).to_pylist()
    named = set(columns or ())
    return [
        {
            name: value if name == "id" else plain(value)  # an id stays whole: it is asked with again
            for name, value in row.items()
            if value is not None or name in named
        }
        for row in values
    ]


def plain(value: Any) -> Any:
    """Return a value as JSON holds it, text cut at 300 characters."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def shortened(line: str) -> str:
    r"""Return what may be long or unprintable as one line of 600 characters at most; its end stays.

    >>> shortened("No such\nrow")
    'No such row'
    """
    line = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(line.split())
    )
    return line if len(line) <= _LINE else f"{line[: _LINE - 200]}…{line[-199:]}"


def small_picture(raw: bytes | None, side: int) -> bytes | None:
    """Return a picture encoded anew as PNG, ``side`` pixels on its longer side at most; None without one."""
    if not raw:
        return None
    try:
        image = Image.fromarray(picture(raw))
    except BadInput:  # a broken one is none
        return None
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
