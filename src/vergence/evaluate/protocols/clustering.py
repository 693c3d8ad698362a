"""Clustering: do the groups of the features agree with the classes nobody told them?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, MiniBatchKMeans
from torch.nn.functional import normalize

from vergence.evaluate.inputs import Array, labelled
from vergence.evaluate.score import Score, mean_score, resampled

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.protocols import Scores

NEEDS = ("labels",)
_FULL = 20_000  # rows up to which every step of k-means looks at all of them


def clustering(x: Array, y: Array, *, k: int | None = None, seed: int = 0) -> dict[str, Score]:
    """Cluster features by k-means and compare with the labels.

    Features are scaled to unit length first, as k-NN and retrieval compare them.

    Args:
        x: ``(n, D)`` features.
        y: ``(n,)`` labels, at least 0.
        k: Clusters; None makes as many as there are classes.
        seed: Of k-means.

    Returns:
        ``acc``, the accuracy under the best one-to-one matching of clusters and classes, and
        ``nmi``, the normalised mutual information.
    """
    x, y = labelled(x, y, "clustering")
    classes = np.unique(y.cpu().numpy())
    k = len(classes) if k is None else k
    if not 1 <= k <= len(x):
        raise ValueError(f"clustering needs k between 1 and the {len(x)} samples, got {k}.")
    vectors = normalize(x, dim=1).cpu().numpy()
    algorithm = KMeans if len(vectors) <= _FULL else MiniBatchKMeans
    assigned = algorithm(k, n_init=5, random_state=seed).fit_predict(vectors)
    truth = y.cpu().numpy()
    return {"acc": matched_accuracy(assigned, truth), "nmi": mutual_information(assigned, truth)}


def matched_accuracy(clusters: Array, labels: Array) -> Score:
    """Share of samples whose cluster is the one that the Hungarian method gives to their class.

    The interval resamples samples and keeps the matching.
    """
    table, clusters, labels = contingency(clusters, labels)
    match = np.full(table.shape[0], -1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    match[rows] = columns
    return mean_score(match[clusters] == labels, note=f"{table.shape[0]} clusters")


def mutual_information(clusters: Array, labels: Array, *, repeats: int = 1000) -> Score:
    """Mutual information over the mean of both entropies, in [0, 1]; 1 if neither splits anything.

    Resampling adds information that is not there, so the bootstrap's quantiles are moved back by
    the distance of their mean from the value.
    """
    table, _, _ = contingency(clusters, labels)
    value = float(_nmi(table[None])[0])
    drawn = resampled(table.ravel(), repeats).reshape(repeats, *table.shape)
    spread = _nmi(drawn)
    low, high = np.quantile(spread, (0.025, 0.975)) - spread.mean() + value
    return Score(
        value,
        float(np.clip(low, 0, value)),
        float(np.clip(high, value, 1)),
        int(table.sum()),
        f"{table.shape[0]} clusters",
    )


def contingency(clusters: Array, labels: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count ``(clusters, classes)``; also return both assignments, numbered from 0 without gaps."""
    names, rows = np.unique(np.asarray(clusters), return_inverse=True)
    classes, columns = np.unique(np.asarray(labels), return_inverse=True)
    table = np.zeros((len(names), len(classes)), dtype=np.int64)
    np.add.at(table, (rows, columns), 1)
    return table, rows, columns


def _nmi(tables: np.ndarray) -> np.ndarray:
    joint = tables / tables.sum((1, 2), keepdims=True)
    row, column = _entropy(joint.sum(2)), _entropy(joint.sum(1))
    shared = row + column - _entropy(joint.reshape(len(joint), -1))
    mean = (row + column) / 2
    return np.divide(shared, mean, out=np.ones_like(mean), where=mean > 1e-12).clip(0, 1)


def _entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)


def _clustering(split: Split, seed: int) -> Scores:
    agreement = clustering(split.test_x, split.test_y, seed=seed)
    yield from (("cluster acc", agreement["acc"]), ("NMI", agreement["nmi"]))


PROTOCOLS = {"clustering": _clustering}
