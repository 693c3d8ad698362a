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
    more = {
        name: np.concatenate([value, np.zeros((b, 1, *value.shape[2:]), value.dtype)], 1)
        for name in (
            *("shape", "colour", "texture", "centre", "radius", "angle", "depth", "paint", "period"),
            *("fold", "arm", "joint", "shadow", "flash", "identity"),
        )
        for value in (getattr(scenes, name),)
    }
    more["shape"][every, slot] = NAMES.index("arrow")
    more["texture"][every, slot] = 0
    more["centre"][every, slot] = _ARROW[1]
    more["radius"][every, slot] = _ARROW[0]
    more["angle"][every, slot] = 2 * np.pi * scenes.arrow[planted] / DIRECTIONS
    more["paint"][every, slot] = WHITE
    more["period"][every, slot] = 1.0
    more["fold"][every, slot] = np.nan
    more["arm"][every, slot] = 0.0
    more["shadow"][every, slot] = 0.0
    more["flash"][every, slot] = 1.0
    return scenes.replace(count=scenes.count + planted, **more)
