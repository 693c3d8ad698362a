"""Solids of ten kinds, each of named parts whose proportions differ from one individual to the next.

A solid stands on the ground z = 0 and looks along +x; the box about it has its middle above the origin, and a
ball of radius 1 about that middle holds it. None has the same outline from two sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from vergence.data.worlds.seeded import Draws
from vergence.data.worlds.shapes3d.primitives import PRIMITIVES

Number = float | np.ndarray
Triple = tuple[Number, Number, Number]


@dataclass(frozen=True)
class Solids:
    """Individuals of one kind.

    Args:
        kind: Index in ``NAMES``.
        where: ``(b,)`` int64, their places in the batch.
        primitives: Name of each of the P parts' primitive.
        matrix: ``(b, P, 3, 3)`` from the unit cube of a primitive to the solid.
        shift: ``(b, P, 3)``.
        paint: ``(b, P, 3)`` RGB in [0, 1].
        stripes: ``(b, P)`` periods of a pattern over the unit cube, 0 for none.
    """

    kind: int
    where: np.ndarray
    primitives: tuple[str, ...]
    matrix: np.ndarray
    shift: np.ndarray
    paint: np.ndarray
    stripes: np.ndarray

    @property
    def faces(self) -> np.ndarray:
        """``(F, 3)`` int64, the same for every individual."""
        starts = np.cumsum([0, *(len(PRIMITIVES[name].vertices) for name in self.primitives)])
        return np.concatenate(
            [PRIMITIVES[name].faces + start for name, start in zip(self.primitives, starts, strict=False)]
        )

    @property
    def part(self) -> np.ndarray:
        """``(F,)`` int64, the part of each face."""
        return np.repeat(np.arange(len(self.primitives)), [len(PRIMITIVES[n].faces) for n in self.primitives])

    @cached_property
    def vertices(self) -> np.ndarray:
        """``(b, V, 3)`` in the solid's coordinates."""
        return np.concatenate(
            [
                PRIMITIVES[name].vertices @ self.matrix[:, p].mT + self.shift[:, p, None]
                for p, name in enumerate(self.primitives)
            ],
            axis=1,
        )

    @property
    def middle(self) -> np.ndarray:
        """``(b, 3)``, half way up above the origin: where cameras look."""
        top = self.vertices[..., 2].max(1)
        return np.stack([0 * top, 0 * top, top / 2], -1)

    def local(self, points: np.ndarray, part: int) -> np.ndarray:
        """Return points ``(b, n, 3)`` in the unit cube's coordinates of a part."""
        return (points - self.shift[:, part, None]) @ np.linalg.inv(self.matrix[:, part]).mT


@dataclass
class _Assembly:
    """Collects the parts of b individuals."""

    draws: Draws
    names: list[str] = field(default_factory=list)
    primitives: list[str] = field(default_factory=list)
    matrices: list[np.ndarray] = field(default_factory=list)
    shifts: list[np.ndarray] = field(default_factory=list)

    def vary(self, name: str, low: float, high: float) -> np.ndarray:
        """Return a number ``(b,)`` in [low, high) of each individual."""
        return self.draws.uniform(name, low=low, high=high)

    def add(
        self, name: str, primitive: str, size: Triple, at: Triple, *, turn: Number = 0.0, axis: int = 1
    ) -> None:
        """Add a part: a primitive of a size, turned by radians about an axis (0 x, 1 y, 2 z), at a place."""
        b = len(self.draws.rows)
        scale = np.stack([np.broadcast_to(np.asarray(s, float), b) for s in size], -1)
        self.names.append(name)
        self.primitives.append(primitive)
        self.matrices.append(turned(np.broadcast_to(np.asarray(turn, float), b), axis) * scale[:, None])
        self.shifts.append(np.stack([np.broadcast_to(np.asarray(s, float), b) for s in at], -1))


def turned(angle: np.ndarray, axis: int) -> np.ndarray:
    """Return rotations ``(b, 3, 3)`` by radians ``(b,)`` about an axis."""
    matrix = np.broadcast_to(np.eye(3), (len(angle), 3, 3)).copy()
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[:, i, i] = matrix[:, j, j] = np.cos(angle)
    matrix[:, j, i] = np.sin(angle)
    matrix[:, i, j] = -matrix[:, j, i]
    return matrix


def _mug(a: _Assembly) -> None:
    height, wide = a.vary("height", 0.8, 1.4), a.vary("wide", 0.7, 1.0)
    a.add("body", "cylinder", (wide, wide, height), (0, 0, height / 2))
    a.add("handle", "ring", (0.7, 0.5, 0.75 * height), (wide / 2 + 0.1, 0, height / 2))
    a.add("foot", "taper", (0.8 * wide, 0.8 * wide, 0.12), (0, 0, 0.0))
    a.add("badge", "box", (0.06, 0.3, 0.3), (0, wide / 2, 0.6 * height), turn=np.pi / 2, axis=2)


def _chair(a: _Assembly) -> None:
    seat, back = a.vary("seat", 0.5, 0.8), a.vary("back", 0.6, 1.1)
    for name, x, y in (("leg", 0.4, 0.4), ("leg", 0.4, -0.4), ("leg", -0.4, 0.4), ("leg", -0.4, -0.4)):
        a.add(name, "box", (0.12, 0.12, seat), (x, y, seat / 2))
    a.add("seat", "box", (1.0, 1.0, 0.14), (0, 0, seat))
    a.add("back", "box", (0.12, 1.0, back), (-0.45, 0, seat + back / 2))
    a.add("arm", "box", (0.8, 0.12, 0.1), (0.0, 0.45, seat + 0.4))


def _lamp(a: _Assembly) -> None:
    height, lean = a.vary("height", 1.0, 1.5), a.vary("lean", 0.5, 1.0)
    a.add("base", "taper", (0.8, 0.8, 0.15), (0, 0, 0.075))
    a.add("pole", "cylinder", (0.1, 0.1, height), (0, 0, height / 2))
    a.add(
        "boom", "cylinder", (0.09, 0.09, 0.9), (0.4 * np.sin(lean), 0, height + 0.4 * np.cos(lean)), turn=lean
    )
    a.add("shade", "taper", (0.55, 0.55, 0.45), (0.85 * np.sin(lean), 0, height + 0.75 * np.cos(lean) - 0.1))
    a.add("switch", "box", (0.15, 0.12, 0.12), (0.15, 0.2, 0.18))


def _plane(a: _Assembly) -> None:
    long, span = a.vary("long", 1.6, 2.2), a.vary("span", 1.4, 2.2)
    a.add("fuselage", "ball", (long, 0.4, 0.4), (0, 0, 0.5))
    a.add("wing", "box", (0.4, span, 0.06), (0.15, 0, 0.5))
    a.add("tail", "box", (0.22, 0.7, 0.05), (-0.45 * long, 0, 0.55))
    a.add("fin", "wedge", (0.3, 0.06, 0.5), (-0.43 * long, 0, 0.75))
    a.add("engine", "cylinder", (0.16, 0.16, 0.35), (0.2, 0.3 * span, 0.42), turn=np.pi / 2)


def _house(a: _Assembly) -> None:
    wide, high = a.vary("wide", 0.9, 1.3), a.vary("high", 0.6, 1.0)
    a.add("walls", "box", (wide, 1.4, high), (0, 0, high / 2))
    a.add("roof", "wedge", (1.15 * wide, 1.5, 0.5), (0, 0, high + 0.25))
    a.add("chimney", "box", (0.18, 0.18, 0.5), (0.25 * wide, 0.4, high + 0.35))
    a.add("door", "box", (0.08, 0.3, 0.45), (wide / 2, -0.35, 0.225))


def _hammer(a: _Assembly) -> None:
    long, head = a.vary("long", 1.2, 1.8), a.vary("head", 0.6, 0.9)
    a.add("handle", "cylinder", (0.16, 0.16, long), (0, 0, long / 2))
    a.add("head", "box", (head, 0.28, 0.28), (0.1, 0, long))
    a.add("face", "cylinder", (0.34, 0.34, 0.16), (0.1 + head / 2, 0, long), turn=np.pi / 2)
    a.add("claw", "wedge", (0.26, 0.24, 0.6), (-0.1 - head / 2, 0, long - 0.05), turn=-1.9)
    a.add("grip", "taper", (0.26, 0.26, 0.4), (0, 0, 0.2))


def _boat(a: _Assembly) -> None:
    long, mast = a.vary("long", 1.6, 2.2), a.vary("mast", 0.9, 1.3)
    a.add("hull", "wedge", (0.7, long, 0.45), (0, 0, 0.22), turn=np.pi, axis=1)
    a.shifts[-1][:, 2] = 0.22
    a.matrices[-1] = turned(np.full(len(a.draws.rows), np.pi / 2), 2) @ a.matrices[-1]
    a.add("cabin", "box", (0.5, 0.4, 0.3), (-0.2 * long, 0, 0.55))
    a.add("mast", "cylinder", (0.07, 0.07, mast), (0.15 * long, 0, 0.4 + mast / 2))
    a.add("flag", "box", (0.4, 0.03, 0.25), (0.15 * long - 0.2, 0, 0.27 + mast))


def _teapot(a: _Assembly) -> None:
    wide, high = a.vary("wide", 0.9, 1.2), a.vary("high", 0.7, 1.0)
    a.add("body", "ball", (wide, wide, high), (0, 0, high / 2))
    a.add("spout", "taper", (0.25, 0.25, 0.8), (0.5 * wide + 0.12, 0, 0.62 * high), turn=0.9)
    a.add("handle", "ring", (0.6, 0.4, 0.7 * high), (-0.5 * wide - 0.08, 0, 0.55 * high))
    a.add("lid", "ball", (0.24, 0.24, 0.24), (0, 0, high + 0.05))


def _duck(a: _Assembly) -> None:
    long, neck = a.vary("long", 1.1, 1.5), a.vary("neck", 0.2, 0.45)
    a.add("body", "ball", (long, 0.8, 0.7), (0, 0, 0.35))
    a.add("head", "ball", (0.5, 0.46, 0.5), (0.38 * long, 0, 0.7 + neck))
    a.add("neck", "cylinder", (0.26, 0.26, 0.3 + neck), (0.35 * long, 0, 0.55 + neck / 2))
    a.add("beak", "cone", (0.2, 0.26, 0.35), (0.38 * long + 0.36, 0, 0.66 + neck), turn=np.pi / 2)
    a.add("tail", "wedge", (0.3, 0.35, 0.4), (-0.48 * long, 0, 0.55), turn=-0.7)


def _stairs(a: _Assembly) -> None:
    rise, wide = a.vary("rise", 0.2, 0.35), a.vary("wide", 0.7, 1.1)
    for step in range(4):
        a.add("step", "box", (0.36, wide, (step + 1) * rise), (0.54 - 0.36 * step, 0, (step + 1) * rise / 2))
    a.add("rail", "box", (1.5, 0.06, 0.08), (0, wide / 2, 2.5 * rise + 0.5), turn=np.arctan(rise / 0.36))
    a.add("post", "cylinder", (0.1, 0.1, 0.8), (-0.54, wide / 2, 4 * rise + 0.3))


KINDS: dict[str, Callable[[_Assembly], None]] = {
    "mug": _mug, "chair": _chair, "lamp": _lamp, "plane": _plane, "house": _house, "hammer": _hammer,
    "boat": _boat, "teapot": _teapot, "duck": _duck, "stairs": _stairs,
}  # fmt: skip
NAMES = tuple(KINDS)


def labels(seed: int, individuals: np.ndarray) -> np.ndarray:
    """Return the kind ``(B,)`` of individuals ``(B,)``."""
    return Draws(seed, individuals).whole("kind", below=len(NAMES))


def generate(seed: int, individuals: np.ndarray) -> list[Solids]:
    """Return individuals ``(B,)`` int64, those of one kind together."""
    kinds = labels(seed, individuals)
    return [
        _of_kind(int(kind), np.flatnonzero(kinds == kind), seed, individuals) for kind in np.unique(kinds)
    ]


def _of_kind(kind: int, where: np.ndarray, seed: int, individuals: np.ndarray) -> Solids:
    assembly = _Assembly(Draws(seed, individuals[where]))
    KINDS[NAMES[kind]](assembly)
    matrix, shift = np.stack(assembly.matrices, 1), np.stack(assembly.shifts, 1)
    draws = assembly.draws
    parts = len(assembly.primitives)
    of = [assembly.names.index(name) for name in assembly.names]  # parts of one name look alike
    paint = draws.uniform("paint", parts, 3, low=0.15, high=0.95)[:, of]
    striped = draws.uniform("striped", parts)[:, of] < 0.3
    stripes = np.where(striped, draws.uniform("stripes", parts, low=3.0, high=7.0)[:, of], 0.0)
    raw = Solids(kind, where, tuple(assembly.primitives), matrix, shift, paint, stripes)
    low, high = raw.vertices.min(1), raw.vertices.max(1)
    middle = np.concatenate([(low + high)[:, :2] / 2, low[:, 2:]], 1)
    centre = (low + high) / 2
    scale = 1 / np.linalg.norm(raw.vertices - centre[:, None], axis=2).max(1)
    return Solids(
        kind,
        where,
        raw.primitives,
        matrix * scale[:, None, None, None],
        (shift - middle[:, None]) * scale[:, None, None],
        paint,
        stripes,
    )


def part_names(kind: int) -> tuple[str, ...]:
    """Return the names of a kind's parts, one a part; legs and steps have one name together.

    >>> part_names(0)
    ('body', 'handle', 'foot', 'badge')
    """
    assembly = _Assembly(Draws(0, np.zeros(1, np.int64)))
    KINDS[NAMES[kind]](assembly)
    return tuple(assembly.names)
