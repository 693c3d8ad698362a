"""SAS on CIFAR-10: does SimCLR learn more from the chosen 60 % than from as many at random?"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Self

import numpy as np

from vergence.benchmarks.record import Record, open_data
from vergence.benchmarks.records._photos import simclr, vectors
from vergence.core import Estimator
from vergence.use.sas import even_shares, subset

SHARE = 0.6
EPOCHS, PROXY_EPOCHS = 8, 10
WIDTH = {"width": 32}


@cache
def proxy() -> np.ndarray:
    """Train a SimCLR of another seed on all images, and return its vectors of them."""
    train, _ = open_data(RECORD)
    return vectors(simclr(train, epochs=PROXY_EPOCHS, seed=100, encoder_options=WIDTH), train).numeric


class OnSubset(Estimator):
    """SimCLR trained on chosen rows.

    Args:
        choose: (proxy vectors, how many, seed) -> rows.
    """

    def __init__(self, choose: Callable[[np.ndarray, int, int], np.ndarray]) -> None:
        self.choose = choose

    def fit(self, source: Any, *, seed: int = 0) -> Self:
        rows = self.choose(proxy(), round(SHARE * len(source)), seed)
        self.encoder = simclr(source.subset(np.sort(rows)), epochs=EPOCHS, seed=seed, encoder_options=WIDTH)
        return self


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
    arms={
        "paper": lambda _: OnSubset(chosen),
        "random rows": lambda _: OnSubset(at_random),
        "no redundancy term (row sums)": lambda _: OnSubset(by_row_sums),
    },
    source="cifar10",
    train=4_000,
    test=4_000,
    epochs=EPOCHS,
    batch=128,
    encoder=None,
    size=32,
    seeds=(0, 1, 2, 3, 4),
    protocol="linear",
    pixels=False,
    note="SimCLR (resnet-tiny of width 32) on 60 % of 4,000 images, every arm for the same steps; the proxy "
    f"is the same SimCLR trained once for {PROXY_EPOCHS} epochs on all of them, its classes 10 k-means "
    "clusters. The paper trains for 400 epochs.",
)
