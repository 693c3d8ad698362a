"""A linear head that asks its neighbours, on CIFAR-10 with few labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from vergence.benchmarks.record import Record, open_data
from vergence.benchmarks.records._photos import Finding, simclr, vectors
from vergence.data import Source
from vergence.data.tables import TableSource
from vergence.evaluate.score import Score, mean_score
from vergence.use.knn_revisit import Classifier, Hard, fit, tuned

FEW = 5  # labels a class
EPOCHS = 4


@cache
def pools() -> tuple[TableSource, TableSource]:
    """Train SimCLR on 12,000 images without labels, and hand over vectors of all training and test images."""
    train, test = open_data(RECORD)
    encoder = simclr(train.subset(np.arange(12_000)), epochs=EPOCHS, seed=0)
    return vectors(encoder, train), vectors(encoder, test)


@cache
def fitted(few: int, seed: int, hard: Hard) -> Classifier:
    """Choose settings on two fifths of the labelled rows, then fit to all of them."""
    train = pools()[0]
    assert train.labels is not None
    random = np.random.default_rng(seed)
    rows = np.stack([random.permutation(np.flatnonzero(train.labels == c))[:few] for c in range(10)])
    held, kept = rows[:, : 2 * few // 5].ravel(), rows[:, 2 * few // 5 :].ravel()
    x, y = train.numeric, train.labels
    model = tuned(x[kept], y[kept], x[held], y[held], hard=hard)
    every = rows.ravel()
    return fit(
        x[every], y[every], k=model.k, temperature=model.temperature, blend=model.blend, hard=hard,
        strength=model.strength,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Way:
    """Which of the classifiers is asked, and how."""

    ask: Callable[[Classifier, Tensor], Tensor]
    hard: Hard = "log"


def arm(ask: Callable[[Classifier, Tensor], Tensor], hard: Hard = "log") -> Finding:
    return Finding(lambda source, seed: Way(ask, hard))


def right(few: int) -> Callable[[nn.Module, Source, Source, int], Score]:
    """Return the protocol with this many labels a class."""

    def protocol(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score:
        way = encoder.what
        assert isinstance(way, Way)
        assert isinstance(test, TableSource) and test.labels is not None
        p = way.ask(fitted(few, seed, way.hard), torch.as_tensor(test.numeric))
        return mean_score(p.argmax(1).numpy() == test.labels, note=f"{few} labels a class")

    return protocol


LABELS_5 = Record(
    key="knn-revisit",
    claim="A head that asks its neighbours is right more often than the head or the neighbours alone.",
    arms={
        "paper": lambda _: arm(lambda model, x: model.proba(x)),
        "head alone, examples weighted by neighbours": lambda _: arm(lambda model, x: model.of_head(x)),
        "head alone, plain": lambda _: arm(lambda model, x: model.of_head(x), "none"),
        "neighbours alone": lambda _: arm(lambda model, x: model.of_neighbours(x)),
        "plain head blended with neighbours": lambda _: arm(lambda model, x: model.proba(x), "none"),
    },
    source="cifar10",
    train=50_000,
    test=10_000,
    epochs=EPOCHS,
    batch=None,
    encoder=None,
    seeds=(0, 1, 2, 3, 4),
    protocol=right(FEW),
    metric=f"accuracy on CIFAR-10, {FEW} labels a class",
    pixels=False,
    prepare=lambda source, seed: pools(),
    note=f"Unit vectors of a SimCLR encoder (resnet-tiny) trained {EPOCHS} epochs on 12,000 images without "
    "labels; k, temperature, penalty and blend are chosen on two fifths of the labelled rows. The paper has "
    "encoders trained on ImageNet, and fine-tunes them too.",
)
RECORD = replace(
    LABELS_5,
    also=tuple(
        replace(LABELS_5, protocol=right(few), metric=f"accuracy on CIFAR-10, {few} labels a class")
        for few in (20, 100)
    ),
)
