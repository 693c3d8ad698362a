"""Hierarchical k-means on a long-tailed CIFAR-10: are the rows that it keeps balanced, and of use?"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from torch import nn

from vergence.data import Source
from vergence.data.tables import TableSource
from vergence.measure.probe import linear
from vergence.measure.record import Record, open_data
from vergence.measure.records._photos import Finding, simclr, vectors
from vergence.measure.score import Score
from vergence.use.hkmeans import draw, hierarchy

KEEP = 1_000
LARGEST, IMBALANCE = 5_000, 100  # images of the first class, and how many times those of the last
LEVELS = (600, 120, 30)


def tail(source: Source) -> np.ndarray:
    """Return the rows of a pool whose classes shrink geometrically, from 5,000 to 50 images."""
    assert source.labels is not None
    random = np.random.default_rng(0)
    classes = int(source.labels.max()) + 1
    return np.sort(
        np.concatenate(
            [
                random.permutation(np.flatnonzero(source.labels == c))[
                    : round(LARGEST * IMBALANCE ** (-c / (classes - 1)))
                ]
                for c in range(classes)
            ]
        )
    )


@cache
def pools() -> tuple[TableSource, TableSource]:
    """Train SimCLR on the long-tailed pool, and hand over its vectors and those of balanced test images."""
    train, test = open_data(RECORD)
    pool = train.subset(tail(train))
    encoder = simclr(pool, epochs=4, seed=0)
    return vectors(encoder, pool), vectors(encoder, test)


def kept(counts: tuple[int, ...], resampling: int = 10) -> Finding:
    def find(source: TableSource, seed: int) -> np.ndarray:
        return draw(hierarchy(source.numeric, counts, resampling=resampling, seed=seed), KEEP, seed=seed)

    return Finding(find)


def taught(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score:
    """Accuracy on balanced images of a linear probe taught on the rows that were kept."""
    assert isinstance(train, TableSource) and isinstance(test, TableSource)
    assert train.labels is not None and test.labels is not None
    rows = np.asarray(encoder.what)
    return linear(train.numeric[rows], train.labels[rows], test.numeric, test.labels, seed=seed)


def evenness(encoder: nn.Module, train: Source, test: Source, seed: int) -> float:
    """Return the entropy of the classes that were kept, as a share of its maximum."""
    assert train.labels is not None
    share = np.bincount(train.labels[np.asarray(encoder.what)], minlength=10) / KEEP
    return float(-(share[share > 0] * np.log(share[share > 0])).sum() / np.log(10))


TAUGHT = Record(
    key="hkmeans",
    claim="Rows drawn evenly from a tree of clusters teach more than a random draw, and than one level.",
    arms={
        "paper": lambda _: kept(LEVELS),
        "random rows": lambda _: Finding(
            lambda source, seed: np.random.default_rng(seed).choice(len(source), KEEP, replace=False)
        ),
        "flat k-means, as many clusters as the finest level": lambda _: kept(LEVELS[:1]),
        "flat k-means, as many as the coarsest": lambda _: kept(LEVELS[-1:]),
        "no resampling": lambda _: kept(LEVELS, 0),
    },
    source="cifar10",
    train=50_000,
    test=10_000,
    epochs=4,
    batch=None,
    encoder=None,
    seeds=(0, 1, 2, 3, 4),
    protocol=taught,
    metric=f"accuracy on balanced test images of a linear probe taught on the {KEEP:,} rows kept",
    pixels=False,
    prepare=lambda source, seed: pools(),
    note="CIFAR-10 made long-tailed, 5,000 to 50 images a class (12,408 in all); unit vectors of a SimCLR "
    "encoder (resnet-tiny, 4 epochs) trained once on that pool. The paper trains DINOv2 on what is kept, "
    "here it teaches a linear probe.",
)
RECORD = replace(
    TAUGHT,
    also=(
        replace(
            TAUGHT,
            claim="Without labels, the rows kept are more even over the classes.",
            protocol=evenness,
            metric=f"entropy of the classes of the {KEEP:,} rows kept, share of its maximum",
        ),
    ),
)
