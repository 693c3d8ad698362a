"""Contact sheets of the generated worlds, drawn when the pages are built: they show what the code does."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from PIL import Image

from vergence.data.image.shapes3d import World
from vergence.data.worlds.scenes import motion, pairs
from vergence.data.worlds.scenes.pictures import pictures
from vergence.data.worlds.scenes.scene import Options, generate
from vergence.data.worlds.scenes.truths import TRUTHS, View
from vergence.data.worlds.shapes3d import render
from vergence.data.worlds.shapes3d.clouds import clouds
from vergence.data.worlds.shapes3d.solids import NAMES, labels

SIDE, COLUMNS, GAP = 104, 8, 2
MODES = (
    Options(),
    Options(style="flat"),
    Options(style="outline"),
    Options(style="grey"),
    Options(articulated=True),
    Options(view="top", objects=(30, 80)),
    Options(small_marks=True),
    Options(arrow=1.0),
    Options(aberration=0.03),
    Options(unlawful=1.0),
    Options(identities=3),
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    sheets = {
        "scenes-modes": modes(),
        "scenes-truths": truths(),
        "scenes-motion": moving(),
        "scenes-pairs": two_by_two(),
        "shapes3d": solids(),
    }
    for name, sheet in sheets.items():
        buffer = io.BytesIO()
        Image.fromarray(sheet).save(buffer, "WEBP", quality=85)
        files.append(File.generated(config, f"assets/{name}.webp", content=buffer.getvalue()))
    return files


def modes() -> np.ndarray:
    """One row of scenes a mode, the same scenes where a mode only changes the drawing."""
    rows = np.arange(COLUMNS)
    return sheet([pictures(generate(1, rows, o), SIDE, aberration=o.aberration) for o in MODES])


def truths() -> np.ndarray:
    """The first scenes again, and below them their truths as pictures."""
    view = View(generate(1, np.arange(COLUMNS), Options()), SIDE)
    contours = TRUTHS["contours"](view).values.numpy()
    colours = np.array([(255, 255, 255), (80, 120, 255), (255, 170, 40), (90, 220, 110)], np.float32)
    lines = (contours.transpose(0, 2, 3, 1)[..., None] * colours).max(3).astype(np.uint8)
    painted = pictures(view.scenes, SIDE)
    marked = painted // 3
    for name, colour in (("keypoints", (255, 230, 60)), ("junctions", (90, 255, 255))):
        target = TRUTHS[name](view)
        xy = np.asarray(target.xy).reshape(-1, 2)
        seen = np.asarray(target.visibility).ravel() == 2 if name == "keypoints" else np.ones(len(xy), bool)
        of = np.repeat(np.asarray(target.of), len(xy) // len(target.of))
        x, y = np.minimum(xy[seen].astype(int), SIDE - 1).T
        marked[of[seen], y, x] = colour
    return sheet(
        [
            painted,
            palette(np.asarray(TRUTHS["masks"](view).classes)),
            palette(view.front + 1),
            grey(8 - TRUTHS["depth"](view).values.numpy(), 7),
            lines,
            grey(np.minimum(TRUTHS["distance"](view).values.numpy()[:, 0], 16), 16),
            grey(TRUTHS["light"](view).values.numpy().prod(1), 1.3),
            grey(TRUTHS["skeleton"](view).values.numpy()[:, 0] > 0, 1),
            marked,
        ]
    )


def moving() -> np.ndarray:
    """A clip a row with its flow below: hue is the direction, brightness the length."""
    clips = motion.clips(2, np.arange(3), Options(articulated=True), motion.Motion(frames=COLUMNS + 1))
    every = np.arange(3 * (COLUMNS + 1)).reshape(3, -1)
    rows = []
    for clip in every:
        now, after = (View(clips.scenes.pick(part), SIDE) for part in (clip[:-1], clip[1:]))
        uv = motion.flow(now, after).uv.numpy()
        hue = (np.arctan2(uv[:, 1], uv[:, 0]) / (2 * np.pi) % 1 * 255).astype(np.uint8)
        bright = np.clip(np.hypot(*uv.transpose(1, 0, 2, 3)) * 255 / 8, 0, 255).astype(np.uint8)
        hsv = np.stack([hue, np.full_like(hue, 255), bright], -1)
        rows += [
            pictures(now.scenes, SIDE),
            np.stack([np.asarray(Image.fromarray(one, "HSV").convert("RGB")) for one in hsv]),
        ]
    return sheet(rows)


def two_by_two() -> np.ndarray:
    """A row of first and a row of second pictures for each kind of pairs."""
    made = (pairs.pairs(3, np.arange(COLUMNS), Options(), kind) for kind in pairs.KINDS)
    return sheet([pictures(scenes, SIDE) for both in made for scenes in both])


def solids() -> np.ndarray:
    """Solids, their depth, normals and parts, a turntable, an orbit, and clouds coloured by part."""
    kinds = labels(1, np.arange(500))
    rows = np.array([np.flatnonzero(kinds == kind)[0] for kind in range(len(NAMES))][:COLUMNS])
    world = World(1, SIDE, "", 1)
    seen = render.surfaces(*world.made(rows), SIDE)
    cloud = clouds(1, rows, 1500)
    turning = [
        World(1, SIDE, path, COLUMNS).pictures(8 * rows[1] + np.arange(8)) for path in ("turntable", "orbit")
    ]
    return sheet(
        [
            world.pictures(rows),
            grey(6 - np.minimum(seen.depth, 6), 4),
            np.uint8(127 * (1 + seen.normal)),
            palette(seen.part + 2),
            *turning,
            splatted(cloud.xyz, cloud.part),
        ]
    )


def splatted(xyz: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Draw clouds ``(B, n, 3)`` from the side, far points first."""
    canvas = np.full((len(xyz), SIDE, SIDE, 3), 255, np.uint8)
    colours = palette(part + 1)
    for one, points, colour in zip(canvas, xyz, colours, strict=True):
        far = np.argsort(points[:, 1])[::-1]
        x, z = (
            np.clip(SIDE * (0.5 + 0.45 * v), 0, SIDE - 1).astype(int)
            for v in (points[far, 0], points[far, 2] - 0.7)
        )
        one[SIDE - 1 - z, x] = colour[far]
    return canvas


def sheet(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Lay rows of pictures ``(COLUMNS, S, S, 3)`` out on white."""
    step = SIDE + GAP
    whole = np.full((len(rows) * step - GAP, COLUMNS * step - GAP, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            whole[i * step : i * step + SIDE, j * step : j * step + SIDE] = picture
    return whole


def palette(numbers: np.ndarray) -> np.ndarray:
    """Colour small whole numbers, 0 black."""
    colours = np.random.default_rng(4).integers(60, 255, (16, 3), np.uint8)
    colours[0] = 0
    return colours[numbers % 16]


def grey(values: np.ndarray, most: float) -> np.ndarray:
    return np.repeat((np.clip(values / most, 0, 1) * 255).astype(np.uint8)[..., None], 3, -1)
