"""Internet Explorer on Tiny-ImageNet: does it find what a target needs, and does that help to learn it?"""

from __future__ import annotations

import copy
import dataclasses
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from vergence.benchmarks.arms import Fitted
from vergence.benchmarks.environment import data_root
from vergence.benchmarks.record import Record
from vergence.benchmarks.tasks import KNN, Arm, Metric, images
from vergence.core import Method
from vergence.data import Source
from vergence.data import open as open_source
from vergence.methods.image import encoders
from vergence.methods.image.iexplorer import InternetExplorer
from vergence.methods.image.search_engines import LocalEngine, as_engine
from vergence.train import learn

DOMAINS: tuple[tuple[str, tuple[int, ...]], ...] = (  # Tiny-ImageNet's classes of one kind, a domain a seed
    ("food", tuple(range(178, 194))),
    ("vehicles", (70, 81, 94, 103, 107, 108, 115, 116, 121, 133, 145, 153, 164, 166)),
    ("insects and spiders", (7, 8, 9, 10, *range(36, 46))),
    ("mammals", (*range(24, 36), *range(47, 59))),
    ("landscapes and structures", (71, 91, 96, 154, 157, 162, 165, 170, 194, 195, 196, 197, 198)),
)
TARGET, POOL, TEST = 30, 40, 30  # pictures of each class; the pool's of all 200
ROUNDS, QUERIES, IMAGES, EPOCHS, WIDTH = 8, 8, 20, 2, 32
PHOTOS = images("tiny-imagenet", train=100_000, test=10_000)


@cache
def start() -> nn.Module:
    """Train SimCLR on photos of CIFAR-10: what every arm begins with."""
    torch.manual_seed(100)
    net = encoders.build("resnet-tiny", size=32, width=WIDTH)
    train = open_source(data_root() / "cifar10" / "train.parquet").subset(np.arange(5_000))
    with tempfile.TemporaryDirectory() as folder:
        return learn(
            "simclr", train, encoder=net, epochs=5, batch_size=128, optimizer="adamw", lr=2e-3, warmup=1,
            weight_decay=1e-4, out=Path(folder) / "run", seed=100, workers=1, quiet=True,
        ).encoder  # fmt: skip


def wanted(seed: int) -> tuple[int, ...]:
    """Return the classes that the target shows."""
    return DOMAINS[seed % len(DOMAINS)][1]


def dealt(source: Source, seed: int) -> tuple[Source, Source, Source]:
    """Return target, test and pool: no picture is in two."""
    random = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[], [], []]
    assert source.labels is not None
    for label in range(200):
        rows = random.permutation(np.flatnonzero(source.labels == label))
        parts[2].append(rows[:POOL])
        if label in wanted(seed):
            parts[0].append(rows[POOL : POOL + TARGET])
            parts[1].append(rows[POOL + TARGET : POOL + TARGET + TEST])
    target, test, pool = (source.subset(np.sort(np.concatenate(part))) for part in parts)
    return target, test, pool


@cache
def engine(seed: int) -> LocalEngine:
    """Return the pool as an engine; the start's vectors stand in for those of a language model."""
    made = as_engine(dealt(PHOTOS.data(seed)[0], seed)[2], start())
    assert isinstance(made, LocalEngine)
    return made


class Explorer(InternetExplorer):
    """The paper's arm; ablations change one step of it."""

    def fit(self, source: Source, *, seed: int = 0) -> Self:
        self.pool, self.init = engine(seed), copy.deepcopy(start())
        super().fit(source, seed=seed)
        names = [self.engine.concepts[c] for one in self.history for c in one.queries]
        assert source.classes is not None
        relevant = {source.classes[label] for label in wanted(seed)}
        self.encoder.share = float(np.mean([name in relevant for name in names]))  # type: ignore[assignment]
        return self


class Even(Explorer):
    def odds(self, ratings: np.ndarray, progress: float) -> np.ndarray:
        return np.full(len(ratings), 1 / len(ratings))


class Visited(Explorer):
    """What was not asked for yet is as promising as the mean of what was."""

    def predicted(self, known: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        ratings = np.full(len(self.engine.concepts), rewards.mean())
        ratings[known] = rewards
        return ratings


class Random(Explorer):
    def image_rewards(self, pictures: Tensor, target: Tensor) -> np.ndarray:
        return torch.rand(len(pictures)).numpy()


class TargetAlone(Explorer):
    """Asks evenly, and learns from the target only, as many steps."""

    def odds(self, ratings: np.ndarray, progress: float) -> np.ndarray:
        return np.full(len(ratings), 1 / len(ratings))

    def learn_on(self, method: Method, target: Source, others: Any, random: Any, seed: int) -> None:
        super().learn_on(method, target, [], random, seed)


def explored(kind: type[Explorer], epochs: int = EPOCHS) -> Arm:
    return Fitted(
        lambda: kind(
            learner="simclr", rounds=ROUNDS, queries=QUERIES, images=IMAGES, epochs=epochs, batch_size=128,
            lr=3e-4, optimizer="adamw", weight_decay=1e-4,
        )
    )  # fmt: skip


SHARE = Metric(
    "share of queries for a class of the target",
    lambda encoder, train, test, seed: float(encoder.share),
    claim="Queries find the classes of the target more often than even draws.",
    note="Even draws find 6.5 to 12 %, as many as the target has of the 200 classes.",
)

RECORD = Record(
    key="iexplorer",
    claim="Asking for what brought pictures like the target, and for what lies near it, finds what helps.",
    task=dataclasses.replace(PHOTOS, metrics=(KNN, SHARE), deal=lambda source, seed: dealt(source, seed)[:2]),
    arms={
        "paper": explored(Explorer),
        "concepts drawn evenly": explored(Even),
        "no regression: visited concepts only": explored(Visited),
        "random rewards": explored(Random),
        "target alone": explored(TargetAlone, 2 * EPOCHS),
    },
    note="The target is one kind of Tiny-ImageNet's 200 classes, another with every seed: "
    + ", ".join(name for name, _ in DOMAINS)
    + f". {TARGET} pictures of each of its classes are the unlabelled target, {TEST} others judge; the "
    f"engine holds {POOL} others of each of the 200, its concepts. {ROUNDS} rounds of {QUERIES} queries with "
    f"{IMAGES} pictures; SimCLR (resnet-tiny of width {WIDTH}) begins with 5 epochs on CIFAR-10; concepts' "
    "vectors are means of pictures' by that start, where the paper has a language model's. Every arm learns "
    "for the same steps.",
)
