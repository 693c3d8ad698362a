"""Pairs of pictures of one scene: by a homography, in two styles, or a copy with edits."""

from __future__ import annotations

import numpy as np

from vergence.core.errors import BadInput
from vergence.data.worlds.scenes.scene import STYLES, Options, Scenes, generate
from vergence.data.worlds.seeded import Draws

KINDS = ("homography", "style", "edit")


def pairs(seed: int, rows: np.ndarray, options: Options, kind: str) -> tuple[Scenes, Scenes]:
    """Return both scenes of pairs ``rows``; a point of the second lies at ``second.matrix`` in the first.

    Args:
        seed: Of the world.
        rows: ``(B,)``.
        options: Of the first scenes.
        kind: "homography": the second is seen from elsewhere. "style": it is drawn in another one. "edit":
            it is cut, perhaps mirrored, of other colours.
    """
    check_kind(kind)
    first, draws = generate(seed, rows, options), Draws(seed, rows)
    if kind == "style":
        other = (first.style + 1 + draws.whole("other style", below=len(STYLES) - 1)) % len(STYLES)
        return first, first.replace(style=other)
    if kind == "homography":
        corner = draws.uniform("corners", 4, 2, low=-0.15, high=0.15)
        return first, first.replace(matrix=homography(corner))
    tint = draws.uniform("edit tint", 1, 1, 3, low=-0.08, high=0.08)
    bright = draws.uniform("edit light", 1, 1, 1, low=0.7, high=1.3)
    mirrored = draws.uniform("mirrored") < 0.5
    size, x, y = (draws.uniform(f"cut {name}") for name in ("size", "x", "y"))
    size = 0.6 + 0.4 * size
    matrix = np.zeros((len(first), 3, 3))
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = np.where(mirrored, -size, size), size, 1
    matrix[:, 0, 2] = (1 - size) * x + np.where(mirrored, size, 0)
    matrix[:, 1, 2] = (1 - size) * y
    return first, first.replace(
        matrix=matrix,
        paint=np.clip(first.paint * bright + tint, 0, 1),
        ground_paint=np.clip(first.ground_paint * bright[:, 0] + tint[:, 0], 0, 1),
    )


def check_kind(kind: str) -> None:
    """Raise ``BadInput`` if there are no such pairs."""
    if kind not in KINDS:
        raise BadInput(f"Pairs of scenes are {', '.join(KINDS)}; got {kind!r}.")


def homography(shift: np.ndarray) -> np.ndarray:
    """Return maps ``(B, 3, 3)`` that shift the corners of the unit square by ``shift (B, 4, 2)``.

    The corners are in the order upper left, upper right, lower right, lower left.
    """
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)
    to = square + shift
    rows = np.zeros((len(shift), 8, 8))
    for i, (x, y) in enumerate(square):
        u, v = to[:, i, 0], to[:, i, 1]
        rows[:, 2 * i, :3] = rows[:, 2 * i + 1, 3:6] = (x, y, 1)
        rows[:, 2 * i, 6:] = np.stack([-u * x, -u * y], 1)
        rows[:, 2 * i + 1, 6:] = np.stack([-v * x, -v * y], 1)
    eight = np.linalg.solve(rows, to.reshape(-1, 8, 1))[..., 0]
    return np.concatenate([eight, np.ones((len(shift), 1))], 1).reshape(-1, 3, 3)
