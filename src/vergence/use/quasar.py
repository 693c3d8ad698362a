"""QUASAR: QUality and Aesthetics Scoring with Advanced Representations.

Kastryulin, Prokopenko, Babenko, Dylov 2024, arXiv:2403.06866.

Pictures of good and of bad quality, the anchors, say what is meant; nothing is trained and no prompt
written. With the means c+ and c- of the anchors' unit vectors, the score of a picture x is

    q = e^{cos(x, c+)/t} / (e^{cos(x, c+)/t} + e^{cos(x, c-)/t}),

CLIP-IQA with anchors in place of its two prompts. No code is published; t only spreads the scores and
leaves their order alone. Good and bad anchors should show the same subjects, or the score tells subjects
apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.use.nearest import opened


@dataclass(frozen=True, slots=True)
class Anchors:
    """The two ends of a scale.

    Args:
        good: c+, ``(D,)`` float32 of length 1.
        bad: c-, ``(D,)`` float32 of length 1.
        temperature: t, above 0.
    """

    good: np.ndarray
    bad: np.ndarray
    temperature: float

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """Return ``(n,)`` float32 in (0, 1), higher is better.

        Args:
            vectors: ``(n, D)``, or ``(n, P, D)`` for P patches each, whose scores are averaged.
        """
        if vectors.shape[-1] != len(self.good):
            raise BadInput(f"The anchors have {len(self.good)} values, these vectors {vectors.shape[-1]}.")
        apart = _unit(vectors) @ (self.good - self.bad)
        scores = expit(apart / self.temperature).astype(np.float32)
        return scores if vectors.ndim == 2 else scores.mean(1)


def anchors(good: np.ndarray, bad: np.ndarray, *, temperature: float = 0.1) -> Anchors:
    """Make a scale from examples.

    Args:
        good: ``(m, D)`` vectors of pictures as they should be; a hundred are many.
        bad: ``(m', D)`` vectors of pictures as they should not be, of the same subjects.
        temperature: t, above 0.

    Raises:
        BadInput: If a side is empty, widths differ, or both have the same mean direction.
    """
    if not len(good) or not len(bad) or good.shape[1] != bad.shape[1]:
        raise BadInput(f"Anchors are good (m, D) and bad (m', D) vectors; got {good.shape} and {bad.shape}.")
    if temperature <= 0:
        raise BadInput(f"temperature is above 0; got {temperature}.")
    plus, minus = (_unit(_unit(side).mean(0)) for side in (good, bad))
    if np.allclose(plus, minus, atol=1e-6):
        raise BadInput("Good and bad anchors have the same mean: the encoder sees no difference.")
    return Anchors(plus, minus, temperature)


def rate(
    store: Store | str | Path, *, good: str, bad: str, temperature: float = 0.1, column: str = "vector"
) -> np.ndarray:
    """Rate every row of a store by examples in it; ``(n,)``, NaN for a row without a vector.

    Args:
        store: Opened, or where it lies.
        good: SQL condition of the good anchors, such as ``"class = 'sharp'"``.
        bad: SQL condition of the bad ones.
        temperature: t, above 0.
        column: Which vectors.

    Raises:
        BadInput: If a condition makes no sense, or none fulfils it.
    """
    store = opened(store)
    vectors = store.vectors(column)
    sides = []
    for name, condition in (("good", good), ("bad", bad)):
        rows = store.where(condition)
        rows = rows[~np.isnan(vectors[rows, 0])]
        if not len(rows):
            raise BadInput(f"No row of {store.path} is {name}: nothing fulfils {condition}.")
        sides.append(vectors[rows])
    return anchors(sides[0], sides[1], temperature=temperature).score(vectors)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
