"""Cameras about a solid: where they stand, how they turn, and what they see of points.

The camera's axes are those of the picture: x to the right, y down, z into the scene. Points in pixels have
the outer corner of the first pixel as their origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from vergence.data.worlds.seeded import Draws

FIELD = np.deg2rad(40)  # of view, across
DISTANCE = (3.2, 4.2)  # in radii of the solid


@dataclass(frozen=True)
class Cameras:
    """B cameras that look at the middle of their solids.

    Args:
        azimuth: ``(B,)`` radians about z, 0 in front of the solid (at +x), counter-clockwise from above.
        elevation: ``(B,)`` radians above the horizon.
        roll: ``(B,)`` radians, how far the picture is turned clockwise.
        distance: ``(B,)`` from the solid's middle.
        target: ``(B, 3)``, the middle.
    """

    azimuth: np.ndarray
    elevation: np.ndarray
    roll: np.ndarray
    distance: np.ndarray
    target: np.ndarray

    @property
    def rotation(self) -> np.ndarray:
        """``(B, 3, 3)`` from the solid's axes to the camera's."""
        ca, sa, ce, se = (f(x) for x in (self.azimuth, self.elevation) for f in (np.cos, np.sin))
        zero = np.zeros_like(ca)
        right = np.stack([-sa, ca, zero], -1)
        into = np.stack([-ce * ca, -ce * sa, -se], -1)
        down = np.cross(into, right)
        cr, sr = np.cos(self.roll)[:, None], np.sin(self.roll)[:, None]
        return np.stack([cr * right + sr * down, cr * down - sr * right, into], 1)

    @property
    def position(self) -> np.ndarray:
        """``(B, 3)`` in the solid's coordinates."""
        return self.target - self.distance[:, None] * self.rotation[:, 2]

    def seen(self, points: np.ndarray) -> np.ndarray:
        """Return points ``(B, n, 3)`` in the camera's coordinates."""
        return (points - self.position[:, None]) @ self.rotation.mT

    def pick(self, rows: np.ndarray) -> Self:
        return type(self)(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def focal(size: int) -> float:
    """Return the focal length in pixels of pictures ``size`` pixels wide."""
    return size / (2 * np.tan(FIELD / 2))


def anywhere(seed: int, rows: np.ndarray, target: np.ndarray) -> Cameras:
    """Return a camera a row, anywhere above the ground."""
    draws = Draws(seed, rows)
    return Cameras(
        draws.uniform("azimuth", high=2 * np.pi),
        draws.uniform("elevation", low=0.1, high=1.1),
        np.zeros(len(rows)),
        draws.uniform("distance", low=DISTANCE[0], high=DISTANCE[1]),
        target,
    )


def turntable(
    seed: int, individuals: np.ndarray, step: np.ndarray, steps: int, target: np.ndarray
) -> Cameras:
    """Return cameras that go once about each individual in equal steps, at one height and distance."""
    start = anywhere(seed, individuals, target)
    return Cameras(
        start.azimuth + 2 * np.pi * step / steps, start.elevation, start.roll, start.distance, target
    )


def orbit(seed: int, individuals: np.ndarray, step: np.ndarray, steps: int, target: np.ndarray) -> Cameras:
    """Return cameras on a smooth path of each individual: an arc that also rises, comes nearer and leans."""
    start, draws = anywhere(seed, individuals, target), Draws(seed, individuals)
    share = step / max(1, steps - 1)
    arc = draws.uniform("arc", low=0.6, high=1.6) * np.where(draws.uniform("side") < 0.5, -1, 1)
    rise = draws.uniform("rise", low=-0.3, high=0.3)
    nearer = draws.uniform("nearer", low=-0.4, high=0.4)
    lean = draws.uniform("lean", low=-0.2, high=0.2)
    return Cameras(
        start.azimuth + arc * share,
        np.clip(start.elevation + rise * share, 0.05, 1.3),
        lean * share,
        start.distance + nearer * share,
        target,
    )
