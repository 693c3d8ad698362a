"""ClusterFuG on CIFAR-10 embeddings: clusters of unknown number beside k-means that knows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score

from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, simclr, vectors
from vergence.benchmarks.tasks import Arm, Metric, Task, generated
from vergence.data.tables import TableSource, from_vectors
from vergence.engine import embed
from vergence.use.clusterfug import multicut, objective

ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
TRIED = 3_000  # training images on which α is chosen
ROWS = 4_000  # of the test images, drawn anew with every seed
GROUPS, LARGEST, SMALLEST, WIDTH = (12, 24), 150, 4, 32  # generated ones
SPREAD, WORLD_ALPHA = 0.14, 0.35


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


def drawn(source: None, seed: int) -> tuple[TableSource, TableSource]:
    """Generate groups of very different sizes around random directions; how many, the seed says."""
    random = np.random.default_rng(seed)
    sizes = np.geomspace(LARGEST, SMALLEST, random.integers(*GROUPS, endpoint=True)).round().astype(int)
    of = np.arange(len(sizes)).repeat(sizes)
    x = _unit(random.normal(size=(len(sizes), WIDTH)))[of] + SPREAD * random.normal(size=(len(of), WIDTH))
    table = from_vectors(_unit(x).astype(np.float32), of, name="groups")
    return table, table


def _unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def grouped(clusters: Callable[[np.ndarray, int, int], np.ndarray]) -> Arm:
    """Return the arm of (vectors, how many groups there are, seed) -> clusters."""

    def arm(task: Task, seed: int) -> float:
        test = task.data(seed)[1]
        return float(adjusted_rand_score(test.labels, clusters(test.numeric, test.labels.max() + 1, seed)))

    return arm


def linked(x: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Whoever attracts each other is together, however much others are against it."""
    return np.asarray(connected_components(csr_array(x @ x.T > WORLD_ALPHA))[1])


def explicit(x: np.ndarray, alpha: float) -> np.ndarray:
    """Contract the matrix of all costs: the two clusters of the highest one, until none is positive."""
    costs = x @ x.T - alpha
    np.fill_diagonal(costs, -np.inf)
    of = np.arange(len(x))
    while (best := costs.max()) > 0:
        i, j = divmod(int((costs == best).ravel().argmax()), len(costs))
        of[of == j] = i
        costs[i] += costs[j]
        costs[:, i] = costs[i]
        costs[j], costs[:, j], costs[i, i] = -np.inf, -np.inf, -np.inf
    return of


def second() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Compare who is together, and the objective, with greedy contraction of the explicit matrix."""
    for seed, alpha in ((0, 0.0), (1, 0.2), (2, 0.4)):
        x = _unit(np.random.default_rng(seed).normal(size=(120, 6))).astype(np.float32)
        ours, theirs = multicut(x, alpha=alpha), explicit(x.astype(np.float64), alpha)
        together = theirs[:, None] == theirs
        yield (ours.of[:, None] == ours.of).astype(float), together.astype(float)
        cut = np.triu(x.astype(np.float64) @ x.T - alpha, 1)[~together].sum()
        yield np.array(objective(x, ours.of, alpha)), np.array(cut)


MECHANISM = Mechanism(
    f"{GROUPS[0]} to {GROUPS[1]} groups of {SMALLEST} to {LARGEST} vectors around random directions in "
    f"{WIDTH} dimensions; how many, the seed says and the multicut is not told. Sizes that differ make "
    "k-means halve large groups and join small ones, though it is told how many there are; single pairs of "
    "different groups that are alike by chance join everything where each pair is looked at alone. α and the "
    "spread were chosen on seed 100.",
    task=generated(drawn, Metric("adjusted Rand index of clusters and groups")),
    arms={
        "paper": grouped(lambda x, k, seed: multicut(x, alpha=WORLD_ALPHA).of),
        "k-means, as many clusters as there are groups": grouped(kmeans),
        "k-means, as many clusters as the multicut": grouped(
            lambda x, k, seed: kmeans(x, multicut(x, alpha=WORLD_ALPHA).of.max() + 1, seed)
        ),
        "pairs that attract each other, linked": grouped(linked),
    },
)
PARITY = Parity(
    "second",
    "greedy additive edge contraction of the matrix of all costs in float64, 120 vectors, α of 0, 0.2 and "
    "0.4: who is together, and the sum of the cut costs over all pairs (the authors' code is C++)",
    compare=second,
)

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
    mechanism=MECHANISM,
    parity=PARITY,
)
