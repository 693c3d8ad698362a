"""Pictures of scenes, and the marks that are planted in them."""

from __future__ import annotations

import numpy as np

from vergence.data.worlds.scenes.drawing import in_threads, packed, paint
from vergence.data.worlds.scenes.scene import DIRECTIONS, WHITE, Scenes
from vergence.data.worlds.scenes.shapes import NAMES

_ARROW = (0.06, 0.09)  # radius of the planted arrow, and its centre from the corner, in sides


def pictures(scenes: Scenes, size: int, *, aberration: float = 0.0) -> np.ndarray:
    """Draw scenes.

    Args:
        scenes: B of them.
        size: Side in pixels.
        aberration: See ``Options``.

    Returns:
        ``(B, size, size, 3)`` uint8.
    """
    if (scenes.arrow >= 0).any():
        scenes = _with_arrow(scenes)
    if not aberration:
        return _painted(scenes, size)
    channels = [
        _painted(scenes.replace(matrix=scenes.matrix @ zoom(1 + aberration * step)), size)[..., c]
        for c, step in enumerate((1, 0, -1))
    ]
    return np.stack(channels, -1)


def zoom(factor: float) -> np.ndarray:
    """Return the map from a picture that is enlarged ``factor`` times about its centre to the picture."""
    shift = 0.5 - 0.5 / factor
    return np.array([[1 / factor, 0, shift], [0, 1 / factor, shift], [0, 0, 1]])


def _painted(scenes: Scenes, size: int) -> np.ndarray:
    pixels = np.empty((len(scenes), size, size, 3), np.uint8)
    in_threads(paint, *packed(scenes, size), scenes.key, pixels)
    return pixels


def _with_arrow(scenes: Scenes) -> Scenes:
    """Add a white arrow in the upper left corner, in front of all, where one is planted."""
    b = len(scenes)
    planted = scenes.arrow >= 0
    every, slot = np.arange(b)[planted], scenes.count[planted]
    arrow = {
        "shape": NAMES.index("arrow"), "colour": 0, "texture": 0, "centre": _ARROW[1], "radius": _ARROW[0],
        "angle": 2 * np.pi * scenes.arrow[planted] / DIRECTIONS, "depth": 0.0, "paint": WHITE, "period": 1.0,
        "fold": np.nan, "arm": 0.0, "joint": 0.0, "shadow": 0.0, "flash": 1.0, "identity": 0,
    }  # fmt: skip
    more = {}
    for name, value in arrow.items():
        old = getattr(scenes, name)
        more[name] = np.concatenate([old, np.zeros((b, 1, *old.shape[2:]), old.dtype)], 1)
        more[name][every, slot] = value
    return scenes.replace(count=scenes.count + planted, **more)
