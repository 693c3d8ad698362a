"""Invariance scores: do they find what a network was made to depend on, and views that teach to ignore?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import nn

from vergence.benchmarks.arms import raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import short
from vergence.benchmarks.records._turning import solid_clips
from vergence.benchmarks.tasks import LINEAR, Arm, Metric, Task, generated
from vergence.data.image.batch import ImageBatch
from vergence.data.image.source import ImageSource
from vergence.engine import embed
from vergence.evaluate.protocols.invprobe import invariance
from vergence.evaluate.score import Score
from vergence.methods.image.aassl import AASSL, Views

KINDS, THINGS, VERSIONS = 10, 12, 8  # of each kind; of each thing
IS, COPIES, LEAK = 6, 4, 2.0  # causes; units a kind; how much a faulty network depends on a factor


@dataclass(frozen=True)
class World:
    """Things at a standard light and side, and others in versions of another light, or from another side.

    Args:
        standard: ``(n, IS)`` what things are.
        kind: ``(n,)``.
        things: ``(n, IS)`` others of the same kinds.
        factor: ``(2, n, VERSIONS, 3)`` how the light of each version differs, and how the side does.
        weights: ``(IS, KINDS * COPIES)`` of the network.
        leaks: ``(2, 3, KINDS * COPIES)`` of the factors, in a network that depends on them.
    """

    standard: np.ndarray
    kind: np.ndarray
    things: np.ndarray
    factor: np.ndarray
    weights: np.ndarray
    leaks: np.ndarray

    def score(self, versions: np.ndarray) -> float:
        """Return the invariance score over versions ``(n, VERSIONS, units)``."""
        n, several, units = versions.shape
        kind, thing = (each.repeat(several) for each in (self.kind, np.arange(n)))
        x = versions.reshape(-1, units)
        return invariance(self.standard @ self.weights, self.kind, x, kind, thing, k=COPIES).value


def world(source: None, seed: int) -> tuple[World, World]:
    """Generate things, versions, and networks that name kinds."""
    random = np.random.default_rng(seed)
    kind = np.arange(KINDS).repeat(THINGS)
    centre = random.normal(size=(KINDS, IS))
    standard, things = (centre[kind] + 0.3 * random.normal(size=(len(kind), IS)) for _ in range(2))
    readout = centre.T.repeat(COPIES, 1) + 0.3 * random.normal(size=(IS, KINDS * COPIES))
    made = World(
        standard,
        kind,
        things,
        random.normal(size=(2, len(kind), VERSIONS, 3)),
        readout / np.linalg.norm(readout, axis=0),
        LEAK * random.normal(size=(2, 3, KINDS * COPIES)) / np.sqrt(3),
    )
    return made, made


def lower(*, fault: bool, shuffled: bool = False) -> Arm:
    """Return how much lower the planted factor scores than the other one, a mean over both.

    Args:
        fault: Whether the network depends on the planted factor.
        shuffled: Whether versions are dealt to the two factors at random.
    """

    def arm(task: Task, seed: int) -> dict[str, Score | float]:
        made, _ = task.data(seed)
        random, gaps = np.random.default_rng(seed + 1), []
        for planted in (0, 1):
            versions = (made.things @ made.weights)[None, :, None].repeat(2, 0).repeat(VERSIONS, 2)
            if fault:
                versions[planted] += made.factor[planted] @ made.leaks[planted]
            if shuffled:
                each = np.moveaxis(versions, 0, 1).reshape(len(made.kind), 2 * VERSIONS, -1)
                order = random.random(each.shape[:2]).argsort(1)[..., None]
                each = np.take_along_axis(each, order, 1).reshape(len(each), 2, VERSIONS, -1)
                versions = np.moveaxis(each, 1, 0)
            gaps.append(made.score(versions[1 - planted]) - made.score(versions[planted]))
        return task.scores(float(np.mean(gaps)))

    return arm


MECHANISM = Mechanism(
    "120 things of 10 kinds and 40 units that name kinds, each in 8 versions of another light and in 8 from "
    "another side. A network is made to depend on one of the two: the score over that factor's versions must "
    "fall below the other's. It must not where the network depends on neither, nor where the versions are "
    "dealt to the two factors at random. Nothing was chosen by results.",
    task=generated(world, Metric("how much lower the planted factor scores than the other")),
    arms={
        "paper": lower(fault=True),
        "no fault": lower(fault=False),
        "versions dealt at random": lower(fault=True, shuffled=True),
    },
)


def compare() -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Yield scores of random features, ours and those of loops over classes, units and targets."""
    for seed in range(5):
        random = np.random.default_rng(seed)
        y, label, group = random.integers(0, 3, 40), np.arange(3).repeat(12), np.arange(12).repeat(3)
        reference, x = (random.normal(size=(n, 5)).astype(np.float32) for n in (40, 36))
        given = reference, y, x, label, group
        yield np.array(invariance(*given, k=3).value), np.array(by_loops(*given, 3))


def by_loops(
    reference: np.ndarray, y: np.ndarray, x: np.ndarray, label: np.ndarray, group: np.ndarray, k: int
) -> float:
    """Return the score as the paper words it: thresholds by counting down, rates by counting up."""
    scores = []
    for kind in np.unique(y):
        rates = []
        for sign in (1, -1):
            for unit in range(x.shape[1]):
                falling = sorted((sign * value for value in reference[:, unit].tolist()), reverse=True)
                threshold = falling[int((y == kind).sum())]
                shares = []
                for target in np.unique(group[label == kind]):
                    versions = x[(group == target) & (label == kind), unit].tolist()
                    shares.append(sum(sign * value > threshold for value in versions) / len(versions))
                rates.append(sum(shares) / len(shares))
        scores.append(sum(sorted(rates, reverse=True)[:k]) / k)
    return sum(scores) / len(scores)


def solids(source: None, seed: int) -> tuple[ImageSource, ImageSource]:
    """Render solids from twelve sides, and others to judge."""
    parts = ((0, 300), (300, 100))
    train, test = (solid_clips("turntable", seed, first, count, 12, 32) for first, count in parts)
    return train, test


def of_sides(encoder: nn.Module, train: ImageSource, test: ImageSource, seed: int) -> Score:
    """Score how far units ignore the side from which a solid is seen."""
    (x, y), (z, label) = ((e.vectors, e.labels) for e in (embed(encoder, part) for part in (train, test)))
    assert y is not None and label is not None
    return invariance(x, y, z, label, test.target("group").values)  # type: ignore[attr-defined]


class OneFrame(AASSL):
    """Both views are of one picture."""

    def views(self, batch: ImageBatch) -> Views:
        _, _, motions = super().views(batch)
        return self.crop(batch), self.crop(batch), motions


train = short(epochs=10)

RECORD = Record(
    key="invprobe",
    claim="Views of two frames teach a network to ignore the side from which a thing is seen.",
    task=generated(solids, Metric("top-25 invariance score over sides", of_sides), LINEAR),
    arms={
        "paper": train(partial(AASSL, motion_weight=0.0)),
        "views of one frame": train(partial(OneFrame, motion_weight=0.0)),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="Rendered solids of ten kinds, 32 x 32, each from 12 sides; a small ResNet for 280 steps of SimCLR "
    "at a batch of 128. The paper: MoCo v2 on frames of videos. Raw pixels have more units to choose from.",
    mechanism=MECHANISM,
    parity=Parity("second", "loops over classes, units, signs and targets in this record", compare=compare),
)
