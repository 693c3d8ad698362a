"""Contrast of two sides of a store: in which clusters one is found more often than by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vergence.core.errors import BadInput, unknown
from vergence.store.table import Store
from vergence.studio.colours import NONE, STEPS, codes

REST = "all others"
LOWER, UPPER = "lower half", "upper half"
_LEVEL = 0.01  # chance that any cluster is called uneven though none is


@dataclass(frozen=True, slots=True)
class Contrast:
    """How often the rows of two sides are found in each of k clusters.

    Args:
        counts: ``(2, k)`` int64 rows.
        verdicts: ``(k,)`` int64: 0 and 1 where that side has more of its rows there than chance
            explains, -1 elsewhere.
        cosine: Of the mean directions of both sides; 1 means that they point the same way.
    """

    counts: np.ndarray
    verdicts: np.ndarray
    cosine: float

    @property
    def shares(self) -> np.ndarray:
        """``(2, k)``, of each side's rows."""
        return self.counts / np.maximum(self.counts.sum(1, keepdims=True), 1)


def contrast(directions: np.ndarray, of: np.ndarray, first: np.ndarray, second: np.ndarray) -> Contrast:
    """Compare two sets of rows by the clusters they fall into.

    A cluster is uneven where an exact two-sided test of equal shares (Fisher's, twice the smaller tail) is
    beyond what chance would reach in one of a hundred comparisons of k clusters (Bonferroni).

    Args:
        directions: ``(n, D)``, of length 1.
        of: ``(n,)`` cluster of each row, -1 for none.
        first: Rows of one side.
        second: Rows of the other.

    Raises:
        BadInput: If a side has no row in a cluster.
    """
    from scipy.stats import hypergeom

    sides = [rows[of[rows] >= 0] for rows in (first, second)]
    if not all(len(rows) for rows in sides):
        raise BadInput("Each side needs at least one row with a vector: choose other values.")
    k = int(of.max()) + 1
    counts = np.stack([np.bincount(of[rows], minlength=k) for rows in sides])
    n = counts.sum(1)
    chance = hypergeom(n.sum(), counts.sum(0), n[0])  # of the first side's rows in each cluster
    less, more = chance.cdf(counts[0]), chance.sf(counts[0] - 1)
    sure = 2 * np.minimum(less, more) < _LEVEL / k
    means = [directions[rows].mean(0) for rows in sides]
    cosine = float(means[0] @ means[1] / max(np.linalg.norm(means[0]) * np.linalg.norm(means[1]), 1e-12))
    return Contrast(counts, np.where(sure, np.where(more < less, 0, 1), -1), cosine)


def sides(store: Store, column: str) -> list[str]:
    """Return what a side can be by a column: its frequent values, or the halves of a scale."""
    legend = codes(store, column)[1]
    return [LOWER, UPPER] if legend.scale else legend.names


def rows_of(store: Store, column: str, first: str, second: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of two sides; the second may be ``REST``, every other row that has a value.

    Raises:
        BadInput: If a side is unknown, or both are the same.
    """
    of, legend = codes(store, column)
    known = [LOWER, UPPER] if legend.scale else legend.names
    for side in (first, second):
        if side not in known and not (side == REST and side is second):
            raise unknown(f"value of {column}", side, known)
    if first == second:
        raise BadInput("Both sides are the same: choose two different values.")
    if legend.scale:
        middle = np.median(of[of < STEPS]) if (of < STEPS).any() else 0
        masks = {LOWER: of < middle, UPPER: (of >= middle) & (of < STEPS)}
        masks[REST] = masks[UPPER] if first == LOWER else masks[LOWER]
    else:
        masks = {side: of == known.index(side) for side in (first, second) if side in known}
        masks[REST] = (of != known.index(first)) & (of != NONE)
    return np.flatnonzero(masks[first]), np.flatnonzero(masks[second])
