"""Charts as inline SVG: drawn by hand, so that they follow the page's colours, light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from vergence.core.numbers import short, tick_labels

_WIDTH, _HEIGHT = 340, 190  # of a line chart, in the units of its own drawing
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 10, 26
_POINTS = 240  # that a line shows at most
_FLAT = 1e-6  # of its size that a curve changes by at most when it counts as constant


@dataclass(frozen=True, slots=True)
class Line:
    """One curve.

    Args:
        name: Shown in the legend where there are several.
        x: ``(n,)``.
        y: ``(n,)``; what is not finite is left out.
        colour: Number of the page's line colour.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers that cover [low, high], at most ``most`` of them inside.

    >>> ticks(0.0, 9.3)
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def curve(lines: Sequence[Line], *, label: str, x_name: str = "epoch") -> Markup:
    """Draw curves over a common axis; where one is noisy, faint under its running mean.

    The axis of what is constant has one tick, at its value.
    """
    lines = [kept for line in lines if len((kept := _finite(line)).x)]
    if not lines:
        return Markup('<p class="quiet">Nothing was recorded.</p>')
    xs = np.concatenate([line.x for line in lines])
    ys = np.concatenate([line.y for line in lines])
    low, high = float(ys.min()), float(ys.max())
    if high - low <= _FLAT * max(abs(low), abs(high)):
        marks, pad = [high], 0.5 * abs(high) or 1.0
    else:
        pad = 0.06 * (high - low)
        marks = ticks(low - pad, high + pad, 4)
    low, high = low - pad, high + pad
    left, right = float(xs.min()), float(xs.max())

    def at_x(x: float) -> float:
        return _LEFT + (x - left) / ((right - left) or 1) * (_WIDTH - _LEFT - _RIGHT)

    def at_y(y: float) -> float:
        return _TOP + (high - y) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        Markup(
            '<line class="rule" x1="{}" x2="{}" y1="{y}" y2="{y}"/>'
            '<text class="tick end" x="{}" y="{t}">{}</text>'
        ).format(_LEFT, _WIDTH - _RIGHT, _LEFT - 7, text, y=f"{at_y(y):.1f}", t=f"{at_y(y) + 3.5:.1f}")
        for y, text in zip(marks, tick_labels(marks), strict=True)
    ]
    parts += [
        Markup('<text class="tick middle" x="{:.1f}" y="{}">{}</text>').format(at_x(x), _HEIGHT - 8, short(x))
        for x in ticks(left, right, 5)
    ]
    for line in lines:
        smooth = _smooth(np.asarray(line.y))
        noisy = float(np.abs(smooth - line.y).mean()) > 0.004 * (high - low)
        for values, kind in ((line.y, "faint"), (smooth, "")) if noisy else ((line.y, ""),):
            points = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in zip(line.x, values, strict=True))
            parts.append(
                Markup('<polyline class="line l{} {}" points="{}"/>').format(line.colour, kind, points)
            )
        parts.append(
            Markup('<circle class="end l{}" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(
                line.colour, at_x(line.x[-1]), at_y(smooth[-1] if noisy else line.y[-1])
            )
        )
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, f"{label} over {x_name}s", Markup("").join(parts)
    )


def intervals(rows: Sequence[tuple[str, float, float, float, int]], *, label: str) -> Markup:
    """Draw values with their intervals, one under the other, on an axis of their own.

    Args:
        rows: Name, value, low, high (shares in [0, 1]) and number of the colour.
        label: For screen readers.
    """
    low, high = min(r[2] for r in rows), max(r[3] for r in rows)
    pad = max(0.02, 0.08 * (high - low))
    low, high = max(0.0, low - pad), min(1.0, high + pad)
    start, stop, step = 112, 252, 26

    def at(value: float) -> float:
        return start + (value - low) / (high - low) * (stop - start)

    bottom = step * len(rows) + 4
    parts = []
    for tick in ticks(low, high, 3):
        x = f"{at(tick):.1f}"
        parts.append(
            Markup(
                '<line class="rule" x1="{x}" x2="{x}" y1="0" y2="{}"/>'
                '<text class="tick middle" x="{x}" y="{}">{}</text>'
            ).format(bottom, bottom + 15, f"{100 * tick:g}", x=x)
        )
    for i, (name, value, least, most, colour) in enumerate(rows):
        parts.append(
            Markup(
                '<text class="tick name" x="0" y="{t}">{}</text>'
                '<line class="whisker l{c}" x1="{:.1f}" x2="{:.1f}" y1="{y}" y2="{y}"/>'
                '<circle class="dot l{c}" cx="{:.1f}" cy="{y}" r="5"/>'
            ).format(name, at(least), at(most), at(value), c=colour, y=step * i + 15, t=step * i + 19)
        )
    return Markup('<svg class="chart" viewBox="0 0 260 {}" role="img" aria-label="{}">{}</svg>').format(
        bottom + 20, label, Markup("").join(parts)
    )


def columns(counts: Sequence[float], names: Sequence[str], *, label: str, x_name: str) -> Markup:
    """Draw a histogram.

    Args:
        counts: k heights, 0 or more.
        names: k, written under their columns, or k + 1, written under the borders between them.
        label: For screen readers.
        x_name: What the axis counts.
    """
    most = max([*counts, 1e-12])
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(counts), 1)
    foot, reach = _HEIGHT - _BOTTOM - 14, _HEIGHT - _BOTTOM - 14 - _TOP
    parts = []
    for y in ticks(0, most, 4):
        at = foot - y / most * reach
        parts.append(
            Markup(
                '<line class="rule" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>'
                '<text class="tick end" x="{}" y="{:.1f}">{}</text>'
            ).format(_LEFT, _WIDTH - _RIGHT, _LEFT - 7, at + 3.5, short(y), y=at)
        )
    for i, count in enumerate(counts):
        height = count / most * reach
        title = names[i] if len(names) == len(counts) else f"{names[i]} to {names[i + 1]}"
        parts.append(
            Markup(
                '<rect class="column" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1.5">'
                "<title>{}: {}</title></rect>"
            ).format(
                _LEFT + i * step + 0.75, foot - height, max(step - 1.5, 0.5), height, title, short(count)
            )
        )
    middle = 0.5 if len(names) == len(counts) else 0.0
    widest = max(len(name) for name in names) * 6 + 8
    every = max(1, math.ceil(widest / step))
    parts += [
        Markup('<text class="tick middle" x="{:.1f}" y="{}">{}</text>').format(
            _LEFT + (i + middle) * step, foot + 15, names[i]
        )
        for i in range(0, len(names), every)
    ]
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-label="{}">{}'
        '<text class="tick middle" x="{}" y="{}">{}</text></svg>'
    ).format(
        f"{label} by {x_name}",
        Markup("").join(parts),
        (_WIDTH + _LEFT - _RIGHT) / 2,
        _HEIGHT - 8,
        x_name,
        w=_WIDTH,
        h=_HEIGHT,
    )


def bars(rows: Sequence[tuple[str, float, int]], *, label: str) -> Markup:
    """Draw values of groups as bars from 0, one under the other.

    Args:
        rows: Name, value of 0 or more, and number of the group's colour, -1 for none.
        label: For screen readers.
    """
    most = max([*(value for _, value, _ in rows), 1e-12])
    start, stop, step = 14 + min(118, 7 * max(len(name) for name, _, _ in rows)), _WIDTH - 44, 24
    parts = []
    for i, (name, value, colour) in enumerate(rows):
        width = value / most * (stop - start)
        parts.append(
            Markup(
                '<text class="tick name" x="0" y="{t}">{}<title>{}</title></text>'
                '<rect class="{}" x="{}" y="{}" width="{:.1f}" height="12" rx="3"/>'
                '<text class="tick" x="{:.1f}" y="{t}">{}</text>'
            ).format(
                name if len(name) <= 19 else f"{name[:18]}…",
                name,
                colour_class(colour),
                start,
                step * i + 4,
                max(width, 1.5),
                start + width + 6,
                short(value),
                t=step * i + 14,
            )
        )
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, step * len(rows), label, Markup("").join(parts)
    )


def scatter(
    points: np.ndarray, groups: Sequence[Sequence[int]], names: Sequence[str], *, links: np.ndarray
) -> Markup:
    """Draw points in [0, 1]; each carries the number of its colour in every grouping (``data-0``, …).

    Args:
        points: ``(n, 2)``.
        groups: One list of n colours a grouping; -1 is no group.
        names: n, read out when a point is hovered without JavaScript.
        links: ``(2, m)``, which points lines join.
    """
    width, height, rim = 1000, 640, 16
    radius = 7 if len(points) < 300 else 5 if len(points) < 1200 else 4
    places = np.round(rim + points * (np.array([width, height]) - 2 * rim)).astype(int).tolist()
    lines = Markup("")
    if links.size:
        path = "".join("M{} {}L{} {}".format(*places[a], *places[b]) for a, b in links.T.tolist())
        faint = min(1.0, max(0.12, 300 / links.shape[1]))
        lines = Markup('<path class="web" d="{}" style="opacity: {:.2f}"/>').format(path, faint)
    dots = []
    for i, ((x, y), name) in enumerate(zip(places, names, strict=True)):
        colours = [column[i] for column in groups] or [-1]
        data = Markup(" ").join(Markup('data-{}="{}"').format(j, c) for j, c in enumerate(colours))
        dots.append(
            Markup(
                '<circle cx="{}" cy="{}" r="{}" class="{}" {} data-i="{}"><title>{}</title></circle>'
            ).format(
                x,
                y,
                radius,
                colour_class(colours[0]),
                data,
                i,
                name,
            )
        )
    return Markup(
        '<svg id="map" viewBox="0 0 {} {}" role="img" aria-label="Map of the samples">{}{}</svg>'
    ).format(width, height, lines, Markup("").join(dots))


def colour_class(group: int) -> str:
    return f"g{group}" if group >= 0 else "g-none"


def palette(n: int) -> list[tuple[int, int]]:
    """Return hue and lightness step (0 or 1) of n colours that are easy to tell apart."""
    return [(round(250 + 360 * i / max(n, 1)) % 360, i % 2) for i in range(n)]


def _finite(line: Line) -> Line:
    x, y = np.asarray(line.x, float), np.asarray(line.y, float)
    keep = np.isfinite(x) & np.isfinite(y)
    x, y = x[keep], y[keep]
    if len(x) > _POINTS:
        parts = np.array_split(np.arange(len(x)), _POINTS)
        x, y = np.array([x[p].mean() for p in parts]), np.array([y[p].mean() for p in parts])
    return Line(line.name, x.tolist(), y.tolist(), line.colour)


def _smooth(y: np.ndarray) -> np.ndarray:
    """Return the running mean over about a twentieth of the curve; its ends are averages of fewer."""
    half = len(y) // 40
    if not half:
        return y
    total = np.concatenate([[0.0], np.cumsum(y)])
    index = np.arange(len(y))
    reach = np.minimum(half, np.minimum(index, len(y) - 1 - index))
    return (total[index + reach + 1] - total[index - reach]) / (2 * reach + 1)
