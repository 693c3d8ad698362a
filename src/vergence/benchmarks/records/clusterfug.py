"""ClusterFuG on CIFAR-10 embeddings: clusters of unknown number beside k-means that knows it."""

from __future__ import annotations

from functools import cache

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score
from torch import nn

from vergence.benchmarks.record import Record, open_data
from vergence.benchmarks.records._photos import Finding, simclr, vectors
from vergence.data import Source
from vergence.data.tables import TableSource
from vergence.engine import embed
from vergence.use.clusterfug import multicut

ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
TRIED = 3_000  # training images on which α is chosen
ROWS = 4_000  # of the test images, drawn anew with every seed


@cache
def images() -> tuple[TableSource, TableSource]:
    """Train SimCLR once; hand over unit vectors about the training mean, of training and test images."""
    train, test = open_data(RECORD)
    encoder = simclr(train, epochs=5, seed=0)
    mean = embed(encoder, train).vectors.mean(0)
    return vectors(encoder, train, mean), vectors(encoder, test, mean)


@cache
def alpha() -> float:
    """Return the best α on training images, by AMI, which more clusters do not raise by themselves."""
    train, _ = images()
    x = train.numeric[:TRIED]
    assert train.labels is not None
    found = {a: adjusted_mutual_info_score(train.labels[:TRIED], multicut(x, alpha=a).of) for a in ALPHAS}
    return max(found, key=lambda a: found[a])


def some(seed: int) -> tuple[Source, Source]:
    _, test = images()
    rows = np.sort(np.random.default_rng(seed).choice(len(test), ROWS, replace=False))
    return test.subset(rows), test.subset(rows)


def cut(source: TableSource, seed: int) -> np.ndarray:
    return multicut(source.numeric, alpha=alpha()).of


def kmeans(source: TableSource, k: int, seed: int) -> np.ndarray:
    return KMeans(k, n_init=5, random_state=seed).fit(source.numeric).labels_


def shared(encoder: nn.Module, train: Source, test: Source, seed: int) -> float:
    assert test.labels is not None
    return float(normalized_mutual_info_score(test.labels, np.asarray(encoder.what)))


RECORD = Record(
    key="clusterfug",
    claim="A multicut finds groups, and their number, that k-means does not find even when told how many.",
    arms={
        "paper": lambda _: Finding(cut),
        "k-means, 10 clusters": lambda _: Finding(lambda source, seed: kmeans(source, 10, seed)),
        "k-means, as many clusters as the multicut": lambda _: Finding(
            lambda source, seed: kmeans(source, cut(source, seed).max() + 1, seed)
        ),
    },
    source="cifar10",
    train=6_000,
    test=10_000,
    epochs=5,
    batch=None,
    encoder=None,
    seeds=(0, 1, 2, 3, 4),
    protocol=shared,
    metric=f"NMI of clusters and classes, {ROWS:,} test images",
    pixels=False,
    prepare=lambda source, seed: some(seed),
    note="Unit vectors about the training mean of a SimCLR encoder (resnet-tiny, 5 epochs on 6,000 images); "
    "α is the best of seven on 3,000 of those, by AMI. "
    "NMI rises by itself with the number of clusters: the third arm has as many as the multicut.",
)
