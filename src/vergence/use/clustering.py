"""Clustering: groups of like samples, by k-means on the directions of their vectors, or by multicut."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score
from sklearn.utils import check_random_state

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.use.clusterfug import multicut_clusters
from vergence.use.nearest import centred_directions, opened

_TRIED = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30)  # numbers of clusters that are weighed
_NEARLY = 0.05  # share of the best silhouette that is given up for a finer division
_SAMPLE = 2_000  # rows on which they are weighed
_WHOLE = 20_000  # rows up to which all of them are used in every step of k-means


@dataclass(frozen=True, slots=True)
class Clusters:
    """A partition of a store's rows; cluster 0 is the largest.

    Args:
        of: ``(n,)`` int64, each row's cluster.
        centres: ``(k, D)`` float32, of length 1.
        closeness: ``(n,)``, each row's cosine with its centre.
        silhouette: In [-1, 1], on a sample: 1 is far apart, 0 is no structure. NaN for one cluster.
    """

    of: np.ndarray
    centres: np.ndarray
    closeness: np.ndarray
    silhouette: float

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def sizes(self) -> np.ndarray:
        """``(k,)`` rows in each."""
        return np.bincount(self.of, minlength=len(self))

    def members(self, cluster: int) -> np.ndarray:
        """Return the rows of a cluster, the most typical (nearest its centre) first."""
        rows = np.flatnonzero(self.of == cluster)
        return rows[np.argsort(-self.closeness[rows], kind="stable")]


def clusters(
    store: Store | str | Path,
    *,
    k: int | None = None,
    alpha: float | None = None,
    column: str = "vector",
    seed: int = 0,
) -> Clusters:
    """Divide a store into groups of like samples.

    Vectors are scaled to unit length first, so that like means a high cosine.

    Args:
        store: Opened, or where it lies.
        k: How many, fewer where vectors are equal; None weighs 2 to 30 by their silhouette on a sample and
            takes the largest that comes within 5 % of the best.
        alpha: In place of k: the cosine, about the mean of all, from which two samples attract each other,
            at least 0; 0.4 is usual. How many groups there are then comes out (``use.clusterfug``), in a time
            that grows with n².
        column: Which vectors; every row must have one.
        seed: Of the starting points.

    Raises:
        BadInput: If there are fewer than k rows, or rows without such a vector, or both k and alpha.
    """
    if k is not None and alpha is not None:
        raise BadInput("Give k, the number of clusters, or alpha, from which it comes out; not both.")
    store = opened(store)
    if alpha is not None:
        of = multicut_clusters(store, alpha=alpha, column=column).of
        unit = centred_directions(store, column)
        return _divided(unit, of, unit[_drawn(len(unit), seed)])
    vectors = store.vectors(column)
    if np.isnan(vectors).any():
        raise BadInput(f"Not every row of {store.path} has a {column}: choose another column.")
    return partition(vectors, k=k, seed=seed)


def partition(vectors: np.ndarray, *, k: int | None = None, seed: int = 0) -> Clusters:
    """Do the work of ``clusters`` on vectors ``(n, D)``."""
    n = len(vectors)
    if k is not None and not 1 <= k <= n:
        raise BadInput(f"{n} rows can be divided into 1 to {n} clusters; k={k} was asked for.")
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    sample = unit[_drawn(n, seed)]
    k = _choose(sample, seed) if k is None else k
    fitted = _kmeans(unit, k, seed)
    sizes = np.bincount(fitted.labels_, minlength=k)  # equal vectors leave clusters without members
    order = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    of = np.argsort(np.argsort(-sizes, kind="stable"))[fitted.labels_].astype(np.int64)
    return _divided(unit, of, sample, fitted.cluster_centers_[order].astype(np.float32))


def _divided(
    unit: np.ndarray, of: np.ndarray, sample: np.ndarray, centres: np.ndarray | None = None
) -> Clusters:
    """Describe a partition of unit vectors; None takes the clusters' means for their centres."""
    if centres is None:
        centres = np.zeros((of.max() + 1, unit.shape[1]), np.float32)
        np.add.at(centres, of, unit)
    centres = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    return Clusters(of, centres, (unit * centres[of]).sum(1), _silhouette(sample, centres))


def _drawn(n: int, seed: int) -> np.ndarray:
    return check_random_state(seed).permutation(n)[:_SAMPLE]


def _choose(sample: np.ndarray, seed: int) -> int:
    tried = [k for k in _TRIED if k <= len(sample) // 3]
    weighed = {k: _silhouette(sample, _kmeans(sample, k, seed).cluster_centers_) for k in tried}
    best = max((v for v in weighed.values() if not np.isnan(v)), default=float("nan"))
    return max((k for k, v in weighed.items() if v >= best - _NEARLY * abs(best)), default=1)


def _kmeans(unit: np.ndarray, k: int, seed: int) -> KMeans | MiniBatchKMeans:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal vectors; fewer clusters come out then
        if len(unit) <= _WHOLE:
            return KMeans(k, n_init=3, max_iter=100, random_state=seed).fit(unit)
        return MiniBatchKMeans(k, n_init=3, batch_size=4096, random_state=seed).fit(unit)


def _silhouette(sample: np.ndarray, centres: np.ndarray) -> float:
    of = ((centres**2).sum(1) - 2 * sample @ centres.T).argmin(1)  # the nearest centre
    if not 1 < len(np.unique(of)) < len(sample):
        return float("nan")
    return float(silhouette_score(sample, of))
