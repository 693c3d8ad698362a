"""Turning things: a world of linear mixtures under changing light that two records share, and solids.

The world is that of ``_looks`` in time: a picture mixes what a thing is, how it is turned, and its light.
More light is the only augmentation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.benchmarks.records._looks import SIDE
from vergence.benchmarks.tasks import Metric
from vergence.data.image.batch import ImageBatch
from vergence.data.image.reader import PixelReader
from vergence.data.image.shapes3d import World
from vergence.data.image.source import ImageSource
from vergence.data.source import Skipped
from vergence.data.targets import Values
from vergence.data.worlds.shapes3d import solids
from vergence.engine import embed
from vergence.evaluate.protocols.angle import angle
from vergence.evaluate.score import Score, mean_score
from vergence.views.pixels.augment import View, centre_view

THINGS, JUDGED = 300, 300
KINDS, OWN = 10, 0.3  # of things; deviation of what sets one of a kind apart, that of kinds is 1
IS, LIGHTS, STRENGTH = 6, 12, 2.0  # causes; deviation of the light
TURNED = 1.5  # radius of the circle on which a thing turns
NEAR = math.radians(30)


class Turning(ImageSource):
    """Clips of turning things, with the patterns ``lights (LIGHTS, 3, SIDE, SIDE)`` of their light."""

    lights: Tensor


def turning(
    seed: int, *, views: int, step: float, causes: int = IS, noise: float = 0.0
) -> tuple[Turning, Turning]:
    """Generate clips of things that turn by equal steps, and of others to judge.

    Args:
        seed: Of all that is drawn.
        views: Pictures of each.
        step: Radians from one to the next; half of the things turn the other way.
        causes: Of what a thing is.
        noise: Deviation of each pixel beside that of the mixture, which is 1.
    """
    random = np.random.default_rng(seed)
    things = THINGS + JUDGED
    kind = np.arange(things) % KINDS
    is_ = random.normal(size=(KINDS, causes))[kind] + OWN * random.normal(size=(things, causes))
    way = random.choice([-1.0, 1.0], (things, 1))
    angle = (random.uniform(0, 2 * np.pi, (things, 1)) + way * step * np.arange(views)).reshape(-1)
    n, mix = things * views, random.normal(size=(causes + 2 + LIGHTS, 3 * SIDE * SIDE))
    parts = [
        is_.repeat(views, 0),
        TURNED * np.stack([np.cos(angle), np.sin(angle)], 1),
        STRENGTH * random.normal(size=(n, LIGHTS)),
    ]
    x = np.concatenate(parts, 1) @ mix
    scale = 30 / x.std()
    x = x + noise * x.std() * random.normal(size=x.shape) if noise else x
    pixels = (128 + scale * x).clip(0, 255).round().astype(np.uint8).reshape(n, 3, SIDE, SIDE)
    pixels = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
    thing = np.arange(things).repeat(views)
    reader = PixelReader(pixels, kind[thing], None, "view")
    targets = {"group": Values(torch.from_numpy(thing)), "pose": Values(torch.from_numpy(angle).float())}
    whole = Turning(reader, "memory:turning", pixels=pixels, targets=targets).with_targets(["pose"], "This")
    lights = STRENGTH * scale / 255 * mix[-LIGHTS:]
    whole.lights = torch.from_numpy(lights).float().view(LIGHTS, 3, SIDE, SIDE)
    learned = np.arange(n) < THINGS * views
    return whole.subset(learned), whole.subset(~learned)


@dataclass
class NewLight:
    """Views under more light, one draw a picture."""

    lights: Tensor
    size: int = SIDE

    def __call__(self, batch: ImageBatch, generator: torch.Generator | None = None) -> View:
        view = centre_view(batch, self.size)
        share = torch.randn(len(batch), len(self.lights), generator=generator)
        return replace(view, pixels=view.pixels + torch.einsum("bk,kchw->bchw", share, self.lights))


class UnderLights:
    """Gives the method behind this class ``NewLight`` for its crops."""

    crop: Any

    def setup(self, source: Any) -> None:
        super().setup(source)  # type: ignore[misc]
        self.crop = NewLight(source.lights)

    def configure_views(self, options: Any) -> None:
        pass


def nearest_turn(encoder: nn.Module, train: Any, test: ImageSource, seed: int) -> Score:
    """Ask whether the nearest picture of another thing, by cosine about the mean, is turned alike."""
    x = torch.as_tensor(embed(encoder, test).vectors).double()
    thing, angle = (test.target(name).values for name in ("group", "pose"))  # type: ignore[attr-defined]
    x = normalize(x - x.mean(0), dim=1)
    other = (x @ x.T).masked_fill(thing[:, None] == thing, -torch.inf).argmax(1)
    apart = (angle[other] - angle + math.pi).remainder(2 * math.pi) - math.pi
    return mean_score(apart.abs() <= NEAR)


def nearest_kind(encoder: nn.Module, train: Any, test: ImageSource, seed: int) -> Score:
    """Ask whether the nearest picture of another thing is of the same kind."""
    embedded = embed(encoder, test)
    x, kind = torch.as_tensor(embedded.vectors).double(), torch.as_tensor(embedded.labels)
    thing = test.target("group").values  # type: ignore[attr-defined]
    x = normalize(x - x.mean(0), dim=1)
    other = (x @ x.T).masked_fill(thing[:, None] == thing, -torch.inf).argmax(1)
    return mean_score(kind[other] == kind)


def told_turn(encoder: nn.Module, train: ImageSource, test: ImageSource, seed: int) -> Score:
    """Ask a ridge regression how a thing is turned, within 30°."""
    (x, at), (z, judged) = (
        (embed(encoder, part).vectors, part.target("pose").values)  # type: ignore[attr-defined]
        for part in (train, test)
    )
    return angle(x, at, z, judged, seed=seed)["within 30°"]


TURN = Metric("nearest picture of another thing is turned alike, within 30°", nearest_turn)
KIND = Metric("nearest picture of another thing is of its kind", nearest_kind)


@cache
def solid_clips(path: str, seed: int, first: int, count: int, steps: int, size: int) -> ImageSource:
    """Render solids from all sides, those of ``shapes3d`` in one go.

    Args:
        path: "turntable" or "orbit".
        seed: Of the world.
        first: Number of the first individual.
        count: Individuals.
        steps: Pictures of each.
        size: Side in pixels.
    """
    world = World(seed, size, path, steps)
    rows = np.arange(first * steps, (first + count) * steps)
    pixels = world.pictures(rows)
    poses = world.targets()["pose"].load(rows, None, Skipped())  # type: ignore[union-attr]
    targets = {"group": Values(torch.from_numpy(rows // steps)), "pose": poses}
    reader = PixelReader(pixels, solids.labels(seed, rows // steps), list(solids.NAMES), "solid")
    whole = ImageSource(reader, f"memory:{path}", pixels=pixels, targets=targets)
    return whole.with_targets(["pose"], "This")


def azimuth(encoder: nn.Module, train: ImageSource, test: ImageSource, seed: int) -> Score:
    """Ask a ridge regression from which side a picture shows its solid, within 30°."""
    (x, side), (z, judged) = ((embed(encoder, part).vectors, _azimuth(part)) for part in (train, test))
    return angle(x, side, z, judged, seed=seed)["within 30°"]


def _azimuth(source: ImageSource) -> Tensor:
    into = source.target("pose").values[:, 2]  # type: ignore[attr-defined]
    return torch.atan2(-into[:, 1], -into[:, 0])


TOLD = Metric("how a thing is turned, told by ridge regression within 30°", told_turn)
AZIMUTH = Metric("side from which a solid is seen, told by ridge regression within 30°", azimuth)
