"""Shapes by their exact signed distance: a polygon, line or point grown by a radius, or a thick circle.

A shape fits into the unit circle about the origin. Distances are negative inside.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

MOST_CORNERS = 12


def _regular(corners: int, radii: tuple[float, ...] = (1.0,)) -> list[tuple[float, float]]:
    """Return corners on one circle, or in turn on several, the first one at the top."""
    turns = (2 * math.pi * i / corners - math.pi / 2 for i in range(corners))
    return [
        (math.cos(turn) * radii[i % len(radii)], math.sin(turn) * radii[i % len(radii)])
        for i, turn in enumerate(turns)
    ]


# name: taxonomy's upper class, corners (x right, y down), radius, ring's half width
_SHAPES: dict[str, tuple[str, list[tuple[float, float]], float, float]] = {
    "circle": ("round", [(0, 0)], 0.9, 0),
    "ring": ("round", [(0, 0)], 0.72, 0.22),
    "capsule": ("round", [(0, -0.6), (0, 0.6)], 0.4, 0),
    "triangle": ("regular", _regular(3), 0, 0),
    "square": ("regular", [(-0.7, -0.7), (0.7, -0.7), (0.7, 0.7), (-0.7, 0.7)], 0, 0),
    "pentagon": ("regular", _regular(5), 0, 0),
    "hexagon": ("regular", _regular(6), 0, 0),
    "star": ("notched", _regular(10, (1.0, 0.45)), 0, 0),
    "cross": (
        "notched",
        [(-0.3, -0.95), (0.3, -0.95), (0.3, -0.3), (0.95, -0.3), (0.95, 0.3), (0.3, 0.3),
         (0.3, 0.95), (-0.3, 0.95), (-0.3, 0.3), (-0.95, 0.3), (-0.95, -0.3), (-0.3, -0.3)],
        0, 0,
    ),
    "arrow": (
        "notched",
        [(0, -1), (0.8, -0.1), (0.3, -0.1), (0.3, 0.9), (-0.3, 0.9), (-0.3, -0.1), (-0.8, -0.1)],
        0, 0,
    ),
    "ell": ("notched", [(-0.6, -0.8), (0, -0.8), (0, 0.2), (0.6, 0.2), (0.6, 0.8), (-0.6, 0.8)], 0, 0),
    "tee": (
        "notched",
        [(-0.8, -0.6), (0.8, -0.6), (0.8, 0), (0.3, 0), (0.3, 0.8), (-0.3, 0.8), (-0.3, 0), (-0.8, 0)],
        0, 0,
    ),
}  # fmt: skip

NAMES = tuple(_SHAPES)
UPPER = ("round", "regular", "notched")
UPPER_OF = np.array([UPPER.index(upper) for upper, *_ in _SHAPES.values()])
CORNERS = np.array([len(corners) for _, corners, *_ in _SHAPES.values()])
POINTS = np.zeros((len(NAMES), MOST_CORNERS, 2))
for _i, _corners in enumerate(corners for _, corners, *_ in _SHAPES.values()):
    POINTS[_i, : len(_corners)] = _corners
RADIUS = np.array([radius for *_, radius, _ in _SHAPES.values()], np.float64)
RING = np.array([ring for *_, ring in _SHAPES.values()], np.float64)


def _area(i: int) -> float:
    if RING[i]:
        return math.pi * ((RADIUS[i] + RING[i]) ** 2 - (RADIUS[i] - RING[i]) ** 2)
    x, y = POINTS[i, : CORNERS[i]].T
    polygon = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    length = 2 * math.dist(*POINTS[i, :2]) if CORNERS[i] == 2 else 0.0
    return polygon + length * RADIUS[i] + math.pi * RADIUS[i] ** 2


AREA = np.array([_area(i) for i in range(len(NAMES))])  # of the shape in the unit circle


def landmarks() -> np.ndarray:
    """Return ``(S, 12, 2)`` points of each shape: its corners, or compass points of a round one; then NaN."""
    points = np.full((len(NAMES), MOST_CORNERS, 2), np.nan)
    for i in range(len(NAMES)):
        n = CORNERS[i]
        points[i, :n] = POINTS[i, :n]
        if n < 3:
            reach = RADIUS[i] + RING[i]
            tall = np.abs(POINTS[i, :n, 1]).max() + reach
            points[i, :4] = [(0, -tall), (reach, 0), (0, tall), (-reach, 0)]
    return points


@njit(cache=True, nogil=True)
def signed_distance(shape: int, x: float, y: float) -> float:  # pragma: no cover - compiled
    """Return the distance of a point to a shape's outline, negative inside; units of the shape's radius."""
    n = CORNERS[shape]
    nearest, side = 1e30, 1.0
    for i in range(n):
        j = (i + n - 1) % n
        ax, ay = POINTS[shape, i, 0], POINTS[shape, i, 1]
        ex, ey = POINTS[shape, j, 0] - ax, POINTS[shape, j, 1] - ay
        wx, wy = x - ax, y - ay
        long = ex * ex + ey * ey
        t = 0.0 if long == 0.0 else min(max((wx * ex + wy * ey) / long, 0.0), 1.0)
        bx, by = wx - ex * t, wy - ey * t
        nearest = min(nearest, bx * bx + by * by)
        if n > 2:
            above, below, left = y >= ay, y < ay + ey, ex * wy > ey * wx
            if (above and below and left) or not (above or below or left):
                side = -side
    distance = side * math.sqrt(nearest) - RADIUS[shape]
    return abs(distance) - RING[shape] if RING[shape] > 0.0 else distance
