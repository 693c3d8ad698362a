"""Routes of the columns and the table beside the map, which a selection and bins filter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from starlette.responses import Response
from starlette.routing import Route

from vergence.core.errors import BadInput
from vergence.data.arrow_types import times_as_words
from vergence.studio.bins import bins, counted
from vergence.studio.colours import columns
from vergence.studio.ordering import MEASURES, ordered
from vergence.studio.requests import Kind, Malformed, or_none, packed, text, whole, wholes
from vergence.studio.selection import read_mask, write_mask
from vergence.studio.session import Session, shown_value

MASKED = ("/studio/bins", "/studio/table")
PAGE = 50  # lines of the table at a time
_COLUMNS = 24  # that are counted


def linked_routes(post: Callable[..., Route]) -> list[Route]:
    """Return the addresses; those of ``MASKED`` are sent a mask of all rows."""
    return [
        post("/studio/bins", _bins, mask=or_none(text)),
        post("/studio/in-bins", _in_bins, chosen=_is_choice),
        post(
            "/studio/table",
            _table,
            mask=or_none(text),
            by=text,
            back=_is_bool,
            first=whole,
            row=or_none(whole),
        ),
    ]


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_choice(value: Any) -> bool:
    pair: Kind = lambda one: isinstance(one, list) and len(one) == 2 and text(one[0]) and wholes(one[1])  # noqa: E731
    return isinstance(value, list) and bool(value) and all(pair(one) for one in value)


def _own_columns(session: Session) -> list[str]:
    return [name for name in columns(session.store) if name != session.groups.own]


def _rows(session: Session, mask: str | None) -> np.ndarray | None:
    return None if mask is None else read_mask(mask, len(session.store))


def _bins(session: Session, mask: str | None) -> dict[str, Any]:
    rows, names = _rows(session, mask), _own_columns(session)
    return {
        "columns": [counted(bins(session.store, name), rows) for name in names[:_COLUMNS]],
        "left": names[_COLUMNS:],
    }


def _in_bins(session: Session, chosen: list[tuple[str, list[int]]]) -> Response:
    """Return the condition of rows in a chosen bin of every column, how many they are, then all as a mask."""
    condition = " AND ".join(bins(session.store, name).condition(places) for name, places in chosen)
    rows = session.store.where(condition)
    return packed({"condition": condition, "count": len(rows)}, write_mask(rows, len(session.store)))


def _table(
    session: Session, mask: str | None, by: str, back: bool, first: int, row: int | None
) -> dict[str, Any]:
    if first < 0:
        raise Malformed("A table begins with its first line.")
    rows = _rows(session, mask)
    if rows is not None and not len(rows):
        raise BadInput("No sample is selected.")
    order, measure = ordered(session, by, rows, row=row, back=back)
    part = slice(first, first + PAGE)
    names = _own_columns(session)
    cards = session.cards(order[part])
    values = _values(session, order[part], [name for name in names if name not in ("class", "label")])
    measures = [] if measure is None else [round(float(value), 4) for value in measure[part]]
    return {
        "total": len(order),
        "columns": [name for name in names if name not in ("class", "label")],
        "measures": MEASURES,
        "lines": [
            {**card, "values": line, "measure": measures[i] if measures else None}
            for i, (card, line) in enumerate(zip(cards, values, strict=True))
        ],
    }


def _values(session: Session, rows: np.ndarray, names: list[str]) -> list[list[str]]:
    if not len(rows) or not names:
        return [[] for _ in rows]
    taken: pa.Table = times_as_words(session.store.take(rows, names))
    return [
        ["" if line[name] is None else shown_value(line[name]) for name in names]
        for line in taken.to_pylist()
    ]
