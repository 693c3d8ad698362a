"""Pictures of solids: rasterised triangles, exact at pixels' centres, with light, ground and patterns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from vergence.data.worlds.seeded import Draws
from vergence.data.worlds.shapes3d.camera import Cameras, focal
from vergence.data.worlds.shapes3d.solids import Solids

SKY, GROUND = -2, -1  # in place of a part: nothing, and the plane z = 0
AMBIENT = 0.35
DARK = 0.45  # how bright the second colour of stripes is
HORIZON = 12.0  # radii from the middle where the ground ends


@dataclass(frozen=True)
class Surfaces:
    """What each pixel's centre meets first.

    Args:
        depth: ``(B, H, W)`` along the camera's axis, in radii of the solid; infinite for the sky.
        part: ``(B, H, W)`` int16 index of the part, or ``GROUND`` or ``SKY``.
        normal: ``(B, H, W, 3)`` float32 unit normal in the solid's axes, 0 for the sky.
    """

    depth: np.ndarray
    part: np.ndarray
    normal: np.ndarray


def surfaces(groups: list[Solids], cameras: Cameras, size: int, *, ground: bool = True) -> Surfaces:
    """Return what is seen of solids on pictures of ``size`` x ``size`` pixels.

    Args:
        groups: Individuals, one a camera in all.
        cameras: B of them.
        size: Pixels a side.
        ground: Whether there is a ground.
    """
    b = len(cameras.azimuth)
    seen = Surfaces(
        np.full((b, size, size), np.inf),
        np.full((b, size, size), SKY, np.int16),
        np.zeros((b, size, size, 3), np.float32),
    )
    f = focal(size)
    if ground:
        _lay_ground(cameras.rotation, cameras.position, f, seen.depth, seen.part, seen.normal)
    for group in groups:  # at most one a kind
        vertices, faces = group.vertices, group.faces
        corners = vertices[:, faces]
        normal = np.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
        normal /= np.maximum(np.linalg.norm(normal, axis=2, keepdims=True), 1e-300)
        before = cameras.pick(group.where).seen(vertices)
        rasterise(before, faces, group.part, normal, f, group.where, seen.depth, seen.part, seen.normal)
    return seen


def pictures(
    groups: list[Solids], cameras: Cameras, size: int, *, seed: int, individuals: np.ndarray, smooth: int = 2
) -> np.ndarray:
    """Return RGB pictures ``(B, size, size, 3)`` uint8; light and ground go with the individual.

    Args:
        groups: Individuals.
        cameras: One a picture.
        size: Pixels a side.
        seed: Of the world.
        individuals: ``(B,)``, who is on each picture.
        smooth: Samples a pixel along each side.
    """
    fine = surfaces(groups, cameras, size * smooth)
    draws, f, b = Draws(seed, individuals), focal(size * smooth), len(individuals)
    turn, lift = draws.uniform("light", high=2 * np.pi), draws.uniform("lift", low=0.5, high=1.2)
    light = np.stack([np.cos(lift) * np.cos(turn), np.cos(lift) * np.sin(turn), np.sin(lift)], -1)
    tilt, tiles = draws.uniform("tilt", high=np.pi), draws.uniform("tiles", low=0.4, high=1.2)
    floor = np.stack([np.cos(tilt), np.sin(tilt), tiles], -1)
    two, sky = draws.uniform("ground", 2, 3, low=0.3, high=0.9), draws.uniform("sky", 3, low=0.55, high=1.0)
    rgb = np.empty((b, size * smooth, size * smooth, 3), np.float32)
    eye = cameras.rotation, cameras.position
    _paint_backdrop(fine.depth, fine.part, *eye, f, floor, two, sky, rgb)
    for group in groups:
        back = np.linalg.inv(group.matrix)
        look = back, group.shift, group.paint, group.stripes
        _paint_parts(fine.depth, fine.part, *eye, f, group.where, *look, rgb)
    _light(fine.part, fine.normal, light, rgb)
    mean = rgb.reshape(b, size, smooth, size, smooth, 3).mean((2, 4))
    return np.round(255 * mean).astype(np.uint8)


@njit(cache=True, nogil=True)
def _projected(
    seen: np.ndarray, n: int, vertex: int, f: float, width: int, height: int
) -> tuple[float, float]:  # pragma: no cover - compiled
    """Return where a vertex is seen, in pixels."""
    return (
        f * seen[n, vertex, 0] / seen[n, vertex, 2] + width / 2,
        f * seen[n, vertex, 1] / seen[n, vertex, 2] + height / 2,
    )


@njit(cache=True, nogil=True)
def rasterise(
    seen: np.ndarray, faces: np.ndarray, of: np.ndarray, flat: np.ndarray, f: float, where: np.ndarray,
    depth: np.ndarray, part: np.ndarray, normal: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover - compiled
    """Draw triangles that face the camera over what is there, where they are nearer.

    Args:
        seen: ``(b, V, 3)`` vertices in the cameras' coordinates, all before the camera.
        faces: ``(F, 3)``.
        of: ``(F,)`` part of each face.
        flat: ``(b, F, 3)`` normals.
        f: Focal length in pixels.
        where: ``(b,)`` pictures to draw on.
        depth: ``(B, H, W)``, changed, as are ``part (B, H, W)`` and ``normal (B, H, W, 3)``.
    """
    height, width = depth.shape[1:]
    for n in range(len(seen)):
        i = where[n]
        for k in range(len(faces)):
            az, bz, cz = seen[n, faces[k, 0], 2], seen[n, faces[k, 1], 2], seen[n, faces[k, 2], 2]
            ax, ay = _projected(seen, n, faces[k, 0], f, width, height)
            bx, by = _projected(seen, n, faces[k, 1], f, width, height)
            cx, cy = _projected(seen, n, faces[k, 2], f, width, height)
            area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            if area >= 0.0:  # y points down: faces seen from outside turn the other way
                continue
            left = max(0, math.floor(min(ax, bx, cx) - 0.5))
            right = min(width - 1, math.ceil(max(ax, bx, cx) - 0.5))
            top = max(0, math.floor(min(ay, by, cy) - 0.5))
            bottom = min(height - 1, math.ceil(max(ay, by, cy) - 0.5))
            for row in range(top, bottom + 1):
                y = row + 0.5
                for column in range(left, right + 1):
                    x = column + 0.5
                    u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                    v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                    w = 1.0 - u - v
                    if u < 0.0 or v < 0.0 or w < 0.0:
                        continue
                    far = 1.0 / (u / az + v / bz + w / cz)
                    if far < depth[i, row, column]:
                        depth[i, row, column] = far
                        part[i, row, column] = of[k]
                        for axis in range(3):
                            normal[i, row, column, axis] = flat[n, k, axis]


@njit(cache=True, nogil=True)
def _along(rotation: np.ndarray, x: float, y: float, axis: int) -> float:  # pragma: no cover - compiled
    """Return how far along an axis of the solid a ray goes at depth 1."""
    return rotation[0, axis] * x + rotation[1, axis] * y + rotation[2, axis]


@njit(cache=True, nogil=True)
def _lay_ground(
    rotation: np.ndarray, position: np.ndarray, f: float,
    depth: np.ndarray, part: np.ndarray, normal: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover - compiled
    b, height, width = depth.shape
    for i in range(b):
        for row in range(height):
            y = (row + 0.5 - height / 2) / f
            for column in range(width):
                x = (column + 0.5 - width / 2) / f
                down = _along(rotation[i], x, y, 2)
                if down >= 0.0:
                    continue
                far = -position[i, 2] / down
                px = position[i, 0] + far * _along(rotation[i], x, y, 0)
                py = position[i, 1] + far * _along(rotation[i], x, y, 1)
                if px * px + py * py < HORIZON * HORIZON:
                    depth[i, row, column] = far
                    part[i, row, column] = GROUND
                    normal[i, row, column, 2] = 1.0


@njit(cache=True, nogil=True)
def _paint_backdrop(
    depth: np.ndarray, part: np.ndarray, rotation: np.ndarray, position: np.ndarray, f: float,
    floor: np.ndarray, two: np.ndarray, sky: np.ndarray, rgb: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover - compiled
    """Give ground (tiles of two colours) and sky their colours."""
    b, height, width = depth.shape
    for i in range(b):
        c, s, period = floor[i, 0], floor[i, 1], floor[i, 2]
        for row in range(height):
            y = (row + 0.5 - height / 2) / f
            for column in range(width):
                if part[i, row, column] == SKY:
                    for channel in range(3):
                        rgb[i, row, column, channel] = sky[i, channel]
                elif part[i, row, column] == GROUND:
                    x, far = (column + 0.5 - width / 2) / f, depth[i, row, column]
                    px = position[i, 0] + far * _along(rotation[i], x, y, 0)
                    py = position[i, 1] + far * _along(rotation[i], x, y, 1)
                    tile = math.floor((c * px + s * py) / period) + math.floor((c * py - s * px) / period)
                    for channel in range(3):
                        rgb[i, row, column, channel] = two[i, tile % 2, channel]


@njit(cache=True, nogil=True)
def _paint_parts(
    depth: np.ndarray, part: np.ndarray, rotation: np.ndarray, position: np.ndarray, f: float,
    where: np.ndarray, back: np.ndarray, shift: np.ndarray, paint: np.ndarray, stripes: np.ndarray,
    rgb: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover - compiled
    """Give pixels of solids the colours of their parts, striped along the part's own z."""
    height, width = depth.shape[1:]
    for n in range(len(where)):
        i = where[n]
        for row in range(height):
            y = (row + 0.5 - height / 2) / f
            for column in range(width):
                p = part[i, row, column]
                if p < 0:
                    continue
                bright = 1.0
                if stripes[n, p] > 0.0:
                    x, far = (column + 0.5 - width / 2) / f, depth[i, row, column]
                    z = 0.5
                    for axis in range(3):
                        place = position[i, axis] + far * _along(rotation[i], x, y, axis)
                        z += back[n, p, 2, axis] * (place - shift[n, p, axis])
                    if math.floor(z * stripes[n, p]) % 2:
                        bright = DARK
                for channel in range(3):
                    rgb[i, row, column, channel] = bright * paint[n, p, channel]


@njit(cache=True, nogil=True)
def _light(
    part: np.ndarray, normal: np.ndarray, light: np.ndarray, rgb: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Darken what turns away from the light (Lambert)."""
    b, height, width = part.shape
    for i in range(b):
        for row in range(height):
            for column in range(width):
                if part[i, row, column] != SKY:
                    towards = 0.0
                    for axis in range(3):
                        towards += normal[i, row, column, axis] * light[i, axis]
                    for channel in range(3):
                        rgb[i, row, column, channel] *= AMBIENT + (1.0 - AMBIENT) * max(towards, 0.0)
