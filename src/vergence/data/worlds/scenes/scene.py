"""Contents of a scene: things, their looks and places, the ground and the light, as arrays over scenes.

Lengths are in sides of the picture, x to the right, y down, the origin in the upper left corner; angles
in radians, clockwise as seen. Things are ordered from far to near.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Self

import numpy as np

from vergence.core.errors import BadInput
from vergence.data.worlds.scenes.shapes import AREA, NAMES
from vergence.data.worlds.seeded import Draws

COLOURS = {
    "red": (0.83, 0.13, 0.12), "orange": (0.95, 0.55, 0.10), "yellow": (0.95, 0.87, 0.18),
    "green": (0.16, 0.62, 0.22), "cyan": (0.15, 0.75, 0.78), "blue": (0.16, 0.28, 0.80),
    "purple": (0.52, 0.20, 0.68), "pink": (0.96, 0.52, 0.72),
}  # fmt: skip
TEXTURES = ("plain", "striped", "checked", "dotted", "mottled")
STYLES = ("textured", "flat", "outline", "grey")
VIEWS = ("front", "top")
COMBINATIONS = ("all", "seen", "held-out")
DIRECTIONS = len(NAMES)  # of the planted arrow
HELD_OUT = 0.3  # share of the combinations of shape, colour and texture
WHITE = np.ones(3)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How scenes are made.

    Args:
        objects: Fewest and most things a scene; 30 and 80 where ``view`` is "top".
        view: "front", or "top": many small things on the ground.
        style: Of drawing: "textured", "flat" (one colour a thing), "outline" or "grey" (with noise).
        combinations: Of shape, colour and texture: "all", "seen" (without 30 % that are the same in all
            worlds) or "held-out" (the nearest thing is one of those 30 %, the others are seen ones).
        articulated: Things have an arm on a joint.
        small_marks: The class is a white mark of 2 to 6 % of the area, and nothing else tells of it.
        identities: Number of individuals whose look is fixed; 0 gives every thing a look of its own.
        bias: Share of scenes whose nearest thing has the texture that goes with its shape, in [0, 1].
        minority: Share of scenes in the style "outline" among those of ``style``, in [0, 1].
        arrow: Share of scenes with a small arrow in a corner that points in the direction of the class.
        aberration: Lateral chromatic aberration: how much larger red is drawn than green, and green than
            blue, about the centre, such as 0.01.
        unlawful: Share of scenes with one shadow that falls against the light, in [0, 1].
        label_noise: Share of labels that are another class's, in [0, 1].
        displaced: Deviation in sides by which annotated boxes, keypoints and masks are shifted.
        unknown: Share of the tags that nobody noted, in [0, 1].
    """

    objects: tuple[int, int] = (2, 8)
    view: str = "front"
    style: str = "textured"
    combinations: str = "all"
    articulated: bool = False
    small_marks: bool = False
    identities: int = 0
    bias: float = 0.0
    minority: float = 0.0
    arrow: float = 0.0
    aberration: float = 0.0
    unlawful: float = 0.0
    label_noise: float = 0.0
    displaced: float = 0.0
    unknown: float = 0.0

    def __post_init__(self) -> None:
        for name, known in (("view", VIEWS), ("style", STYLES), ("combinations", COMBINATIONS)):
            if getattr(self, name) not in known:
                raise BadInput(f"{name} of scenes is {', '.join(known)}; got {getattr(self, name)!r}.")
        for name in ("bias", "minority", "arrow", "unlawful", "label_noise", "unknown"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{name} of scenes is a share, in [0, 1]; got {getattr(self, name)}.")
        low, high = self.objects
        if not 1 <= low <= high <= 120:
            raise BadInput(
                f"objects of scenes are two numbers, 1 <= fewest <= most <= 120; got {low}, {high}."
            )
        if self.identities < 0 or not 0 <= self.displaced < 1 or not 0 <= self.aberration < 0.2:
            raise BadInput(
                "identities of scenes are 0 or more, displaced is in [0, 1), aberration in [0, 0.2); got "
                f"{self.identities}, {self.displaced}, {self.aberration}."
            )


@dataclass(frozen=True)
class Scenes:
    """B scenes of at most K things.

    Args:
        count: ``(B,)`` things; slots from there on are empty.
        shape, colour, texture: ``(B, K)`` int64.
        centre: ``(B, K, 2)``.
        radius: ``(B, K)`` of the circle about a thing's body.
        angle: ``(B, K)``.
        depth: ``(B, K)``, falling: distance from the eye, between 1 and 5; the ground is beyond 6.
        paint: ``(B, K, 2, 3)`` RGB in [0, 1] of the thing and of its pattern.
        period: ``(B, K)`` of the pattern, in radii.
        fold: ``(B, K)`` angle of a crease through the centre, to whose left light falls less; NaN for none.
        arm: ``(B, K)`` length of an arm in radii; 0 for none.
        joint: ``(B, K)`` angle of the arm against the body.
        shadow: ``(B, K, 2)``, where the shadow on the ground lies from the thing.
        flash: ``(B, K)`` factor on the brightness.
        identity: ``(B, K)`` number of the individual, -1 where every look is new.
        ground: ``(B,)`` texture.
        ground_paint: ``(B, 2, 3)``.
        ground_period: ``(B,)`` in sides.
        ground_angle: ``(B,)``.
        pan: ``(B, 2)``, how far the ground has moved.
        gradient: ``(B, 2)``, how the light changes over a side to the right and down.
        style: ``(B,)`` of ``STYLES``.
        arrow: ``(B,)`` direction of the planted arrow, -1 for none.
        label: ``(B,)`` shape of the nearest thing, or what label noise made of it.
        key: ``(B,)`` uint64-like int64 for noise in the pixels.
        matrix: ``(B, 3, 3)`` from the picture's points to the scene's, in sides.
    """

    count: np.ndarray
    shape: np.ndarray
    colour: np.ndarray
    texture: np.ndarray
    centre: np.ndarray
    radius: np.ndarray
    angle: np.ndarray
    depth: np.ndarray
    paint: np.ndarray
    period: np.ndarray
    fold: np.ndarray
    arm: np.ndarray
    joint: np.ndarray
    shadow: np.ndarray
    flash: np.ndarray
    identity: np.ndarray
    ground: np.ndarray
    ground_paint: np.ndarray
    ground_period: np.ndarray
    ground_angle: np.ndarray
    pan: np.ndarray
    gradient: np.ndarray
    style: np.ndarray
    arrow: np.ndarray
    label: np.ndarray
    key: np.ndarray
    matrix: np.ndarray

    def __len__(self) -> int:
        return len(self.count)

    @property
    def present(self) -> np.ndarray:
        """``(B, K)`` bool."""
        return np.arange(self.shape.shape[1]) < self.count[:, None]

    @property
    def nearest(self) -> np.ndarray:
        """``(B,)``, the nearest thing: the one that the label is about."""
        return self.count - 1

    def pick(self, rows: np.ndarray) -> Self:
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def replace(self, **changed: Any) -> Self:
        return replace(self, **changed)


@cache
def combinations(kind: str) -> np.ndarray:
    """Return ``(C, 3)`` int64 shape, colour, texture of the combinations that there are."""
    every = np.stack(
        np.meshgrid(*(np.arange(n) for n in (len(NAMES), len(COLOURS), len(TEXTURES))), indexing="ij"), -1
    ).reshape(-1, 3)
    chance = Draws(0, np.arange(len(every))).uniform("held out")
    held_out = np.zeros(len(every), bool)
    held_out[np.argsort(chance)[: round(HELD_OUT * len(every))]] = True
    return every if kind == "all" else every[held_out if kind == "held-out" else ~held_out]


def generate(seed: int, rows: np.ndarray, options: Options) -> Scenes:
    """Return scenes ``rows`` of the world of that seed; each depends on seed, row and options alone."""
    draws = Draws(seed, rows)
    b, (fewest, most) = len(draws.rows), options.objects
    count = fewest + draws.whole("count", below=most - fewest + 1)
    nearest, every = count - 1, np.arange(b)
    top = options.view == "top"
    shape, colour, texture, identity, look = _looks(draws, options, most, nearest)
    if options.small_marks:
        shape[every, nearest] = draws.whole("mark", below=len(NAMES))
        texture[every, nearest] = 0
    if options.bias:
        planted = draws.uniform("biased") < options.bias
        texture[every, nearest] = np.where(
            planted, shape[every, nearest] % len(TEXTURES), texture[every, nearest]
        )

    folded = look.uniform("folded") < 0.4
    fold = np.where(folded, look.uniform("fold", high=2 * np.pi), np.nan).reshape(b, most)
    radius = draws.uniform("radius", most, low=0.02 if top else 0.09, high=0.045 if top else 0.2)
    if not top:
        radius[every, nearest] = draws.uniform("nearest radius", low=0.16, high=0.26)
    paint = _paint(colour, look.uniform("tint", 3, low=-0.06, high=0.06).reshape(b, most, 3))
    if options.small_marks:
        area = draws.uniform("mark area", low=0.02, high=0.06)
        radius[every, nearest] = np.sqrt(area / AREA[shape[every, nearest]])
        paint[every, nearest] = WHITE
        fold[every, nearest] = np.nan
    room = radius * 0.7  # that much of a thing stays in the picture
    centre = room[..., None] + (1 - 2 * room)[..., None] * draws.uniform("centre", most, 2)

    light = draws.uniform("light", high=2 * np.pi)
    height = draws.uniform("height", most, low=0.1 if top else 0.15, high=0.5 if top else 0.6) * radius
    shadow = height[..., None] * np.stack([np.cos(light), np.sin(light)], -1)[:, None]
    liar = draws.uniform("unlawful") < options.unlawful
    shadow[every, nearest] *= np.where(liar, -1.0, 1.0)[:, None]

    label = shape[every, nearest]
    wrong = draws.uniform("wrong label") < options.label_noise
    other = (label + 1 + draws.whole("other label", below=len(NAMES) - 1)) % len(NAMES)
    ground_paint = np.stack([draws.uniform("ground", 3, low=0.25, high=0.75)] * 2, 1)
    ground_paint[:, 1] += draws.uniform("ground contrast", 1, low=0.08, high=0.2)
    style = np.full(b, STYLES.index(options.style))
    style[draws.uniform("minority") < options.minority] = STYLES.index("outline")
    return Scenes(
        count=count, shape=shape, colour=colour, texture=texture, centre=centre, radius=radius,
        angle=draws.uniform("angle", most, high=2 * np.pi),
        depth=-np.sort(-draws.uniform("depth", most, low=1.0, high=5.0), 1),
        paint=paint,
        period=look.uniform("period", low=0.35, high=0.7).reshape(b, most),
        fold=fold,
        arm=np.full((b, most), 1.3 if options.articulated else 0.0),
        joint=draws.uniform("joint", most, high=2 * np.pi),
        shadow=shadow, flash=np.ones((b, most)), identity=identity,
        ground=draws.whole("ground texture", below=len(TEXTURES)), ground_paint=ground_paint,
        ground_period=draws.uniform("ground period", low=0.12, high=0.3),
        ground_angle=draws.uniform("ground angle", high=2 * np.pi), pan=np.zeros((b, 2)),
        gradient=draws.uniform("gradient", 2, low=-0.15, high=0.15), style=style,
        arrow=np.where(draws.uniform("arrow") < options.arrow, label, -1),
        label=np.where(wrong, other, label),
        key=draws.whole("key", below=2**53),
        matrix=np.broadcast_to(np.eye(3), (b, 3, 3)).copy(),
    )  # fmt: skip


def _looks(
    draws: Draws, options: Options, most: int, nearest: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Draws]:
    """Return shape, colour, texture, identity ``(B, K)``, and the numbers of each thing's own look."""
    b = len(draws.rows)
    if options.identities:
        identity = draws.whole("identity", most, below=options.identities)
        look = Draws(draws.seed, identity.ravel())
    else:
        identity = np.full((b, most), -1)
        look = Draws(draws.seed, -1 - (draws.rows[:, None] * most + np.arange(most)).ravel())
    common = combinations("all" if options.combinations == "all" else "seen")
    kind = common[look.whole("kind", below=len(common))].reshape(b, most, 3)
    if options.combinations == "held-out":
        rare = combinations("held-out")
        chosen = look.whole("kind", below=len(rare)).reshape(b, most)[np.arange(b), nearest]
        kind[np.arange(b), nearest] = rare[chosen]
    return kind[..., 0].copy(), kind[..., 1].copy(), kind[..., 2].copy(), identity, look


def _paint(colour: np.ndarray, tint: np.ndarray) -> np.ndarray:
    """Return ``(B, K, 2, 3)``: a colour with its tint, and the darker or lighter one of its pattern."""
    first = np.clip(np.array(list(COLOURS.values()))[colour] + tint, 0.03, 0.97)
    bright = first.mean(-1, keepdims=True) > 0.5
    return np.stack([first, np.where(bright, 0.55 * first, 0.45 + 0.55 * first)], 2)
