"""Curation: choose the samples of a store that are worth keeping, by one of the papers' ways."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vergence.core.errors import BadInput, unknown
from vergence.store.table import Store
from vergence.use import hkmeans, sas
from vergence.use.nearest import opened

METHODS = ("hkmeans", "sas")


@dataclass(frozen=True, slots=True)
class Curation:
    """What is kept of a store.

    Args:
        rows: ``(m,)`` int64, the rows that are kept.
        ids: The same by name.
        clusters: ``(n,)`` int64, the cluster of every row of the store, from 0.
    """

    rows: np.ndarray
    ids: list[str]
    clusters: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def before(self) -> np.ndarray:
        """``(K,)`` rows of each cluster."""
        return np.bincount(self.clusters)

    @property
    def after(self) -> np.ndarray:
        """``(K,)`` rows kept of each."""
        return np.bincount(self.clusters[self.rows], minlength=len(self.before))

    @property
    def evenness(self) -> tuple[float, float]:
        """Entropy of the clusters' sizes before and after, as a share of the largest there could be."""
        return _evenness(self.before), _evenness(self.after)


def curate(
    store: Store | str | Path,
    keep: float = 0.5,
    *,
    method: Literal["hkmeans", "sas"] = "hkmeans",
    column: str = "vector",
    seed: int = 0,
) -> Curation:
    """Choose the samples of a store that are worth keeping.

    Args:
        store: Opened, or where it lies. Leave near-duplicates out beforehand (``duplicates``).
        keep: Share in (0, 1], or from 2 on the number of samples.
        method: "hkmeans": even parts of a tree of clusters (``use.hkmeans``); "sas": in each cluster what
            stands for the rest, the most useful first (``use.sas``).
        column: Which vectors; every row must have one.
        seed: Of clusters and of the draw.

    Raises:
        BadInput: If the store or the column is not there, or ``keep`` is out of its range.

    >>> curate("photos.lance", 0.2).ids  # doctest: +SKIP
    ['cat/1.png', 'dog/17.png']
    """
    store = opened(store)
    if method not in METHODS:
        raise unknown("way to curate", method, METHODS)
    count = _count(keep, len(store))
    if method == "sas":
        subset = sas.select(store, count, column=column, seed=seed)
        rows, clusters = subset.rows, subset.classes
    else:
        curated = hkmeans.curate(store, count, column=column, seed=seed)
        rows, clusters = curated.rows, curated.clusters
    return Curation(rows, store.take(rows, ["id"])["id"].to_pylist(), clusters)


def _count(keep: float, of: int) -> int:
    """Return how many rows a share in (0, 1], or a whole number from 2 on, asks for."""
    if 0 < keep <= 1:
        return max(1, round(keep * of))
    if keep < 2 or keep != int(keep):
        raise BadInput(f"keep is a share in (0, 1] or a whole number from 2 on; got {keep:g}.")
    return int(keep)


def _evenness(sizes: np.ndarray) -> float:
    shares = sizes[sizes > 0] / sizes.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(len(sizes))) if len(sizes) > 1 else 1.0
