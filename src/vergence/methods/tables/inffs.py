"""Infinite Feature Selection: A Graph-based Feature Filtering Approach, arXiv:2006.08184."""

from __future__ import annotations

from typing import Self

import numpy as np
from scipy import stats

from vergence.core import BadInput, Estimator
from vergence.data import Source
from vergence.data.tables.source import TableSource
from vergence.methods.tables.encoders import build

SHARE = 0.9  # of the largest r for which the series converges


class InfFS(Estimator):
    """Columns are nodes of a graph; a column is worth what all paths of all lengths through it are worth.

    Roffo, Melzi, Castellani, Vinciarelli, Cristani 2020, arXiv:2006.08184. Columns are scaled to [0, 1]
    first; a missing number is the column's mean. After ``fit``: ``scores (n,)``, ``ranking (n,)`` (best
    first) and ``suggested``, how many columns the scores say to keep; the encoder hands over the kept
    columns, standardised, in order of rank. Differs from the released code: r is 0.9 / ρ(A) of the
    matrix that it is used with; the linear system is solved, not inverted; Fisher's score is the ratio
    of the variance between classes to that within, which allows more than two.

    Args:
        supervised: Use the labels of the source (its unlabelled rows are left out then).
        alpha: Without labels, weight of the spread against that of being unlike the others, in [0, 1].
        weights: With labels, of (mutual information, Fisher), (mutual information, spread) and
            (spread, Fisher); not negative, 1 in sum.
        size: Columns kept; None takes the suggested number.
    """

    def __init__(
        self,
        *,
        supervised: bool = False,
        alpha: float = 0.5,
        weights: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3),
        size: int | None = None,
    ) -> None:
        if not 0 <= alpha <= 1:
            raise BadInput(f"InfFS needs alpha in [0, 1]; got {alpha}.")
        if len(weights) != 3 or min(weights) < 0 or abs(sum(weights) - 1) > 1e-6:
            raise BadInput(f"InfFS needs three weights of 0 or more that sum to 1; got {weights}.")
        if size is not None and size < 1:
            raise BadInput(f"InfFS keeps 1 or more columns; got {size}.")
        self.supervised, self.alpha, self.weights, self.size = supervised, alpha, weights, size

    def fit(self, source: Source, *, seed: int = 0) -> Self:
        """Rank the numeric columns of a table.

        Args:
            source: Its labels are read where ``supervised`` says so, and only then.
            seed: Of the estimate of mutual information, which breaks ties at random.

        Raises:
            BadInput: If there are fewer than 2 numeric columns, or labels are asked for and missing.
        """
        if not isinstance(source, TableSource):
            raise BadInput(f"InfFS ranks the columns of a table; {source.uri} is none.")
        x, names = source.numeric.astype(np.float64), source.columns.numeric
        if len(names) < 2:
            raise BadInput(f"InfFS ranks 2 or more numeric columns; {source.uri} has {len(names)}.")
        mean = np.nan_to_num(np.nanmean(x, 0)) if np.isnan(x).any() else x.mean(0)
        x = scaled(np.where(np.isnan(x), mean, x))
        if self.supervised:
            if source.labels is None or len(np.unique(source.labels[source.labels >= 0])) < 2:
                raise BadInput(f"Supervised InfFS needs labels of 2 or more classes; {source.uri} has none.")
            known = source.labels >= 0
            graph = supervised_graph(x[known], source.labels[known], self.weights, seed=seed)
        else:
            graph = unsupervised_graph(x, self.alpha)
        self.scores = all_paths(graph)
        self.ranking = np.argsort(-self.scores, kind="stable")
        self.suggested = cut(self.scores)
        kept = [names[i] for i in self.ranking[: self.size or self.suggested]]
        self.encoder = build("raw", numbers=kept, categories={})
        self.encoder.learn_columns(source)
        return self


def unsupervised_graph(x: np.ndarray, alpha: float) -> np.ndarray:
    """Return A ``(n, n)``: α times the larger spread, 1 - α times how little two columns go together.

    Args:
        x: ``(T, n)`` in [0, 1]. A constant column goes together with all.
        alpha: In [0, 1].

    Source: arXiv:2006.08184, Sec. 3.1: A_ij = α max(σ_i, σ_j) + (1 - α)(1 - |Spearman_ij|).
    """
    return alpha * larger_spread(x) + (1 - alpha) * (1 - np.abs(spearman(x)))


def supervised_graph(
    x: np.ndarray, y: np.ndarray, weights: tuple[float, float, float], *, seed: int = 0
) -> np.ndarray:
    """Return A ``(n, n)`` of mutual information m, Fisher's score φ and spread σ, each scaled to [0, 1].

    A_ij = α1 (m_j + φ_i)/2 + α2 (m_j + σ_ij)/2 + α3 (σ_ij + φ_i)/2.

    Args:
        x: ``(T, n)`` in [0, 1].
        y: ``(T,)``, at least 0.
        weights: α1, α2, α3.
        seed: Of the estimate of mutual information.

    Source: arXiv:2006.08184, Sec. 3.2.
    """
    from sklearn.feature_selection import mutual_info_classif

    m = scaled(mutual_info_classif(x, y, random_state=seed)[:, None]).T  # (1, n), of the column j
    phi = scaled(fisher(x, y)[:, None])  # (n, 1), of the row i
    sigma = larger_spread(x)
    first, second, third = weights
    return first * (m + phi) / 2 + second * (m + sigma) / 2 + third * (sigma + phi) / 2


def all_paths(graph: np.ndarray, *, share: float = SHARE) -> np.ndarray:
    """Return s ``(n,)`` = Σ_{l >= 0} (rA)^l 1 = (I - rA)⁻¹ 1 with r = ``share`` / ρ(A): Katz's centrality.

    Args:
        graph: ``(n, n)``, not negative.
        share: In (0, 1).

    Source: arXiv:2006.08184, Eq. 8-10. The term l = 0 adds 1 to every score.
    """
    radius = float(np.abs(np.linalg.eigvals(graph)).max())
    if radius == 0:
        return np.ones(len(graph))
    return np.linalg.solve(np.eye(len(graph)) - share / radius * graph, np.ones(len(graph)))


def cut(scores: np.ndarray) -> int:
    """Return how many columns to keep: the bins, of n / 2, that hold more scores than bins do on average."""
    counts = np.histogram(scores, bins=max(1, len(scores) // 2))[0]
    return max(1, int((counts > counts.mean()).sum()))


def spearman(x: np.ndarray) -> np.ndarray:
    """Return the rank correlations ``(n, n)`` of columns; of a constant one they are 1."""
    rank = stats.rankdata(x, axis=0)
    rank -= rank.mean(0)
    length = np.linalg.norm(rank, axis=0)
    constant = length == 0
    correlation = rank.T @ rank / np.outer(np.where(constant, 1, length), np.where(constant, 1, length))
    correlation[constant], correlation[:, constant] = 1.0, 1.0
    return correlation.clip(-1, 1)


def fisher(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the variance of the class means over the mean one within classes, ``(n,)``; 0 of a constant."""
    kinds, counts = np.unique(y, return_counts=True)
    share = counts[:, None] / len(y)
    means = np.stack([x[y == kind].mean(0) for kind in kinds])
    within = (share * np.stack([x[y == kind].var(0) for kind in kinds])).sum(0)
    between = (share * (means - x.mean(0)) ** 2).sum(0)
    return np.where(between > 0, between / np.maximum(within, 1e-12), 0.0)


def larger_spread(x: np.ndarray) -> np.ndarray:
    """Return the larger of two columns' standard deviations, scaled to [0, 1] over all pairs, ``(n, n)``."""
    sigma = x.std(0)
    pairs = np.maximum(sigma[:, None], sigma)
    return scaled(pairs.reshape(-1, 1)).reshape(pairs.shape)


def scaled(x: np.ndarray) -> np.ndarray:
    """Return columns scaled to [0, 1]; 0 where all values are equal."""
    low, high = x.min(0), x.max(0)
    return (x - low) / np.where(high > low, high - low, 1.0)
