"""SAS on CIFAR-10: does SimCLR learn more from the chosen 60 % than from as many at random?"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from vergence.benchmarks.record import Record
from vergence.benchmarks.records._images import cifar10, simclr, vectors
from vergence.benchmarks.tasks import LINEAR, Arm, Task
from vergence.evaluate.score import Score
from vergence.use.sas import even_shares, subset

SHARE = 0.6
EPOCHS, PROXY_EPOCHS = 8, 10
WIDTH = {"width": 32}
TASK = cifar10(LINEAR, train=4_000, test=4_000)


@cache
def proxy() -> np.ndarray:
    """Train a SimCLR of another seed on all images, and return its vectors of them."""
    train, _ = TASK.data(0)
    return vectors(simclr(train, epochs=PROXY_EPOCHS, seed=100, encoder_options=WIDTH), train).numeric


def on(choose: Callable[[np.ndarray, int, int], np.ndarray]) -> Arm:
    """Return the arm of a SimCLR trained on the rows that (proxy vectors, how many, seed) chooses."""

    def arm(task: Task, seed: int) -> dict[str, Score | float]:
        train, test = task.data(seed)
        rows = choose(proxy(), round(SHARE * len(train)), seed)
        encoder = simclr(train.subset(np.sort(rows)), epochs=EPOCHS, seed=seed, encoder_options=WIDTH)
        return task.judge(encoder, train, test, seed)

    return arm


def chosen(x: np.ndarray, keep: int, seed: int) -> np.ndarray:
    return subset(x, keep, classes=10, seed=seed).rows


def at_random(x: np.ndarray, keep: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(len(x), keep, replace=False)


def by_row_sums(x: np.ndarray, keep: int, seed: int) -> np.ndarray:
    """The rows most alike to the rest of their class, however redundant."""
    of = subset(x, 1, classes=10, seed=seed).classes
    rows = []
    for label, count in enumerate(even_shares(np.bincount(of), keep)):
        own = np.flatnonzero(of == label)
        sums = np.maximum(x[own] @ x[own].T, 0).sum(1)
        rows.append(own[np.argsort(-sums, kind="stable")[:count]])
    return np.concatenate(rows)


RECORD = Record(
    key="sas",
    claim="Contrastive learning needs the examples that stand for their class, without the redundant ones.",
    task=TASK,
    arms={
        "paper": on(chosen),
        "random rows": on(at_random),
        "no redundancy term (row sums)": on(by_row_sums),
    },
    note="SimCLR (resnet-tiny of width 32) on 60 % of 4,000 images, every arm for the same steps; the proxy "
    f"is the same SimCLR trained once for {PROXY_EPOCHS} epochs on all of them, its classes 10 k-means "
    "clusters. The paper trains for 400 epochs.",
)
