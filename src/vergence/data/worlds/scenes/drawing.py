"""Drawing of scenes: which part covers which pixel, by signed distances at pixel centres, and its colour.

All functions here are compiled. They take scenes as three arrays that ``packed`` makes, in pixels:
parts ``(B, P, 8)`` from far to near, looks of things ``(B, K, 16)``, and settings of the whole ``(B, 25)``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from vergence.data.worlds.scenes.scene import STYLES, TEXTURES, Scenes
from vergence.data.worlds.scenes.shapes import NAMES, signed_distance

ARM = (NAMES.index("capsule"), 0.75)  # an arm's shape, and its radius in radii of the body
SHADOW = 0.6  # how bright the ground is in the shadow
FOLDED = 0.72  # how bright the darker side of a fold is
FAR = 1e6  # pixels: no edge anywhere
PLAIN, STRIPED, CHECKED, DOTTED, MOTTLED = range(len(TEXTURES))
TEXTURED, FLAT, OUTLINE, GREY = range(len(STYLES))
CAUSES = ("depth", "shadow", "reflectance", "normal")

Packed = tuple[np.ndarray, np.ndarray, np.ndarray]


def packed(scenes: Scenes, size: int) -> Packed:
    """Return parts, looks and settings of scenes that are drawn on ``size`` x ``size`` pixels."""
    b, k = scenes.shape.shape
    arms = bool((scenes.arm > 0).any())
    each = 1 + arms
    parts = np.zeros((b, k * each, 8))
    body = parts[:, each - 1 :: each]
    parts[..., 0] = np.repeat(scenes.present, each, 1)
    parts[..., 7] = np.repeat(np.arange(k), each)
    body[..., 1] = scenes.shape
    body[..., 2:4] = scenes.centre * size
    body[..., 4] = scenes.radius * size
    body[..., 5], body[..., 6] = np.cos(scenes.angle), np.sin(scenes.angle)
    if arms:
        arm, turn = parts[:, ::each], scenes.angle + scenes.joint
        arm[..., 0] *= scenes.arm > 0
        arm[..., 1] = ARM[0]
        along = np.stack([np.sin(turn), -np.cos(turn)], -1)
        arm[..., 2:4] = size * (scenes.centre + along * (scenes.arm * scenes.radius)[..., None])
        arm[..., 4] = ARM[1] * scenes.radius * size
        arm[..., 5], arm[..., 6] = np.cos(turn), np.sin(turn)

    looks = np.zeros((b, k, 16))
    looks[..., 0] = scenes.texture
    looks[..., 1] = scenes.period * scenes.radius * size
    looks[..., 2:8] = scenes.paint.reshape(b, k, 6)
    looks[..., 8] = np.isfinite(scenes.fold)
    fold = np.nan_to_num(scenes.fold)
    looks[..., 9], looks[..., 10] = np.cos(fold), np.sin(fold)
    looks[..., 11:13] = scenes.shadow * size
    looks[..., 13] = scenes.flash

    whole = np.zeros((b, 25))
    whole[:, 0] = scenes.ground
    whole[:, 1] = scenes.ground_period * size
    whole[:, 2], whole[:, 3] = np.cos(scenes.ground_angle), np.sin(scenes.ground_angle)
    whole[:, 4:6] = scenes.pan * size
    whole[:, 6:12] = scenes.ground_paint.reshape(b, 6)
    whole[:, 12:14] = scenes.gradient
    whole[:, 14] = scenes.style
    whole[:, 15:24] = pixel_matrix(scenes.matrix, size).reshape(b, 9)
    whole[:, 24] = (scenes.matrix == np.eye(3)).all((1, 2))
    return parts, looks, whole


def pixel_matrix(matrix: np.ndarray, size: int) -> np.ndarray:
    """Return maps ``(B, 3, 3)`` between points in sides as maps between points in pixels."""
    scale = np.diag([size, size, 1.0])
    return scale @ matrix @ np.linalg.inv(scale)


def in_threads(work: Callable[..., None], *arrays: np.ndarray) -> None:
    """Call compiled ``work`` on shares of the scenes, one a core; arrays have the scenes first."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = np.array_split(np.arange(len(arrays[0])), min(cores, max(1, len(arrays[0]) // 8)))
    if len(shares) == 1:
        work(*arrays)
        return
    with ThreadPoolExecutor(len(shares)) as pool:
        calls = [pool.submit(work, *(a[share[0] : share[-1] + 1] for a in arrays)) for share in shares]
        for call in calls:
            call.result()


@njit(cache=True, nogil=True)
def part_distance(part: np.ndarray, x: float, y: float) -> float:  # pragma: no cover - compiled
    """Return the signed distance in pixels of a point to one part's outline."""
    dx, dy = x - part[2], y - part[3]
    return part[4] * signed_distance(
        int(part[1]), (part[5] * dx + part[6] * dy) / part[4], (part[5] * dy - part[6] * dx) / part[4]
    )


@njit(cache=True, nogil=True)
def _hashed(i: int, j: int, key: int) -> float:  # pragma: no cover - compiled
    """Return a number in [0, 1) for a place of a lattice."""
    bits = (np.uint32(i) * np.uint32(0x9E3779B1)) ^ (np.uint32(j) * np.uint32(0x85EBCA77)) ^ np.uint32(key)
    bits = np.uint32((bits ^ (bits >> np.uint32(15))) * np.uint32(0x2C1B3C6D))
    bits = np.uint32((bits ^ (bits >> np.uint32(12))) * np.uint32(0x297A2D39))
    return float(bits ^ (bits >> np.uint32(15))) / 4294967296.0


@njit(cache=True, nogil=True)
def pattern_edge(texture: int, u: float, v: float, period: float) -> float:  # pragma: no cover - compiled
    """Return the signed distance to the nearest edge of a pattern, positive where its second colour is."""
    if texture in (PLAIN, MOTTLED):
        return -FAR
    a = u / period
    across = (abs(a - math.floor(a) - 0.5) - 0.25) * period
    if texture == STRIPED:
        return across
    b = v / period
    along = (abs(b - math.floor(b) - 0.5) - 0.25) * period
    if texture == CHECKED:
        nearest = min(abs(across), abs(along))
        return nearest if across * along > 0.0 else -nearest
    p, q = (a - math.floor(a) - 0.5) * period, (b - math.floor(b) - 0.5) * period
    return 0.3 * period - math.sqrt(p * p + q * q)


@njit(cache=True, nogil=True)
def _second(
    texture: int, u: float, v: float, period: float, scale: float, key: int
) -> float:  # pragma: no cover
    """Return the share of a pattern's second colour at a point."""
    if texture == PLAIN:
        return 0.0
    if texture != MOTTLED:
        return min(max(0.5 + pattern_edge(texture, u, v, period) / scale, 0.0), 1.0)
    a, b = 2.0 * u / period, 2.0 * v / period
    i, j = math.floor(a), math.floor(b)
    p, q = a - i, b - j
    p, q = p * p * (3.0 - 2.0 * p), q * q * (3.0 - 2.0 * q)
    i, j = int(i), int(j)
    upper = (1 - p) * _hashed(i, j, key) + p * _hashed(i + 1, j, key)
    lower = (1 - p) * _hashed(i, j + 1, key) + p * _hashed(i + 1, j + 1, key)
    return (1 - q) * upper + q * lower


@njit(cache=True, nogil=True)
def scene_point(whole: np.ndarray, x: float, y: float) -> tuple[float, float, float]:  # pragma: no cover
    """Return where the scene is under a pixel's point, and how many of its pixels one pixel spans."""
    if whole[24] == 1.0:
        return x, y, 1.0
    m = whole[15:24]
    w = m[6] * x + m[7] * y + m[8]
    sx, sy = (m[0] * x + m[1] * y + m[2]) / w, (m[3] * x + m[4] * y + m[5]) / w
    a, b = (m[0] - sx * m[6]) / w, (m[1] - sx * m[7]) / w
    c, d = (m[3] - sy * m[6]) / w, (m[4] - sy * m[7]) / w
    return sx, sy, math.sqrt(abs(a * d - b * c))


@njit(cache=True, nogil=True)
def extent(
    part: np.ndarray, whole: np.ndarray, size: int, dx: float, dy: float
) -> tuple[int, int, int, int]:  # pragma: no cover - compiled
    """Return first and last column and row (not included) of the pixels that a shifted part may touch."""
    if whole[24] == 0.0:
        return 0, size, 0, size
    x, y, r = part[2] + dx, part[3] + dy, part[4] + 2.0
    return (
        max(0, int(x - r)), min(size, int(x + r) + 1), max(0, int(y - r)), min(size, int(y + r) + 1)
    )  # fmt: skip


@njit(cache=True, nogil=True)
def paint(
    parts: np.ndarray, looks: np.ndarray, whole: np.ndarray, keys: np.ndarray, pixels: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Draw scenes into ``pixels (B, S, S, 3)`` uint8."""
    size = pixels.shape[1]
    colour = np.empty((size, size, 3))
    shade = np.empty((size, size))
    for b in range(len(parts)):
        style, key = int(whole[b, 14]), keys[b]
        _paint_shade(parts[b], looks[b], whole[b], shade)
        _paint_ground(whole[b], style, key, shade, colour)
        for p in range(parts.shape[1]):
            if parts[b, p, 0] > 0.0:
                _paint_part(parts[b, p], looks[b, int(parts[b, p, 7])], whole[b], style, key, colour)
        for i in range(size):
            for j in range(size):
                if style == GREY:
                    grey = 0.3 * colour[i, j, 0] + 0.59 * colour[i, j, 1] + 0.11 * colour[i, j, 2]
                    grey += 0.3 * (_hashed(i, j, key + 1) - 0.5)
                    colour[i, j] = grey
                for c in range(3):
                    pixels[b, i, j, c] = np.uint8(min(max(colour[i, j, c], 0.0), 1.0) * 255.0 + 0.5)


@njit(cache=True, nogil=True)
def _paint_shade(
    parts: np.ndarray, looks: np.ndarray, whole: np.ndarray, shade: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Fill ``shade (S, S)`` with the share of each pixel of the ground that lies in some shadow."""
    size = len(shade)
    shade[:] = 0.0
    for p in range(len(parts)):
        if parts[p, 0] == 0.0:
            continue
        dx, dy = looks[int(parts[p, 7]), 11], looks[int(parts[p, 7]), 12]
        left, right, top, bottom = extent(parts[p], whole, size, dx, dy)
        for i in range(top, bottom):
            for j in range(left, right):
                x, y, scale = scene_point(whole, j + 0.5, i + 0.5)
                cover = 0.5 - part_distance(parts[p], x - dx, y - dy) / scale
                shade[i, j] = max(shade[i, j], min(max(cover, 0.0), 1.0))


@njit(cache=True, nogil=True)
def _paint_ground(
    whole: np.ndarray, style: int, key: int, shade: np.ndarray, colour: np.ndarray
) -> None:  # pragma: no cover - compiled
    size = len(shade)
    texture = int(whole[0]) if style in (TEXTURED, GREY) else PLAIN
    for i in range(size):
        for j in range(size):
            x, y, scale = scene_point(whole, j + 0.5, i + 0.5)
            px, py = x - whole[4], y - whole[5]
            u, v = whole[2] * px + whole[3] * py, whole[2] * py - whole[3] * px
            second = _second(texture, u, v, whole[1], scale, key)
            light = 1.0 + whole[12] * (x / size - 0.5) + whole[13] * (y / size - 0.5)
            light *= 1.0 - (1.0 - SHADOW) * shade[i, j]
            if style in (FLAT, OUTLINE):
                light = 1.0
            for c in range(3):
                tone = whole[6 + c] + (whole[9 + c] - whole[6 + c]) * second
                colour[i, j, c] = 1.0 if style == OUTLINE else tone * light


@njit(cache=True, nogil=True)
def _paint_part(
    part: np.ndarray, look: np.ndarray, whole: np.ndarray, style: int, key: int, colour: np.ndarray
) -> None:  # pragma: no cover - compiled
    size = len(colour)
    texture = int(look[0]) if style in (TEXTURED, GREY) else PLAIN
    left, right, top, bottom = extent(part, whole, size, 0.0, 0.0)
    for i in range(top, bottom):
        for j in range(left, right):
            x, y, scale = scene_point(whole, j + 0.5, i + 0.5)
            distance = part_distance(part, x, y) / scale
            if distance >= 0.5:
                continue
            cover = min(0.5 - distance, 1.0)
            dx, dy = x - part[2], y - part[3]
            u, v = part[5] * dx + part[6] * dy, part[5] * dy - part[6] * dx
            second = _second(texture, u, v, look[1], scale, key + int(part[7]) + 2)
            light = look[13]
            if style in (TEXTURED, GREY):
                light *= 1.0 + whole[12] * (x / size - 0.5) + whole[13] * (y / size - 0.5)
                if look[8] > 0.0:
                    dark = min(max(0.5 - (look[9] * v - look[10] * u) / scale, 0.0), 1.0)
                    light *= 1.0 - (1.0 - FOLDED) * dark
            line = min(max(0.5 - (distance + 1.2), 0.0), 1.0)  # 0 within 1.2 pixels of the outline
            for c in range(3):
                tone = (look[2 + c] + (look[5 + c] - look[2 + c]) * second) * light
                if style == OUTLINE:
                    tone = line
                colour[i, j, c] += cover * (tone - colour[i, j, c])


@njit(cache=True, nogil=True)
def fill_front(parts: np.ndarray, whole: np.ndarray, front: np.ndarray) -> None:  # pragma: no cover
    """Fill ``front (B, S, S)`` int16 with the part that covers each pixel's centre, -1 for the ground."""
    size = front.shape[1]
    front[:] = -1
    for b in range(len(parts)):
        for p in range(parts.shape[1]):
            if parts[b, p, 0] == 0.0:
                continue
            left, right, top, bottom = extent(parts[b, p], whole[b], size, 0.0, 0.0)
            for i in range(top, bottom):
                for j in range(left, right):
                    x, y, _ = scene_point(whole[b], j + 0.5, i + 0.5)
                    if part_distance(parts[b, p], x, y) < 0.0:
                        front[b, i, j] = p


@njit(cache=True, nogil=True)
def fill_distances(
    parts: np.ndarray, whole: np.ndarray, shift: np.ndarray, distances: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Fill ``distances (B, K, S, S)`` float32 with signed distances in pixels of things that are shifted."""
    size = distances.shape[2]
    distances[:] = FAR
    for b in range(len(parts)):
        for p in range(parts.shape[1]):
            if parts[b, p, 0] == 0.0:
                continue
            k = int(parts[b, p, 7])
            dx, dy = shift[b, k, 0], shift[b, k, 1]
            for i in range(size):
                for j in range(size):
                    x, y, scale = scene_point(whole[b], j + 0.5, i + 0.5)
                    d = part_distance(parts[b, p], x - dx, y - dy) / scale
                    distances[b, k, i, j] = min(distances[b, k, i, j], d)


@njit(cache=True, nogil=True)
def fill_surface(
    parts: np.ndarray, looks: np.ndarray, whole: np.ndarray, front: np.ndarray, edges: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Fill ``edges (B, 2, S, S)`` with signed distances to a surface's own edges: pattern, crease."""
    size = front.shape[1]
    for b in range(len(parts)):
        for i in range(size):
            for j in range(size):
                x, y, scale = scene_point(whole[b], j + 0.5, i + 0.5)
                p = front[b, i, j]
                edges[b, 1, i, j] = FAR
                if p < 0:
                    px, py = x - whole[b, 4], y - whole[b, 5]
                    u = whole[b, 2] * px + whole[b, 3] * py
                    v = whole[b, 2] * py - whole[b, 3] * px
                    edges[b, 0, i, j] = pattern_edge(int(whole[b, 0]), u, v, whole[b, 1]) / scale
                    continue
                part, look = parts[b, p], looks[b, int(parts[b, p, 7])]
                dx, dy = x - part[2], y - part[3]
                u, v = part[5] * dx + part[6] * dy, part[5] * dy - part[6] * dx
                edges[b, 0, i, j] = pattern_edge(int(look[0]), u, v, look[1]) / scale
                if look[8] > 0.0:
                    edges[b, 1, i, j] = (look[9] * v - look[10] * u) / scale
