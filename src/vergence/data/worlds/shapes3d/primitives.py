"""Primitives that solids are put together from: closed meshes in the unit cube about the origin, z up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SIDES = 24  # of what is round
RING = (0.35, 0.15)  # radius of a ring's middle line, and of its tube
TOPS = {"cylinder": 1.0, "taper": 0.55, "cone": 0.02}  # radius above, in radii below


@dataclass(frozen=True)
class Primitive:
    """A closed mesh and its inside.

    Args:
        vertices: ``(V, 3)``.
        faces: ``(F, 3)`` int64, counter-clockwise as seen from outside.
        inside: Says of points ``(..., 3)`` whether they lie deeper inside than a small margin.
    """

    vertices: np.ndarray
    faces: np.ndarray
    inside: Callable[[np.ndarray], np.ndarray]


MARGIN = 1e-3  # of the unit cube: points on a surface lie on both sides of it, by rounding


def _box() -> Primitive:
    corners = np.array([(x, y, z) for z in (-0.5, 0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    return Primitive(corners, _triangles(quads), lambda p: (np.abs(p) < 0.5 - MARGIN).all(-1))


def _wedge() -> Primitive:
    """A roof: a rectangle below, its ridge above along y."""
    corners = np.array(
        [(x, y, -0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)] + [(0, -0.5, 0.5), (0, 0.5, 0.5)]
    )
    faces = np.array([(0, 2, 3), (0, 3, 1), (0, 1, 4), (2, 5, 3), (1, 3, 5), (1, 5, 4), (0, 4, 5), (0, 5, 2)])

    def inside(p: np.ndarray) -> np.ndarray:
        x, y, z = np.moveaxis(p, -1, 0)
        low = (z > MARGIN - 0.5) & (np.abs(y) < 0.5 - MARGIN)
        return low & (2 * np.abs(x) + z < 0.5 - 2 * MARGIN)

    return Primitive(corners, faces, inside)


def _frustum(top: float) -> Primitive:
    turn = 2 * np.pi * np.arange(SIDES) / SIDES
    circle = 0.5 * np.stack([np.cos(turn), np.sin(turn), 0 * turn], 1)
    down, up = np.array([0, 0, -0.5]), np.array([0, 0, 0.5])
    vertices = np.concatenate([circle + down, circle * (top, top, 1) + up, down[None], up[None]])
    now = np.arange(SIDES)
    after = (now + 1) % SIDES
    below, above = np.full(SIDES, 2 * SIDES), np.full(SIDES, 2 * SIDES + 1)
    faces = np.concatenate(
        [
            np.stack([now, after, after + SIDES], 1),
            np.stack([now, after + SIDES, now + SIDES], 1),
            np.stack([below, after, now], 1),
            np.stack([above, now + SIDES, after + SIDES], 1),
        ]
    )
    flat = np.cos(np.pi / SIDES)  # the polygon's inner circle

    def inside(p: np.ndarray) -> np.ndarray:
        x, y, z = np.moveaxis(p, -1, 0)
        radius = 0.5 * (1 + (top - 1) * (z + 0.5)) * flat
        return (np.abs(z) < 0.5 - MARGIN) & (np.hypot(x, y) < radius - MARGIN)

    return Primitive(vertices, faces, inside)


def _ball() -> Primitive:
    rows, columns = SIDES // 2, SIDES
    polar = np.pi * np.arange(1, rows) / rows
    around = 2 * np.pi * np.arange(columns) / columns
    ring = np.stack(
        [
            np.sin(polar)[:, None] * np.cos(around),
            np.sin(polar)[:, None] * np.sin(around),
            np.broadcast_to(np.cos(polar)[:, None], (rows - 1, columns)),
        ],
        -1,
    )
    vertices = 0.5 * np.concatenate([[(0, 0, 1.0)], ring.reshape(-1, 3), [(0, 0, -1.0)]])
    at = 1 + np.arange((rows - 1) * columns).reshape(rows - 1, columns)
    right = np.roll(at, -1, 1)
    last = len(vertices) - 1
    top = np.stack([np.zeros(columns, int), at[0], right[0]], 1)
    bottom = np.stack([np.full(columns, last), right[-1], at[-1]], 1)
    quads = np.stack([at[:-1], at[1:], right[1:], right[:-1]], -1).reshape(-1, 4)
    faces = np.concatenate([top, bottom, _triangles(quads)])
    flat = np.cos(np.pi / SIDES) ** 2
    return Primitive(vertices, faces, lambda p: (p**2).sum(-1) < (0.5 * flat - MARGIN) ** 2)


def _ring() -> Primitive:
    """A ring that stands: its axis is y."""
    large, small = RING
    rows, columns = SIDES, SIDES // 2
    u = 2 * np.pi * np.arange(rows)[:, None] / rows
    v = 2 * np.pi * np.arange(columns) / columns
    away = large + small * np.cos(v)
    vertices = np.stack(
        [away * np.cos(u), np.broadcast_to(small * np.sin(v), (rows, columns)), away * np.sin(u)], -1
    )
    at = np.arange(rows * columns).reshape(rows, columns)
    after, beside = np.roll(at, -1, 0), np.roll(at, -1, 1)
    both = np.roll(after, -1, 1)
    quads = np.stack([at, after, both, beside], -1).reshape(-1, 4)

    # of the tube of flat faces: what the edges of the small circle take away, and those of the large one
    within = small * np.cos(np.pi / columns) - (1 - np.cos(np.pi / rows)) * (large + small) - MARGIN

    def inside(p: np.ndarray) -> np.ndarray:
        x, y, z = np.moveaxis(p, -1, 0)
        return (np.hypot(x, z) - large) ** 2 + y**2 < within**2

    return Primitive(vertices.reshape(-1, 3), _triangles(quads)[:, ::-1].copy(), inside)


def _triangles(quads: np.ndarray | list[tuple[int, int, int, int]]) -> np.ndarray:
    """Cut quadrilaterals ``(Q, 4)`` in two triangles each."""
    quads = np.asarray(quads)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


PRIMITIVES: dict[str, Primitive] = {
    "box": _box(),
    "wedge": _wedge(),
    "ball": _ball(),
    "ring": _ring(),
    **{name: _frustum(top) for name, top in TOPS.items()},
}
