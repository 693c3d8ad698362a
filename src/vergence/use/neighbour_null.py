"""Null distribution of neighbours: how many strangers lie as near as a neighbour, by which copies are told.

Around a row the number of others within a distance r grows like r^m, m being the local intrinsic dimension.
Scale and dimension are read off the row's own K nearest neighbours: (K / r_K^m) r^m of them are expected
within r if all are strangers (Levina and Bickel 2004, Maximum Likelihood Estimation of Intrinsic Dimension,
Eq. 8). A copy lies where far less than one stranger is expected. The nearest few may be copies
themselves, so that they only count as nearer than the next one (type II censoring of the exponential
log(r_K / r)). In the midst of more copies scale and dimension come out far too small: a dimension far
under the others' is raised, and what is twenty times nearer than a K-th neighbour usually is, is measured by
the usual scale and dimension.

Of n rows, n t are expected to have a stranger at which the count is t. The largest t is taken at which
these are at most a given share of the rows that do (Benjamini and Hochberg 1995, Controlling the False
Discovery Rate).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEIGHBOURS = 32  # K
FEWEST = 8  # neighbours that tell a scale
_CENSORED = 4  # one in so many of the K neighbours may be copies
_NOISE = 1e-6  # of squared distances of unit vectors in float32
_BELOW = 3  # deviations under the median that a row's dimension is believed
_CLOSE = 20  # times nearer than a K-th neighbour usually is, what is near must be a copy


@dataclass(frozen=True, slots=True)
class NeighbourNull:
    """The strangers around each row.

    Args:
        count: K, the neighbours that were looked at.
        log_scale: ``(n,)`` log r_K.
        dimension: ``(n,)`` m, above 0.
        usual_scale: Median of ``log_scale``.
        usual_dimension: Median of the dimensions.
    """

    count: int
    log_scale: np.ndarray
    dimension: np.ndarray
    usual_scale: float
    usual_dimension: float

    @classmethod
    def fit(cls, cosines: np.ndarray) -> NeighbourNull:
        """Fit to the cosines ``(n, K)`` of each row with its K nearest others, in any order."""
        log_r = np.sort(log_distance(cosines), axis=1)
        count = log_r.shape[1]
        censored = max(1, count // _CENSORED)
        inside = log_r[:, -1:] - log_r[:, censored:-1]  # log(r_K / r), falling
        total = inside.sum(1) + censored * inside[:, 0]
        log_dimension = np.log(inside.shape[1] / np.maximum(total, 1e-6))
        usual = float(np.median(log_dimension))
        deviation = 1.4826 * np.median(np.abs(log_dimension - usual))
        dimension = np.exp(np.maximum(log_dimension, usual - _BELOW * deviation))
        return cls(count, log_r[:, -1], dimension, float(np.median(log_r[:, -1])), np.exp(usual))

    @property
    def spread(self) -> bool:
        """Whether neighbours can be told apart at all: not if most rows lie on top of each other."""
        return self.usual_scale > 0.5 * np.log(4 * _NOISE)

    def log_strangers(self, cosines: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return ``(m,)``, the log of the number of strangers expected at least as near to ``rows (m,)``.

        Args:
            cosines: ``(m,)``, of these rows with others.
            rows: int64.
        """
        log_r = log_distance(cosines)
        own = self.dimension[rows] * (self.log_scale[rows] - log_r)
        usual = self.usual_dimension * (self.usual_scale - log_r)
        close = log_r < self.usual_scale - np.log(_CLOSE)
        return np.log(self.count) - np.where(close, np.maximum(own, usual), own)


def log_distance(cosines: np.ndarray) -> np.ndarray:
    """Return the log of the distance of unit vectors, not below what float32 resolves."""
    return 0.5 * np.log(np.maximum(2 - 2 * cosines, _NOISE))


def discovered(log_strangers: np.ndarray, share: float) -> float:
    """Return the largest value up to which rows are discoveries; -inf where none is.

    Args:
        log_strangers: ``(n,)``, of each row's best candidate; inf where it has none.
        share: Of the discoveries that may be chance, in (0, 1].
    """
    ascending = np.sort(log_strangers)
    expected = len(ascending) * np.exp(ascending)
    held = np.flatnonzero(expected <= share * np.arange(1, len(ascending) + 1))
    return float(ascending[held[-1]]) if len(held) else -np.inf
