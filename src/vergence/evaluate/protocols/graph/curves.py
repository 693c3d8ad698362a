"""AUC, average precision and F1 with their intervals, and scores that are not shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.evaluate.inputs import Array
from vergence.evaluate.score import Score, resampled

REPEATS = 200


@dataclass(frozen=True, slots=True)
class Amount(Score):
    """A score in units of its own, such as an RMSE or an MMD, printed as it is; less may be better.

    >>> print(Amount(0.581, 0.552, 0.61, n=100))
    0.581 [0.552, 0.61]
    """

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def roc_auc(scores: Array, truth: Array, *, note: str = "") -> Score:
    """Share of (positive, negative) pairs that are in the right order; ties count half.

    Interval: DeLong et al. 1988, from the part that each row has in the mean.

    Args:
        scores: ``(n,)``, higher for positives.
        truth: ``(n,)`` of 0 and 1, both present.
        note: Kept with the score.
    """
    scores, truth = ranked(scores, truth, "roc_auc")
    value, influence = auc_parts(scores, truth)
    return about(value, influence, note=note)


def macro_auc(scores: np.ndarray, labels: np.ndarray, *, note: str = "") -> Score:
    """Mean over classes of the one-versus-rest AUC.

    Args:
        scores: ``(n, C)``, such as probabilities.
        labels: ``(n,)`` in [0, C); classes without a row, or with all of them, are left out.
        note: Kept with the score.
    """
    classes = [c for c in np.unique(labels) if (labels != c).any()]
    if not classes:
        raise BadInput("The AUC needs test rows of 2 or more classes.")
    parts = [auc_parts(scores[:, c], labels == c) for c in classes]
    value = float(np.mean([part[0] for part in parts]))
    return about(value, np.mean([part[1] for part in parts], axis=0), note=note)


def auc_parts(scores: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the AUC and the influence of each row on it ``(n,)``, whose squares sum to its variance."""
    ranks = rankdata(scores)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    below = (ranks[truth] - rankdata(scores[truth])) / negatives
    above = 1 - (ranks[~truth] - rankdata(scores[~truth])) / positives
    value = float(below.mean())
    influence = np.empty(len(scores))
    influence[truth] = (below - value) / positives
    influence[~truth] = (above - value) / negatives
    return value, influence


def about(value: float, influence: np.ndarray, *, note: str = "") -> Score:
    half = 1.96 * float(np.sqrt(np.square(influence).sum()))
    return Score(value, max(value - half, 0.0), min(value + half, 1.0), len(influence), note)


def average_precision(scores: Array, truth: Array, *, note: str = "", seed: int = 0) -> Score:
    """Precision averaged over the recalls that each threshold adds; equal scores are one threshold.

    Args:
        scores: ``(n,)``, higher for positives.
        truth: ``(n,)`` of 0 and 1, both present.
        note: Kept with the score.
        seed: Of the bootstrap over rows.
    """
    scores, truth = ranked(scores, truth, "average_precision")
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    hits = truth[order].astype(np.float64)
    value = float(_precision(np.ones((1, len(order))), hits, ends)[0])
    block = max(1, 4_000_000 // len(order))
    drawn = np.concatenate(
        [
            _precision(
                resampled(np.ones(len(order)), min(block, REPEATS - i), seed=seed + i).astype(np.float64),
                hits,
                ends,
            )
            for i in range(0, REPEATS, block)
        ]
    )
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Score(value, min(float(low), value), max(float(high), value), len(order), note)


def f1(guess: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return macro- and micro-F1 of yes-no answers.

    Args:
        guess: ``(n, L)`` bool.
        truth: ``(n, L)`` bool. A label that is neither there nor guessed counts 0 in the macro mean,
            as in scikit-learn.
    """
    hits = (guess & truth).sum(0)
    sizes = guess.sum(0) + truth.sum(0)
    each = np.divide(2 * hits, sizes, out=np.zeros(len(hits)), where=sizes > 0)
    return float(each.mean()), float(2 * hits.sum() / max(sizes.sum(), 1))


def macro_f1(guess: np.ndarray, labels: np.ndarray, *, note: str = "", seed: int = 0) -> Score:
    """Mean of the F1 of each class that is there or guessed, with its bootstrap interval.

    Args:
        guess: ``(n,)``.
        labels: ``(n,)``.
        note: Kept with the score.
        seed: Of the bootstrap over rows.
    """
    names, both = np.unique(np.stack([labels, guess]), return_inverse=True)
    truth, guess = both.reshape(2, -1)
    size = len(names)
    table = np.bincount(truth * size + guess, minlength=size * size)
    value = float(_table_f1(table.reshape(1, size, size))[0])
    drawn = _table_f1(resampled(table, 1000, seed=seed).reshape(-1, size, size))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Score(value, min(float(low), value), max(float(high), value), len(labels), note)


def ranked(scores: Array, truth: Array, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Return scores as float64 and truth as bool.

    Raises:
        BadInput: If they do not fit, are not finite, or one kind of row is missing.
    """
    s = np.asarray(scores.detach().cpu() if isinstance(scores, Tensor) else scores, dtype=np.float64)
    t = np.asarray(truth.cpu() if isinstance(truth, Tensor) else truth).astype(bool)
    if s.ndim != 1 or s.shape != t.shape:
        raise BadInput(f"{what} needs scores (n,) with truth (n,), got {s.shape} and {t.shape}.")
    if not np.isfinite(s).all():
        raise BadInput(f"{what} needs finite scores; {int((~np.isfinite(s)).sum())} of {len(s)} are not.")
    if t.all() or not t.any():
        raise BadInput(
            f"{what} needs positives and negatives; got {int(t.sum())} positives of {len(t)} rows."
        )
    return s, t


def _precision(weights: np.ndarray, hits: np.ndarray, ends: np.ndarray) -> np.ndarray:
    hit_weight = np.cumsum(weights * hits, axis=1)[:, ends]
    seen = np.cumsum(weights, axis=1)[:, ends]
    gained = np.diff(hit_weight, axis=1, prepend=0)
    precision = hit_weight / np.maximum(seen, 1)
    return (gained * precision).sum(1) / np.maximum(hit_weight[:, -1], 1)


def _table_f1(tables: np.ndarray) -> np.ndarray:
    hits = np.diagonal(tables, axis1=1, axis2=2)
    sizes = tables.sum(1) + tables.sum(2)
    each = np.divide(2 * hits, sizes, out=np.zeros(hits.shape), where=sizes > 0)
    return each.sum(1) / np.maximum((sizes > 0).sum(1), 1)
