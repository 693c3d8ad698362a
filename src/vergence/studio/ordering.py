"""Orders of the table beside the map: by a column, by likeness, by how far outside, by near-duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from vergence.core.errors import BadInput, unknown
from vergence.studio import cache
from vergence.studio.colours import columns, decoded

if TYPE_CHECKING:
    from vergence.studio.session import Session

SAMPLE, SELECTION, OUTSIDE, COPIES = (
    "likeness to the sample",
    "likeness to the selection",
    "outlierness",
    "near-duplicates",
)
MEASURES = (SAMPLE, SELECTION, OUTSIDE, COPIES)
_AMONG = 10_000  # rows that say how far outside another is
_NEAREST = 5  # of them, the one whose distance counts


def ordered(
    session: Session, by: str, rows: np.ndarray | None, *, row: int | None = None, back: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return rows in an order, and the measure ``(m,)`` that they are ordered by, None where it is a column.

    Args:
        session: Of the store.
        by: "" for the store's own order, a column (its smallest values first), or one of ``MEASURES`` (the
            largest first).
        rows: ``(m,)``, which; None means all.
        row: The sample of ``SAMPLE``.
        back: The other way round; rows without a value come last either way.

    Raises:
        BadInput: If there is no such order, or what it needs is not there.
    """
    store = session.store
    if by in MEASURES:
        measure = _measure(session, by, rows, row)
        chosen = np.arange(len(store)) if rows is None else rows
        chosen = chosen[np.isfinite(measure[chosen])]
        order = chosen[np.argsort(measure[chosen] * (1 if back else -1), kind="stable")]
        return order, measure[order]
    if not by:
        order = np.arange(len(store)) if rows is None else rows
        return order[::-1] if back else order, None
    known = ["id", *columns(store)]
    if by not in known:
        raise unknown("order", by, [*known, *MEASURES])
    way = "descending" if back else "ascending"

    def sort() -> np.ndarray:
        return pc.array_sort_indices(decoded(store, by), order=way).to_numpy().astype(np.int64)

    order = store.once(f"order by {by}, {way}", sort)
    if rows is None:
        return order, None
    inside = np.zeros(len(store), bool)
    inside[rows] = True
    return order[inside[order]], None


def _measure(session: Session, by: str, rows: np.ndarray | None, row: int | None) -> np.ndarray:
    if by == OUTSIDE:
        return outlierness(session)
    if by == COPIES:
        return copies(session)
    vectors, lengths = session.vectors
    if by == SAMPLE:
        if row is None or not 0 <= row < len(vectors):
            raise BadInput(
                "Choose a sample on the map first: the others are ordered by how like it they are."
            )
        query = vectors[row] / lengths[row]
    else:
        if rows is None or not len(rows):
            raise BadInput("Select some samples first: all are ordered by how like their mean they are.")
        query = np.nanmean(vectors[rows] / lengths[rows, None], axis=0)
        query /= max(float(np.linalg.norm(query)), 1e-12)
    return vectors @ query.astype(np.float32) / lengths


def outlierness(session: Session) -> np.ndarray:
    """Return how far outside each row lies ``(n,)`` float32, worked out once and kept with the store.

    That is the cosine distance to its fifth nearest of 10,000 other rows, an even sample of all.
    """
    name, n = f"outside-{session.mark}", len(session.store)
    kept = cache.load_array(session.store, name)
    if kept is not None and kept.shape == (n,) and kept.dtype == np.float32:
        return kept
    from vergence.use.topk import as_tensor, topk

    unit, present = session.store.directions(session.column), session.store.present(session.column)
    among = present[np.unique(np.linspace(0, len(present) - 1, _AMONG).astype(np.int64))]
    with session.busy(f"Finding how far outside each of {n:,} samples lies"):
        near = topk(as_tensor(unit[present]), as_tensor(unit[among]), _NEAREST + 1)[0].cpu().numpy()
    own = np.isin(present, among)  # the nearest of these is itself
    place = np.minimum(np.where(own, _NEAREST, _NEAREST - 1), near.shape[1] - 1)
    result = np.full(n, np.nan, np.float32)
    result[present] = 1 - near[np.arange(len(near)), place]
    cache.save_array(session.store, name, result)
    return result


def copies(session: Session) -> np.ndarray:
    """Return of how many others each row is a near-duplicate ``(n,)``, as the review has found them."""
    if not session.review.searched:
        raise BadInput("Find near-duplicates first, under Duplicates: then samples can be ordered by them.")
    count = np.zeros(len(session.store))
    for group in session.review.groups:
        count[group] = np.maximum(count[group], len(group) - 1)
    return count
