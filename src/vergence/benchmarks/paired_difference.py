"""Paired differences: by how much one arm of a run of record is ahead of another, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy import stats


def margin(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Return by how much an arm is ahead, seed by seed.

    ``low`` and ``high`` are the ends of the 90 % interval of the mean difference (Student's t, paired by
    seed): a ``low`` above 0 is a lead beyond the seeds' spread, with 95 % one-sided confidence. One seed has
    no spread, and both ends are the difference itself.
    """
    ahead = np.subtract(ours, theirs)
    spread = float(ahead.std(ddof=1)) if len(ahead) > 1 else 0.0
    slack = float(stats.t.ppf(0.95, len(ahead) - 1)) * spread / len(ahead) ** 0.5 if spread else 0.0
    mean = float(ahead.mean())
    ends = {"low": round(mean - slack, 5), "high": round(mean + slack, 5)}
    return {"mean": round(mean, 5), "std": round(spread, 5), **ends}


def summary(values: list[float]) -> dict[str, Any]:
    """Return mean, standard deviation and the values, one a seed."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {
        "mean": round(float(np.mean(values)), 5),
        "std": round(spread, 5),
        "values": [round(v, 5) for v in values],
    }


def not_beaten(margins: Mapping[str, dict[str, float]], *, points: bool = True) -> Iterator[str]:
    """Say which arms the paper's own is not clearly ahead of.

    Args:
        margins: Arm -> what ``margin`` gives.
        points: Whether a margin of 1 is 100 points, as of an accuracy; an error keeps its own unit.
    """
    for arm, ahead in margins.items():
        if ahead["low"] <= 0:
            how = "falls behind" if ahead["mean"] < 0 else "is not clearly ahead of"
            mean, std = ahead["mean"], ahead["std"]
            size = f"{100 * mean:+.1f} points, sd {100 * std:.1f}" if points else f"{mean:+.3f}, sd {std:.3f}"
            yield f"Here the paper's arm {how} '{arm}': {size}."
