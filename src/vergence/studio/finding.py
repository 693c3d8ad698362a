"""One field to find samples by: an id, a condition in the store's SQL, or text that their words contain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vergence.core.errors import BadInput
from vergence.store.conditions import BOUNDED, as_filter
from vergence.store.table import Store

LONGEST = 1_000  # characters of a query
_SIGNS = set("=<>'")  # that stand in a condition, and seldom in a word


@dataclass(frozen=True, slots=True)
class Found:
    """What a query means, and the rows that fulfil it.

    Args:
        kind: "id", "condition" or "text".
        rows: ``(m,)`` int64, ascending.
    """

    kind: str
    rows: np.ndarray


def find(store: Store, query: str) -> Found:
    """Return the row whose id a query is, else those that fulfil it as a condition, else that contain it.

    Text is looked for as it stands, in any case, in ids, places (``uri``), classes and every column of text.
    A condition is read by the store's own strict grammar (``store.conditions``), and calls no function that
    could fill the memory: a link to the page may bring one along.

    Raises:
        BadInput: If it is empty or too long, nothing contains it, or it looks like a condition and is none.
    """
    query = query.strip()
    if not query or len(query) > LONGEST:
        raise BadInput(f"Give an id, a text or a condition of up to {LONGEST:,} characters.")
    try:
        return Found("id", np.array([store.find(query)]))
    except BadInput:
        pass
    try:
        as_filter(query, store.table.schema, functions=BOUNDED)
        return Found("condition", store.where(query))
    except BadInput as error:
        refused = error
    rows = _containing(store, query)
    if len(rows):
        return Found("text", rows)
    if _SIGNS & set(query):
        raise refused
    raise BadInput(f"No id and no text of the store contains '{query}'.")


def _containing(store: Store, text: str) -> np.ndarray:
    columns = [field.name for field in store.table.schema if _is_text(field.type)]
    hit = np.zeros(len(store), bool)
    for name in columns:
        values = store.read([name])[name]
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        contains = pc.match_substring(values, text, ignore_case=True)
        hit |= pc.fill_null(contains, False).to_numpy()
    return np.flatnonzero(hit)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
