"""TrajSSL on solids along orbits, and on turning things: does a straight way keep how a thing is turned?"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from vergence import losses
from vergence.benchmarks.arms import raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import short
from vergence.benchmarks.records._looks import on_looks
from vergence.benchmarks.records._turning import (
    AZIMUTH,
    KIND,
    TOLD,
    Turning,
    UnderLights,
    solid_clips,
    turning,
)
from vergence.benchmarks.tasks import LINEAR, generated
from vergence.data.image.source import ImageSource
from vergence.methods.image.trajssl import TrajSSL, bend
from vergence.views.pixels.augment import View

Four = tuple[View, View, View, View]


def arcs(source: None, seed: int) -> tuple[Turning, Turning]:
    """Generate things that turn by half a radian from picture to picture."""
    return turning(seed, views=8, step=0.5, causes=24, noise=0.1)


class OutOfOrder(TrajSSL):
    """The way leads from the centre to the left and then to the right."""

    def loss(self, views: Four) -> dict[str, Tensor]:
        left, centre, right, again = (self.projector(self.encode(view)) for view in views)
        return {
            **losses.vicreg(centre, again, **self.weights),
            "trajectory": self.trajectory * bend(centre, left, right),
        }


class AllAlike(TrajSSL):
    """Left and right are more views of the centre."""

    def loss(self, views: Four) -> dict[str, Tensor]:
        left, centre, right, again = (self.projector(self.encode(view)) for view in views)
        beside = ((left - centre).square().mean() + (right - centre).square().mean()) / 2
        return {
            **losses.vicreg(centre, again, **self.weights),
            "beside": self.weights["invariance"] * beside,
        }


class Lit(UnderLights, TrajSSL):
    """Views are under more light."""


class LitOutOfOrder(UnderLights, OutOfOrder):
    """The same, out of order."""


class LitAllAlike(UnderLights, AllAlike):
    """The same, with all pictures alike."""


learns = on_looks(epochs=6, batch=64, lr=2e-3)
MECHANISM = Mechanism(
    "600 things of 10 kinds that turn by half a radian from picture to picture, half of them to judge: 8 x 8 "
    "pictures are linear mixtures of 24 causes of what a thing is, of sine and cosine of its turn, and of 12 "
    "lights, which views add to. A linear map to 8 numbers has no room for all that both views of a picture "
    "share, and VICReg does not mind what it leaves out; a straight way asks for what moves evenly. (Raw "
    "pixels, 192 numbers, hold it all.) Settings were chosen on seeds 100 and 101.",
    task=generated(arcs, TOLD, KIND),
    arms={
        "paper": learns(partial(Lit, hidden=32)),
        "no trajectory (VICReg)": learns(partial(Lit, hidden=32, trajectory=0.0)),
        "pictures out of order": learns(partial(LitOutOfOrder, hidden=32)),
        "all three are alike": learns(partial(LitAllAlike, hidden=32)),
        "untrained": learns.untrained,
    },
)


def compare() -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Yield the trajectory's term and its gradients, ours and those of loops and of the formula's slope."""
    for seed in range(5):
        draw = torch.Generator().manual_seed(seed)
        three = torch.randn(3, 6, 4, generator=draw, dtype=torch.float64).requires_grad_()
        value = bend(*three)
        (gradient,) = torch.autograd.grad(value, three)
        theirs, slopes = by_loops(three.detach().numpy())
        yield value.detach().numpy(), np.array(theirs)
        yield gradient.numpy(), slopes


def by_loops(three: np.ndarray) -> tuple[float, np.ndarray]:
    """Return mean 1 - u·v / |u||v| of paths ``(3, B, D)``, and its slope by the product rule."""
    _, count, _ = three.shape
    total, slopes = 0.0, np.zeros_like(three)
    for i in range(count):
        left, centre, right = (three[k, i].tolist() for k in range(3))
        u = [c - a for a, c in zip(left, centre, strict=True)]
        v = [b - c for c, b in zip(centre, right, strict=True)]
        lu, lv = math.sqrt(sum(x * x for x in u)), math.sqrt(sum(x * x for x in v))
        cos = sum(x * y for x, y in zip(u, v, strict=True)) / lu / lv
        total += 1 - cos
        for d, (x, y) in enumerate(zip(u, v, strict=True)):
            by_u, by_v = y / lu / lv - cos * x / lu**2, x / lu / lv - cos * y / lv**2
            slopes[:, i, d] = np.array([by_u, by_v - by_u, -by_v]) / count
    return total / count, slopes


def solids(source: None, seed: int) -> tuple[ImageSource, ImageSource]:
    """Render solids along orbits, and others to judge."""
    parts = ((0, 200), (200, 100))
    train, test = (solid_clips("orbit", seed, first, count, 16, 32) for first, count in parts)
    return train, test


train = short(epochs=10)

RECORD = Record(
    key="trajssl",
    claim="Views along a camera's path on a straight line keep in the features how a thing is turned.",
    task=generated(solids, AZIMUTH, LINEAR),
    arms={
        "paper": train(TrajSSL),
        "no trajectory (VICReg)": train(partial(TrajSSL, trajectory=0.0)),
        "pictures out of order": train(OutOfOrder),
        "all three are alike": train(AllAlike),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="Rendered solids of ten kinds, 32 x 32, each in 16 pictures along an arc; a small ResNet for 250 "
    "steps at a batch of 128. The paper: a ResNet on cars and other objects of ShapeNet.",
    mechanism=MECHANISM,
    parity=Parity("second", "loops over paths and the slope by hand in this record", compare=compare),
)
