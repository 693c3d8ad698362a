"""Clock: where training stands, and the schedules that are read off it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of a training run, counted in optimizer steps.

    Args:
        step: Steps already taken, 0 before the first.
        total: Steps of the whole run, at least 1.
        steps_per_epoch: At least 1.
    """

    step: int = 0
    total: int = 1
    steps_per_epoch: int = 1

    @property
    def epoch(self) -> int:
        """Full passes over the data so far."""
        return self.step // self.steps_per_epoch

    @property
    def progress(self) -> float:
        """Share of the run that is over, in [0, 1]."""
        return min(1.0, self.step / self.total)

    def cosine(self, start: float, end: float) -> float:
        """Go from ``start`` to ``end`` over the run along half a cosine.

        >>> Clock(step=5, total=10).cosine(0.0, 1.0)
        0.5
        """
        return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * self.progress))

    def linear(self, start: float, end: float, *, epochs: float | None = None) -> float:
        """Go from ``start`` to ``end`` in a straight line, over the run or its first ``epochs``."""
        over = self.total if epochs is None else max(1.0, epochs * self.steps_per_epoch)
        return start + (end - start) * min(1.0, self.step / over)
