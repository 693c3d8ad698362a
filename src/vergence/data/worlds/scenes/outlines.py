"""Outlines of scenes as curves: points on them, which are seen, where they end and where they turn."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vergence.data.worlds.scenes.drawing import packed, part_distance
from vergence.data.worlds.scenes.scene import Scenes
from vergence.data.worlds.scenes.shapes import CORNERS, NAMES, POINTS, RADIUS, RING

CORNER, ENDS = 0, 1  # kinds of junctions
_STEPS = 24  # samples of a curve between which crossings are looked for
_ON_OUTLINE = 1e-9  # in sides


def _curves(shape: int) -> list[tuple[float, ...]]:
    """Return an outline: (x, y, dx, dy, 0, 0) of segments, (x, y, 0, radius, start, turn) of arcs."""
    points = POINTS[shape, : CORNERS[shape]]
    if len(points) > 2:
        following = np.roll(points, -1, 0)
        return [(*a, *(b - a), 0.0, 0.0) for a, b in zip(points, following, strict=True)]
    reach = float(RADIUS[shape])
    if len(points) == 1:
        radii = (reach - RING[shape], reach + RING[shape]) if RING[shape] else (reach,)
        return [(0.0, 0.0, 0.0, r, i * math.pi / 2, math.pi / 2) for r in radii for i in range(4)]
    (_, top), (_, bottom) = points
    sides = [(x, top, 0.0, bottom - top, 0.0, 0.0) for x in (-reach, reach)]
    caps = [(0.0, top, 0.0, reach, math.pi, math.pi), (0.0, bottom, 0.0, reach, 0.0, math.pi)]
    return [*sides, *caps]


_EACH = [_curves(i) for i in range(len(NAMES))]
CURVES = np.zeros((len(NAMES), max(map(len, _EACH)), 6))
COUNT = np.array([len(curves) for curves in _EACH])
for _i, _of in enumerate(_EACH):
    CURVES[_i, : len(_of)] = _of


def placed(scenes: Scenes, points: np.ndarray) -> np.ndarray:
    """Return where points ``(S, N, 2)`` of the shapes are on each thing's body, ``(B, K, N, 2)`` in sides."""
    cos, sin = np.cos(scenes.angle), np.sin(scenes.angle)
    turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)  # (B, K, 2, 2)
    local = points[scenes.shape] * scenes.radius[..., None, None]
    return np.einsum("bkij,bknj->bkni", turn, local) + scenes.centre[:, :, None]


def hidden(scenes: Scenes, scene: np.ndarray, slot: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Return where points ``(N, M, 2)`` of things lie behind nearer things, ``(N, M)`` bool."""
    parts, _, _ = packed(scenes, 1)
    covered = np.zeros(xy.shape[:2], bool)
    _fill_hidden(parts, scene, slot, np.ascontiguousarray(xy), covered)
    return covered


def straight_sides(scenes: Scenes, samples: int = 33) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scene ``(N,)``, ends ``(N, 2, 2)`` in sides and seen share ``(N,)`` of all sides of polygons.

    Args:
        scenes: B of them.
        samples: Points of a side at which it is looked whether it is seen.
    """
    ends = np.full((len(NAMES), CURVES.shape[1], 2, 2), np.nan)
    for i in range(len(NAMES)):
        if CORNERS[i] > 2:
            ends[i, : COUNT[i], 0] = CURVES[i, : COUNT[i], :2]
            ends[i, : COUNT[i], 1] = CURVES[i, : COUNT[i], :2] + CURVES[i, : COUNT[i], 2:4]
    every = placed(scenes, ends.reshape(len(NAMES), -1, 2)).reshape(*scenes.shape.shape, -1, 2, 2)
    known = np.isfinite(every).all((3, 4)) & scenes.present[..., None]
    scene, slot, side = np.nonzero(known)
    chosen = every[scene, slot, side]
    at = (np.arange(samples) + 0.5) / samples
    points = chosen[:, :1] + at[None, :, None] * (chosen[:, 1:] - chosen[:, :1])
    inside = ((points >= 0) & (points < 1)).all(-1)
    return scene, chosen, (inside & ~hidden(scenes, scene, slot, points)).mean(1)


def junctions(scenes: Scenes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scene ``(N,)``, place ``(N, 2)`` in sides and kind ``(N,)`` of what is seen of all junctions."""
    parts, _, _ = packed(scenes, 1)
    marks = np.empty((len(scenes) * parts.shape[1] * 64, 4))
    while (count := _fill_junctions(parts, marks)) > len(marks):
        marks = np.empty((count, 4))
    marks = marks[:count]
    return marks[:, 0].astype(np.int64), marks[:, 1:3], marks[:, 3].astype(np.int64)


@njit(cache=True, nogil=True)
def _fill_hidden(
    parts: np.ndarray, scene: np.ndarray, slot: np.ndarray, xy: np.ndarray, covered: np.ndarray
) -> None:  # pragma: no cover - compiled
    for n in range(len(xy)):
        for p in range(parts.shape[1]):
            part = parts[scene[n], p]
            if part[0] == 0.0 or part[7] <= slot[n]:
                continue
            for m in range(xy.shape[1]):
                if part_distance(part, xy[n, m, 0], xy[n, m, 1]) < -_ON_OUTLINE:
                    covered[n, m] = True


@njit(cache=True, nogil=True)
def _on_curve(part: np.ndarray, curve: int, t: float) -> tuple[float, float]:  # pragma: no cover - compiled
    """Return the point at ``t`` in [0, 1] of a part's curve."""
    c = CURVES[int(part[1]), curve]
    if c[5] == 0.0:
        x, y = c[0] + t * c[2], c[1] + t * c[3]
    else:
        turn = c[4] + t * c[5]
        x, y = c[0] + c[3] * math.cos(turn), c[1] + c[3] * math.sin(turn)
    return (
        part[2] + part[4] * (part[5] * x - part[6] * y),
        part[3] + part[4] * (part[6] * x + part[5] * y),
    )


@njit(cache=True, nogil=True)
def _is_seen(parts: np.ndarray, p: int, other: int, x: float, y: float) -> bool:  # pragma: no cover
    """Say whether a point on part ``p``'s outline is covered by no part but perhaps ``other``."""
    for q in range(len(parts)):
        if q in (p, other) or parts[q, 0] == 0.0 or (parts[q, 7] != parts[p, 7] and q < p):
            continue
        if part_distance(parts[q], x, y) < -_ON_OUTLINE:
            return False
    return True


@njit(cache=True, nogil=True)
def _fill_junctions(parts: np.ndarray, marks: np.ndarray) -> int:  # pragma: no cover - compiled
    """Fill rows (scene, x, y, kind) as far as there is room; return how many there are."""
    count = 0
    for b in range(len(parts)):
        for p in range(parts.shape[1]):
            if parts[b, p, 0] == 0.0:
                continue
            shape = int(parts[b, p, 1])
            for c in range(COUNT[shape]):
                x, y = _on_curve(parts[b, p], c, 0.0)
                if CORNERS[shape] > 2 and _is_seen(parts[b], p, -1, x, y):
                    if count < len(marks):
                        marks[count, 0], marks[count, 1], marks[count, 2], marks[count, 3] = b, x, y, CORNER
                    count += 1
                for q in range(p + 1, parts.shape[1]):
                    if parts[b, q, 0] == 0.0 or parts[b, q, 7] == parts[b, p, 7]:
                        continue
                    apart = math.hypot(parts[b, q, 2] - parts[b, p, 2], parts[b, q, 3] - parts[b, p, 3])
                    if apart > parts[b, q, 4] + parts[b, p, 4]:
                        continue
                    count = _crossings(parts[b], b, p, c, q, marks, count)
    return count


@njit(cache=True, nogil=True)
def _crossings(
    parts: np.ndarray, b: int, p: int, c: int, q: int, marks: np.ndarray, count: int
) -> int:  # pragma: no cover - compiled
    """Find where curve ``c`` of part ``p`` goes under part ``q``, by bisection between samples."""
    x, y = _on_curve(parts[p], c, 0.0)
    before = part_distance(parts[q], x, y)
    for step in range(_STEPS):
        low, high = step / _STEPS, (step + 1) / _STEPS
        x, y = _on_curve(parts[p], c, high)
        after = part_distance(parts[q], x, y)
        if (before < 0.0) != (after < 0.0):
            for _ in range(40):
                middle = 0.5 * (low + high)
                x, y = _on_curve(parts[p], c, middle)
                if (part_distance(parts[q], x, y) < 0.0) == (before < 0.0):
                    low = middle
                else:
                    high = middle
            if _is_seen(parts, p, q, x, y):
                if count < len(marks):
                    marks[count, 0], marks[count, 1], marks[count, 2], marks[count, 3] = b, x, y, ENDS
                count += 1
        before = after
    return count
