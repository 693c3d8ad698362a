"""Support vector machines on a kernel matrix for growing C, each begun with the solution of the one before.

The problem is libsvm's, which scikit-learn's ``SVC`` solves anew for every C: the dual, two variables a step,
chosen by second-order information (Fan, Chen, Lin, JMLR 6, 2005), up to the same tolerance. Several classes
are voted on by pairs of classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numba import njit

TOLERANCE = 1e-3  # between the two sides of the optimality condition, as libsvm's
STEPS = 200_000  # at most; only large C on noise needs more: minutes, to choose nothing better
_LEAST = 1e-12  # curvature along a pair


class SVMPath:
    """Machines for growing C on the same graphs.

    Args:
        kernel: ``(n, n)`` of the graphs to learn from.
        y: ``(n,)`` labels, 2 or more different ones.
    """

    def __init__(self, kernel: np.ndarray, y: np.ndarray) -> None:
        self.classes, labels = np.unique(y, return_inverse=True)
        self.n = len(y)
        self.pairs = [_Pair(kernel, labels, a, b) for a, b in combinations(range(len(self.classes)), 2)]

    def predictions(self, across: np.ndarray, strengths: Sequence[float]) -> Iterator[np.ndarray]:
        """Yield the labels ``(m,)`` of other graphs under each C in turn.

        Args:
            across: ``(m, n)`` kernel of those graphs with the ones learned from.
            strengths: Values of C, ascending.
        """
        for c in strengths:
            votes = np.zeros((len(across), len(self.classes)), np.int64)
            for pair in self.pairs:
                pair.fit(c)
                first = pair.decide(across) > 0
                votes[first, pair.a] += 1
                votes[~first, pair.b] += 1
            yield self.classes[votes.argmax(1)]  # the first of equals, as libsvm


class _Pair:
    """The machine that tells class ``a`` (+1) from class ``b`` (-1)."""

    def __init__(self, kernel: np.ndarray, labels: np.ndarray, a: int, b: int) -> None:
        self.a, self.b = a, b
        self.rows = np.flatnonzero((labels == a) | (labels == b))
        self.sign = np.where(labels[self.rows] == a, 1.0, -1.0)
        self.kernel = np.ascontiguousarray(kernel[np.ix_(self.rows, self.rows)], dtype=np.float32)
        self.alpha = np.zeros(len(self.rows))
        self.error = self.sign.copy()  # sign - decision without its bias
        self.c, self.bias = 0.0, 0.0

    def fit(self, c: float) -> None:
        if self.c:  # variables at their bound, which are most of them, mostly stay there
            self.error = self.sign - (self.sign - self.error) * (c / self.c)
            self.alpha = np.minimum(self.alpha * (c / self.c), c)
        self.c = c
        high, low = _descend(self.kernel, self.sign, c, self.alpha, self.error, STEPS)
        inside = (self.alpha > 0) & (self.alpha < c)
        self.bias = float(self.error[inside].mean()) if inside.any() else (high + low) / 2

    def decide(self, across: np.ndarray) -> np.ndarray:
        support = np.flatnonzero(self.alpha)
        return across[:, self.rows[support]] @ (self.alpha * self.sign)[support] + self.bias


@njit(inline="always")
def _largest(error: np.ndarray, sign: np.ndarray, alpha: np.ndarray, c: float) -> tuple[int, float]:
    """Return the variable of the largest error among those that may grow along their class, -1 for none."""
    i, high = -1, -np.inf
    for t in range(len(error)):
        if error[t] > high and (alpha[t] < c if sign[t] > 0 else alpha[t] > 0):
            i, high = t, error[t]
    return i, high


@njit(inline="always")
def _partner(
    row: np.ndarray,
    diagonal: np.ndarray,
    i: int,
    high: float,
    error: np.ndarray,
    sign: np.ndarray,
    alpha: np.ndarray,
    c: float,
) -> tuple[int, float]:
    """Return the variable that gains most beside ``i`` among those that may shrink, and their least error."""
    j, low, gain, own = -1, np.inf, 0.0, diagonal[i]
    for t in range(len(error)):
        if alpha[t] > 0 if sign[t] > 0 else alpha[t] < c:
            low = min(low, error[t])
            ahead = high - error[t]
            if ahead > 0:
                curvature = max(own + diagonal[t] - 2 * row[t], _LEAST)
                if ahead * ahead > gain * curvature:
                    gain, j = ahead * ahead / curvature, t
    return j, low


@njit(nogil=True)
def _descend(
    kernel: np.ndarray, sign: np.ndarray, c: float, alpha: np.ndarray, error: np.ndarray, most: int
) -> tuple[float, float]:
    """Solve in place: change two variables a step, until no pair breaks optimality by the tolerance."""
    n, diagonal = len(sign), np.diag(kernel).copy()
    high, low = 0.0, 0.0
    for _ in range(most):
        i, high = _largest(error, sign, alpha, c)
        if i < 0:
            break
        j, low = _partner(kernel[i], diagonal, i, high, error, sign, alpha, c)
        if j < 0 or high - low < TOLERANCE:
            break
        row = kernel[i]
        other = kernel[j]
        step = (high - error[j]) / max(row[i] + other[j] - 2 * row[j], _LEAST)
        room_i = c - alpha[i] if sign[i] > 0 else alpha[i]
        room_j = alpha[j] if sign[j] > 0 else c - alpha[j]
        step = min(step, room_i, room_j)
        alpha[i] = _moved(alpha[i], sign[i] * step, step == room_i, sign[i] > 0, c)
        alpha[j] = _moved(alpha[j], -sign[j] * step, step == room_j, sign[j] < 0, c)
        for t in range(n):
            error[t] -= step * (row[t] - other[t])
    return high, low


@njit(inline="always")
def _moved(value: float, by: float, to_bound: bool, upwards: bool, c: float) -> float:
    if to_bound:  # exactly
        return c if upwards else 0.0
    return value + by
