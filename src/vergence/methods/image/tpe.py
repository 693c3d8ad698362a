"""Tree-structured Parzen estimators: a search that tries what is likely among good trials and not among bad.

Bergstra, Bardenet, Bengio, Kégl 2011, Algorithms for Hyper-Parameter Optimization, Sec. 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_CANDIDATES = 24  # drawn from the good trials' density; the one with the best ratio is tried
_MOST_GOOD = 25


class ParzenSearch:
    """Minimises a function of choices and of numbers in [0, 1], each dimension on its own.

    Args:
        space: For each dimension the number of choices, or 0 for a number in [0, 1].
        seed: Of what is drawn.
        start: Trials drawn at random before anything is modelled.
    """

    def __init__(self, space: Sequence[int], *, seed: int = 0, start: int = 20) -> None:
        self.space, self.start = list(space), start
        self.random = np.random.default_rng(seed)
        self.trials: list[np.ndarray] = []
        self.losses: list[float] = []

    def ask(self) -> np.ndarray:
        """Return what to try next: ``(d,)`` float, choices as whole numbers."""
        if len(self.trials) < self.start:
            return np.array([self._anything(n) for n in self.space])
        order = np.argsort(self.losses, kind="stable")
        few = min(_MOST_GOOD, math.ceil(0.25 * math.sqrt(len(order))))
        tried = np.stack(self.trials)
        good, bad = tried[order[:few]], tried[order[few:]]
        return np.array([self._best(n, good[:, d], bad[:, d]) for d, n in enumerate(self.space)])

    def tell(self, trial: np.ndarray, loss: float) -> None:
        """Note how a trial went; lower is better."""
        self.trials.append(np.asarray(trial, np.float64))
        self.losses.append(float(loss))

    def best(self, count: int) -> np.ndarray:
        """Return the ``count`` best trials, the best first: ``(count, d)``."""
        return np.stack(self.trials)[np.argsort(self.losses, kind="stable")[:count]]

    def _anything(self, choices: int) -> float:
        return float(self.random.integers(choices)) if choices else float(self.random.random())

    def _best(self, choices: int, good: np.ndarray, bad: np.ndarray) -> float:
        if choices:
            likely, rare = (_shares(x, choices) for x in (good, bad))
            drawn = self.random.choice(choices, _CANDIDATES, p=likely).astype(float)
            return float(drawn[np.argmax((likely / rare)[drawn.astype(int)])])
        centres, widths = parzen_kernels(good)
        which = self.random.integers(len(centres), size=_CANDIDATES)
        drawn = self.random.normal(centres[which], widths[which])
        drawn = np.where((drawn < 0) | (drawn > 1), self.random.random(_CANDIDATES), drawn)
        return float(drawn[np.argmax(parzen_density(drawn, good) / parzen_density(drawn, bad))])


def _shares(seen: np.ndarray, choices: int) -> np.ndarray:
    """Return how often each choice was seen, once more each."""
    counts = np.bincount(seen.astype(int), minlength=choices) + 1.0
    return counts / counts.sum()


def parzen_kernels(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return centres and widths of normal distributions around what was seen, and of one over all of [0, 1].

    Each is as wide as the farther of its neighbours is away.
    """
    centres = np.sort(np.append(seen, 0.5))
    gaps = np.diff(np.concatenate([[0.0], centres, [1.0]]))
    widths = np.clip(np.maximum(gaps[:-1], gaps[1:]), 1 / min(100, 1 + len(centres)), 1)
    widths[np.searchsorted(centres, 0.5)] = 1
    return centres, widths


def parzen_density(x: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the density of the kernels, each cut off at 0 and 1, at ``x``."""
    centres, widths = parzen_kernels(seen)
    apart = (x[:, None] - centres) / widths
    inside = np.vectorize(math.erf)((1 - centres) / widths / 2**0.5) + np.vectorize(math.erf)(
        centres / widths / 2**0.5
    )
    return math.sqrt(2 / math.pi) * (np.exp(-(apart**2) / 2) / (widths * inside)).mean(1) + 1e-12
