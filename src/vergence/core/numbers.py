"""Numbers as people read them: on axes, in cells, beside pictures."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_DECIMALS = 15


def short(value: float) -> str:
    """Write a number in few characters.

    >>> [short(v) for v in (0.00123, 4.5678, 250.0, 12_300, 0)]
    ['0.0012', '4.57', '250', '12.3k', '0']
    """
    size = abs(value)
    if size >= 10_000:
        return f"{value / 1000:.3g}k"
    if size >= 100 or value == 0:
        return f"{value:.0f}"
    if size >= 0.01:
        return f"{value:.3g}"
    return f"{value:.2g}"


def written(value: float) -> str:
    """Write a value of the data: a whole number with all its digits, for it may be a code or a year.

    >>> [written(v) for v in (10115, 1999, 123_456.7, 4.5678, 0.00123, 3e12, 0)]
    ['10115', '1999', '123457', '4.57', '0.0012', '3e+12', '0']
    """
    if abs(value) < 100:
        return short(value)
    return f"{value:.0f}" if abs(value) < 1e9 else f"{value:.3g}"


def tick_labels(values: Sequence[float]) -> list[str]:
    """Write the ticks of one axis, with as many digits as tell them apart.

    >>> tick_labels([0.0, 0.5, 1.0]), tick_labels([0.10001, 0.10002])
    (['0', '0.5', '1'], ['0.10001', '0.10002'])
    """
    labels, decimals = [short(value) for value in values], 0
    while len(set(labels)) < len(set(values)) and decimals < _MOST_DECIMALS:
        labels = [f"{value:.{decimals}f}" for value in values]
        decimals += 1
    return labels
