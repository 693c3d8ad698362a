"""ClusterFuG on CIFAR-10 embeddings: clusters of unknown number beside k-means that knows it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

from vergence.benchmarks.record import Record
from vergence.benchmarks.records._images import cifar10, simclr, vectors
from vergence.benchmarks.tasks import Arm, Metric, Task
from vergence.data.tables import TableSource
from vergence.engine import embed
from vergence.use.clusterfug import multicut

ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
TRIED = 3_000  # training images on which α is chosen
ROWS = 4_000  # of the test images, drawn anew with every seed


@cache
def pools() -> tuple[TableSource, TableSource]:
    """Train SimCLR once; hand over unit vectors about the training mean, of training and test images."""
    train, test = cifar10(train=6_000, test=10_000).data(0)
    encoder = simclr(train, epochs=5, seed=0)
    mean = embed(encoder, train).vectors.mean(0)
    return vectors(encoder, train, mean), vectors(encoder, test, mean)


@cache
def alpha() -> float:
    """Return the best α on training images, by AMI, which more clusters do not raise by themselves."""
    train, _ = pools()
    x = train.numeric[:TRIED]
    assert train.labels is not None
    amis = {a: adjusted_mutual_info_score(train.labels[:TRIED], multicut(x, alpha=a).of) for a in ALPHAS}
    return max(amis, key=lambda a: amis[a])


def some(source: object, seed: int) -> tuple[TableSource, TableSource]:
    """Draw the test images of a seed; nothing is learned from."""
    _, test = pools()
    rows = np.sort(np.random.default_rng(seed).choice(len(test), ROWS, replace=False))
    return test.subset(rows), test.subset(rows)


def cut(x: np.ndarray) -> np.ndarray:
    return multicut(x, alpha=alpha()).of


def kmeans(x: np.ndarray, k: int, seed: int) -> np.ndarray:
    return KMeans(k, n_init=5, random_state=seed).fit(x).labels_


def clustered(clusters: Callable[[np.ndarray, int], np.ndarray]) -> Arm:
    """Return the arm of (vectors, seed) -> clusters."""

    def arm(task: Task, seed: int) -> float:
        test = task.data(seed)[1]
        return float(normalized_mutual_info_score(test.labels, clusters(test.numeric, seed)))

    return arm


RECORD = Record(
    key="clusterfug",
    claim="A multicut finds groups, and their number, that k-means does not find even when told how many.",
    task=cifar10(
        Metric(f"NMI of clusters and classes, {ROWS:,} test images"), train=6_000, test=10_000, deal=some
    ),
    arms={
        "paper": clustered(lambda x, seed: cut(x)),
        "k-means, 10 clusters": clustered(lambda x, seed: kmeans(x, 10, seed)),
        "k-means, as many clusters as the multicut": clustered(
            lambda x, seed: kmeans(x, cut(x).max() + 1, seed)
        ),
    },
    note="Unit vectors about the training mean of a SimCLR encoder (resnet-tiny, 5 epochs on 6,000 images); "
    "α is the best of seven on 3,000 of those, by AMI. "
    "NMI rises by itself with the number of clusters: the third arm has as many as the multicut.",
)
