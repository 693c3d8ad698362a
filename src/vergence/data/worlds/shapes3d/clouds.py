"""Point clouds of the same solids, with the part and the normal of every point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vergence.core.errors import BadInput
from vergence.data.worlds.seeded import Draws
from vergence.data.worlds.shapes3d.primitives import PRIMITIVES
from vergence.data.worlds.shapes3d.solids import Solids, generate

SPARE = 3  # candidates a point: those inside another part are left out


@dataclass(frozen=True)
class Clouds:
    """Points on the outer surface, evenly spread over its area.

    Args:
        xyz: ``(B, n, 3)`` in the solid's coordinates.
        normal: ``(B, n, 3)`` unit, outward.
        part: ``(B, n)`` int64, index of the part within its kind (``solids.part_names``).
        kind: ``(B,)`` int64, index in ``solids.NAMES``.
    """

    xyz: np.ndarray
    normal: np.ndarray
    part: np.ndarray
    kind: np.ndarray


def clouds(seed: int, individuals: np.ndarray, count: int = 1024) -> Clouds:
    """Return a cloud of ``count`` points of each individual ``(B,)``.

    Raises:
        BadInput: If ``count`` is below 1.
    """
    if count < 1:
        raise BadInput(f"A cloud of shapes3d has 1 or more points; got {count}.")
    b = len(individuals)
    made = Clouds(
        np.empty((b, count, 3)),
        np.empty((b, count, 3)),
        np.empty((b, count), np.int64),
        np.empty(b, np.int64),
    )
    for group in generate(seed, individuals):
        xyz, normal, part = _on_surface(group, Draws(seed, individuals[group.where]), count)
        made.xyz[group.where], made.normal[group.where], made.part[group.where] = xyz, normal, part
        made.kind[group.where] = group.kind
    return made


def _on_surface(group: Solids, draws: Draws, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    corners = group.vertices[:, group.faces]
    cross = np.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
    area = np.linalg.norm(cross, axis=2)
    share = np.cumsum(area, 1) / area.sum(1, keepdims=True)
    n = SPARE * count
    pick, u, v = np.moveaxis(draws.uniform("points", n, 3), -1, 0)
    each = np.arange(len(share))[:, None]
    offset = share + each  # one sorted row after the other: one search for all
    face = np.searchsorted(offset.ravel(), (pick + each).ravel()).reshape(pick.shape)
    face = np.minimum(face - each * share.shape[1], share.shape[1] - 1)
    over = u + v > 1
    u, v = np.where(over, 1 - u, u)[..., None], np.where(over, 1 - v, v)[..., None]
    a, b, c = np.moveaxis(corners[each, face], 2, 0)
    xyz = a + u * (b - a) + v * (c - a)
    part = group.part[face]
    hidden = np.zeros(part.shape, bool)
    for other, name in enumerate(group.primitives):
        hidden |= (part != other) & PRIMITIVES[name].inside(group.local(xyz, other))
    first = np.argsort(hidden, axis=1, kind="stable")[:, :count]
    normal = cross[each, face] / np.maximum(area[each, face], 1e-300)[..., None]
    return xyz[each, first], normal[each, first], part[each, first]
