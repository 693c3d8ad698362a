"""A linear head that asks its neighbours, on CIFAR-10 with few labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from vergence.benchmarks.record import Record
from vergence.benchmarks.records._images import cifar10, simclr, vectors
from vergence.benchmarks.tasks import Arm, Metric, Task
from vergence.data.tables import TableSource
from vergence.evaluate.score import Score, mean_score
from vergence.use.knn_revisit import Classifier, Hard, fit, tuned

FEW = (5, 20, 100)  # labels a class
EPOCHS = 4


@cache
def pools() -> tuple[TableSource, TableSource]:
    """Train SimCLR on 12,000 images without labels, and hand over vectors of all training and test images."""
    train, test = cifar10(train=50_000, test=10_000).data(0)
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


def classified(ask: Callable[[Classifier, Tensor], Tensor], hard: Hard = "log") -> Arm:
    """Return the arm of how a classifier is asked, and how its examples are weighted."""

    def arm(task: Task, seed: int) -> dict[str, Score | float]:
        test = task.data(seed)[1]
        x = torch.as_tensor(test.numeric)
        guesses = (ask(fitted(few, seed, hard), x).argmax(1).numpy() for few in FEW)
        return task.scores(*(mean_score(guess == test.labels) for guess in guesses))

    return arm


RECORD = Record(
    key="knn-revisit",
    claim="A head that asks its neighbours is right more often than the head or the neighbours alone.",
    task=cifar10(
        *(Metric(f"accuracy on CIFAR-10, {few} labels a class") for few in FEW),
        train=50_000,
        test=10_000,
        deal=lambda source, seed: pools(),
    ),
    arms={
        "paper": classified(lambda model, x: model.proba(x)),
        "head alone, examples weighted by neighbours": classified(lambda model, x: model.of_head(x)),
        "head alone, plain": classified(lambda model, x: model.of_head(x), "none"),
        "neighbours alone": classified(lambda model, x: model.of_neighbours(x)),
        "plain head blended with neighbours": classified(lambda model, x: model.proba(x), "none"),
    },
    note=f"Unit vectors of a SimCLR encoder (resnet-tiny) trained {EPOCHS} epochs on 12,000 images without "
    "labels; k, temperature, penalty and blend are chosen on two fifths of the labelled rows. The paper has "
    "encoders trained on ImageNet, and fine-tunes them too.",
)
