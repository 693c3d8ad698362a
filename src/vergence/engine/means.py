"""Means of what is logged between two rows of ``metrics.csv``."""

from __future__ import annotations

import time

from torch import Tensor

from vergence.engine.distributed import mean_over_processes


class Means:
    """Running means of named scalars, kept on the device until they are asked for."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.weights: dict[str, float] = {}
        self.steps, self.since = 0, time.monotonic()

    def add(self, values: dict[str, Tensor], share: float) -> None:
        """Add values that count for ``share`` of a step."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach().float() * share
            self.weights[name] = self.weights.get(name, 0.0) + share

    def take(self) -> tuple[dict[str, float], float]:
        """Return the means over processes and the steps that had a value, and the steps a second; reset."""
        means = {
            name: float(mean_over_processes(total / self.weights[name])) for name, total in self.sums.items()
        }
        rate = self.steps / max(1e-9, time.monotonic() - self.since)
        self.reset()
        return means, rate
