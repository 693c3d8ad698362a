"""Scores: a number with its uncertainty."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from vergence.evaluate.inputs import Array


@dataclass(frozen=True, slots=True)
class Score:
    """A share in [0, 1] with its 95 % interval, printed in percent.

    Args:
        value: What was measured.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Test samples, queries or draws that it stands on.
        note: What a reader should know beside it, such as the chosen regularisation.

    >>> print(Score(0.632, 0.623, 0.641, n=10_000))
    63.2 [62.3, 64.1]
    """

    value: float
    low: float
    high: float
    n: int
    note: str = ""

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"

    def above(self, other: Score) -> bool:
        """Say whether the whole interval lies above that of ``other``."""
        return self.low > other.high

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def mean_score(values: Array, *, note: str = "", repeats: int = 1000, seed: int = 0) -> Score:
    """Score the mean of ``values`` with its bootstrap interval.

    All resamples are drawn at once: how often each distinct value comes up in a resample of n rows
    is multinomial, so that correct-or-not outcomes of any number of samples cost next to nothing.

    Args:
        values: ``(n,)``, one outcome a sample, query or draw.
        note: Kept with the score.
        repeats: Resamples.
        seed: Of the resamples.
    """
    array = (values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)).astype(np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"mean_score needs one value a sample (n,), n of at least 1, got {array.shape}.")
    distinct, counts = np.unique(array, return_counts=True)
    drawn = resampled(counts, repeats, seed=seed)
    low, high = np.quantile(drawn @ distinct / len(array), (0.025, 0.975))
    mean = float(array.mean())
    return Score(mean, min(float(low), mean), max(float(high), mean), len(array), note)


def ratio_score(part: Array, whole: Array, *, note: str = "", repeats: int = 1000, seed: int = 0) -> Score:
    """Score the share sum(part) / sum(whole), with a bootstrap over samples of several outcomes each.

    Args:
        part: ``(n,)``, such as the right outcomes of a sample.
        whole: ``(n,)``, all outcomes of it.
        note: Kept with the score.
        repeats: Resamples.
        seed: Of the resamples.

    Raises:
        ValueError: If there are no outcomes.
    """
    both = [
        (a.cpu().numpy() if isinstance(a, Tensor) else np.asarray(a)).astype(float) for a in (part, whole)
    ]
    if not both[1].sum() > 0:
        raise ValueError("ratio_score needs a whole of more than 0, got none.")
    drawn = resampled(np.ones(len(both[1]), np.int64), repeats, seed=seed)
    value = float(both[0].sum() / both[1].sum())
    parts, wholes = (drawn @ each for each in both)
    low, high = np.quantile(parts[wholes > 0] / wholes[wholes > 0], (0.025, 0.975))
    return Score(value, min(float(low), value), max(float(high), value), len(both[1]), note)


def resampled(counts: np.ndarray, repeats: int, *, seed: int = 0) -> np.ndarray:
    """Draw ``repeats`` bootstrap resamples ``(repeats, m)`` of a table with ``counts`` ``(m,)``."""
    total = int(counts.sum())
    return np.random.default_rng(seed).multinomial(total, counts / total, size=repeats)
