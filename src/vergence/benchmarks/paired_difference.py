"""By how much one arm of a run of record is ahead of another, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy import stats


def margin(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Return by how much an arm is ahead, seed by seed.

    ``low`` is the lower end of the one-sided 95 % interval of the mean difference (Student's t,
    paired by seed): above 0, the lead is more than the seeds' spread. One seed has no spread, and
    ``low`` is the difference itself.
    """
    ahead = np.subtract(ours, theirs)
    spread = float(ahead.std(ddof=1)) if len(ahead) > 1 else 0.0
    slack = float(stats.t.ppf(0.95, len(ahead) - 1)) * spread / len(ahead) ** 0.5 if spread else 0.0
    mean = float(ahead.mean())
    return {"mean": round(mean, 5), "std": round(spread, 5), "low": round(mean - slack, 5)}


def summary(values: list[float]) -> dict[str, Any]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {
        "mean": round(float(np.mean(values)), 5),
        "std": round(spread, 5),
        "values": [round(v, 5) for v in values],
    }


def losses(margins: Mapping[str, dict[str, float]], *, points: bool = True) -> Iterator[str]:
    """Say which arms the paper's own is not clearly ahead of.

    Args:
        margins: Arm -> what ``margin`` found.
        points: Whether a margin of 1 is 100 points, as of an accuracy; an error is told in its own unit.
    """
    for arm, ahead in margins.items():
        if ahead["low"] <= 0:
            how = "falls behind" if ahead["mean"] < 0 else "is not clearly ahead of"
            mean, std = ahead["mean"], ahead["std"]
            told = f"{100 * mean:+.1f} points, sd {100 * std:.1f}" if points else f"{mean:+.3f}, sd {std:.3f}"
            yield f"Here the paper's arm {how} '{arm}': {told}."
