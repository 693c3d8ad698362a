"""The world ``shapes3d`` as sources of pictures: single ones, turntables, orbits."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

import numpy as np
import torch
from torchvision import tv_tensors

from vergence.core.errors import BadInput, unknown
from vergence.data.image.generated import Made, Views, whole_numbers
from vergence.data.image.reader import ImageReader, numbered
from vergence.data.image.source import ImageSource
from vergence.data.targets import Boxes, Depth, Instances, LazyTarget, Masks, Target, Values
from vergence.data.worlds.shapes3d import camera, render, solids

COUNT, SIZE = 5_000, 64  # individuals and pixels unless said
STEPS = {"": 1, "turntable": 12, "orbit": 16}  # pictures of each individual
PATHS = {"turntable": camera.turntable, "orbit": camera.orbit}


def open_shapes3d(uri: str, *, limit: float = 0.5) -> ImageSource:
    """Open ``shapes3d``, ``shapes3d:turntable`` or ``shapes3d:orbit``, an individual's pictures in a row.

    After ``?`` stand ``count`` (individuals), ``steps`` (pictures of each, of the last two), ``size``
    (pixels) and ``seed``. Targets are labels (the kind), masks (1 + kind), instances, boxes, depth (radii of
    the solid; not known in the sky), ``pose`` ``(3, 4)`` (from the solid's coordinates to the camera's,
    ``[R | t]``) and ``group`` (the individual).

    Raises:
        BadInput: If an option is unknown or out of range.
    """
    name, _, query = uri.partition("?")
    path = name.partition(":")[2]
    if path not in STEPS:
        raise unknown("kind of shapes3d", path, list(PATHS))
    given = dict(parse_qsl(query, keep_blank_values=True))
    count, size, seed = whole_numbers(given, "shapes3d", count=COUNT, size=SIZE, seed=0)
    steps = whole_numbers(given, "shapes3d", steps=STEPS[path])[0] if path else 1
    if given:
        raise unknown("option of shapes3d", next(iter(given)), ["count", "size", "seed", "steps"])
    if count < 1 or steps < 1 or not 8 <= size <= 2048:
        raise BadInput(
            "shapes3d are 1 or more, of 8 to 2048 pixels, in 1 or more steps; got "
            f"count={count}, size={size}, steps={steps}."
        )
    world = World(seed, size, path, steps)
    return ImageSource(_Reader(world, count), uri, limit=limit, targets=world.targets())


class World:
    """Solids and cameras of a source's rows.

    Args:
        seed: Of the world.
        size: Pixels a side.
        path: "", "turntable" or "orbit".
        steps: Pictures of each individual.
    """

    def __init__(self, seed: int, size: int, path: str, steps: int) -> None:
        self.seed, self.size, self.path, self.steps = seed, size, path, steps

    def made(self, rows: np.ndarray) -> tuple[list[solids.Solids], camera.Cameras]:
        """Return the solids and cameras of pictures ``rows (B,)``."""
        individuals, step = rows // self.steps, rows % self.steps
        groups = solids.generate(self.seed, individuals)
        middle = np.zeros((len(rows), 3))
        for group in groups:
            middle[group.where] = group.middle
        if not self.path:
            return groups, camera.anywhere(self.seed, individuals, middle)
        return groups, PATHS[self.path](self.seed, individuals, step, self.steps, middle)

    def pictures(self, rows: np.ndarray) -> np.ndarray:
        """Return pictures ``(B, size, size, 3)`` uint8."""
        individuals = rows // self.steps
        return render.pictures(*self.made(rows), self.size, seed=self.seed, individuals=individuals)

    def targets(self) -> dict[str, Target | LazyTarget]:
        """Return every truth but the labels."""
        views = Views(lambda rows: render.surfaces(*self.made(rows), self.size))

        def seen(truth: Callable[[render.Surfaces, torch.Tensor], Target]) -> Made:
            def make(rows: np.ndarray) -> Target:
                kinds = torch.from_numpy(solids.labels(self.seed, rows // self.steps))
                return truth(views.of(rows), kinds)

            return Made(make)

        def pose(rows: np.ndarray) -> Target:
            _, cameras = self.made(rows)
            shift = -np.einsum("bij,bj->bi", cameras.rotation, cameras.position)
            return Values(torch.from_numpy(np.concatenate([cameras.rotation, shift[..., None]], 2)).float())

        return {
            "masks": seen(_masks), "instances": seen(_instances), "boxes": seen(_boxes),
            "depth": seen(_depth), "pose": Made(pose),
            "group": Made(lambda rows: Values(torch.from_numpy(rows // self.steps))),
        }  # fmt: skip


class _Reader(ImageReader):
    """Pictures that are rendered when they are asked for."""

    def __init__(self, world: World, count: int) -> None:
        self.world = world
        self.labels = np.repeat(solids.labels(world.seed, np.arange(count)), world.steps)
        self.names, self.classes = numbered("shapes3d", len(self.labels)), list(solids.NAMES)

    def read(self, i: int) -> np.ndarray:
        return self.world.pictures(np.array([i]))[0]


def _solid(seen: render.Surfaces) -> torch.Tensor:
    return torch.from_numpy(seen.part >= 0)


def _masks(seen: render.Surfaces, kinds: torch.Tensor) -> Masks:
    return Masks(tv_tensors.Mask((_solid(seen) * (1 + kinds)[:, None, None]).to(torch.int16)))


def _instances(seen: render.Surfaces, kinds: torch.Tensor) -> Instances:
    return Instances(torch.arange(len(kinds)), tv_tensors.Mask(_solid(seen)), kinds)


def _boxes(seen: render.Surfaces, kinds: torch.Tensor) -> Boxes:
    solid = _solid(seen)
    columns, rows = solid.any(1), solid.any(2)

    def ends(line: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return line.float().argmax(1), line.shape[1] - line.flip(1).float().argmax(1)

    (left, right), (top, bottom) = ends(columns), ends(rows)
    return Boxes.of_samples(torch.stack([left, top, right, bottom], 1)[:, None].float(), kinds[:, None])


def _depth(seen: render.Surfaces, kinds: torch.Tensor) -> Depth:
    depth = torch.from_numpy(seen.depth).float()
    return Depth(torch.where(depth.isfinite(), depth, torch.nan))
