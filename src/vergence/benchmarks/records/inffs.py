"""Infinite feature selection on breast cancer and digits: are long paths and unlikeness worth their place?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Self

import numpy as np
from scipy.stats import spearmanr
from torch import nn

from vergence.benchmarks.arms import Fitted, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._tables import kept_back
from vergence.benchmarks.tasks import Metric, generated, opened
from vergence.core import Estimator
from vergence.data import Source
from vergence.data.tables import TableSource, from_vectors
from vergence.engine import embed
from vergence.evaluate.score import Score, mean_score
from vergence.methods.tables.encoders import build
from vergence.methods.tables.inffs import (
    InfFS,
    all_paths,
    scaled,
    spearman,
    supervised_graph,
    unsupervised_graph,
)
from vergence.methods.tables.raw import RawRows

NOISE = 30  # columns of nothing
TOP = 10
CURVE = (2, 5, 10, 15, 20)  # columns kept
ROWS, COPIES, ALONE, FAINT, LIKE = (
    20_000,
    60,
    36,
    4,
    0.07,
)  # of generated columns; their likeness to the copies
KEPT = ALONE + FAINT


class ByScore(Estimator):
    """The columns of the highest score of another kind."""

    def __init__(self, *, size: int = max(CURVE)) -> None:
        self.size = size

    def score(self, source: TableSource, seed: int) -> np.ndarray:
        raise NotImplementedError

    def fit(self, source: Any, *, seed: int = 0) -> Self:
        best = np.argsort(-self.score(source, seed), kind="stable")[: self.size]
        self.encoder = build("raw", numbers=[source.columns.numeric[i] for i in best], categories={})
        self.encoder.learn_columns(source)
        return self


class ByVariance(ByScore):
    def score(self, source: TableSource, seed: int) -> np.ndarray:
        return np.asarray(scaled(source.numeric).var(0))


class AtRandom(ByScore):
    def score(self, source: TableSource, seed: int) -> np.ndarray:
        return np.asarray(np.random.default_rng(seed).random(source.numeric.shape[1]))


class OneStep(ByScore):
    """Paths of length 1: the row sums of A."""

    def score(self, source: TableSource, seed: int) -> np.ndarray:
        assert source.labels is not None
        third = (1 / 3, 1 / 3, 1 / 3)
        x = scaled(source.numeric.astype(np.float64))
        return supervised_graph(x, source.labels, third, seed=seed).sum(1)


class FewLikenesses(ByScore):
    """Paths of length 1 without labels: how unlike a column is to all others."""

    def score(self, source: TableSource, seed: int) -> np.ndarray:
        return unsupervised_graph(scaled(source.numeric.astype(np.float64)), 0.0).sum(1)


def causes(seed: int) -> np.ndarray:
    """Return what lies behind the generated columns, ``(ROWS, 1 + ALONE + FAINT)``."""
    return np.random.default_rng([seed, 7]).normal(size=(ROWS, 1 + ALONE + FAINT))


def redundant(source: None, seed: int) -> tuple[TableSource, TableSource]:
    """Generate copies of one cause, columns alone, mixtures of those, and columns faintly like the copies."""
    random = np.random.default_rng([seed, 8])
    behind = causes(seed)
    first, alone, own = behind[:, :1], behind[:, 1 : 1 + ALONE], behind[:, 1 + ALONE :]
    copies = 0.95 * first + (1 - 0.95**2) ** 0.5 * random.normal(size=(ROWS, COPIES))
    mixtures = alone.reshape(ROWS, FAINT, -1).sum(2) / (ALONE / FAINT) ** 0.5
    faint = LIKE * first + (1 - LIKE**2) ** 0.5 * own
    x = np.concatenate([copies, alone, mixtures, faint], 1)[:, random.permutation(COPIES + ALONE + 2 * FAINT)]
    table = from_vectors(x.astype(np.float32), name="redundant columns", one_unit=False)
    return table.subset(np.arange(ROWS // 2)), table.subset(np.arange(ROWS // 2, ROWS))


def variance_explained(encoder: nn.Module, train: Source, test: Source, seed: int) -> float:
    """Return the share of the causes' variance that linear regression on the columns kept tells."""
    from sklearn.linear_model import LinearRegression

    first, second = embed(encoder, train).vectors, embed(encoder, test).vectors
    behind = causes(seed)
    guess = LinearRegression().fit(first, behind[: ROWS // 2]).predict(second)
    return float(1 - ((guess - behind[ROWS // 2 :]) ** 2).mean() / behind[ROWS // 2 :].var(0).mean())


def with_noise(source: TableSource, seed: int) -> tuple[TableSource, TableSource]:
    """Append columns of even noise, and keep rows back to judge."""
    noise = np.random.default_rng([seed, 1]).random((len(source), NOISE), dtype=np.float32)
    both = np.concatenate([source.numeric, noise], 1)
    whole = from_vectors(both, source.labels, name="breast_cancer and noise", one_unit=False)
    return kept_back(whole, seed)


def svm(encoder: nn.Module, train: Source, test: Source, kept: int) -> Score:
    """Accuracy of a linear SVM on the first ``kept`` columns; of raw rows, on all."""
    from sklearn.svm import LinearSVC

    first, second = embed(encoder, train), embed(encoder, test)
    places = slice(None) if isinstance(encoder, RawRows) else slice(kept)
    model = LinearSVC(dual=False).fit(first.vectors[:, places], first.labels)
    return mean_score(model.predict(second.vectors[:, places]) == second.labels)


def curve(encoder: nn.Module, train: Source, test: Source, seed: int) -> float:
    return float(np.mean([svm(encoder, train, test, kept).value for kept in CURVE]))


def alike(encoder: nn.Module, train: Source, test: Source, seed: int) -> float:
    """Return the mean |Spearman| between the first ten columns, on the rows that judge."""
    likeness = np.abs(spearman(embed(encoder, test).vectors[:, :TOP].astype(np.float64)))
    return float(likeness[np.triu_indices(TOP, 1)].mean())


FEW = Metric(
    f"accuracy of a linear SVM on the first {TOP} of 60 columns, on 30 % of the rows",
    lambda encoder, train, test, seed: svm(encoder, train, test, TOP),
)
CURVED = Metric(f"the same, mean over {CURVE} columns kept", curve)
ALIKE = Metric(f"mean |Spearman| within the first {TOP} columns, without labels", alike, less_is_better=True)


def second() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Compare graph and scores with loops over pairs and with the series of paths, written out."""
    for seed, alpha in ((0, 0.3), (1, 0.5), (2, 1.0)):
        x = scaled(np.random.default_rng(seed).normal(size=(60, 9)) ** 3)
        n, spread = x.shape[1], x.std(0)
        larger = np.array([[max(spread[i], spread[j]) for j in range(n)] for i in range(n)])
        larger = (larger - larger.min()) / (larger.max() - larger.min())
        likeness = np.array([[spearmanr(x[:, i], x[:, j]).statistic for j in range(n)] for i in range(n)])
        graph = alpha * larger + (1 - alpha) * (1 - np.abs(likeness))
        yield unsupervised_graph(x, alpha), graph
        step, paths, sums = 0.9 / np.abs(np.linalg.eigvals(graph)).max() * graph, np.ones(n), np.ones(n)
        for _ in range(500):
            paths = step @ paths
            sums += paths
        yield all_paths(graph), sums


MECHANISM = Mechanism(
    f"{COPIES} columns that nearly repeat one cause, {ALONE} alone, {FAINT} mixtures of nine of those each, "
    f"and {FAINT} of a cause of their own that are a little like the copies ({LIKE}); {KEPT} are kept "
    "without labels. One step counts likenesses: the last kind has more of them (to all copies) than a "
    "mixture. Paths of all lengths know that the copies are worth little themselves, so that to be like them "
    "costs little, and keep the last kind, of which nothing else tells. Spreads are equal, so α is 0; sizes "
    "follow from that sum, none was chosen by seeds.",
    task=generated(
        redundant, Metric("share of the causes' variance told by the columns kept", variance_explained)
    ),
    arms={
        "paper": Fitted(partial(InfFS, alpha=0.0, size=KEPT)),
        "paths of length 1": Fitted(partial(FewLikenesses, size=KEPT)),
        "no redundancy term (alpha = 1)": Fitted(partial(InfFS, alpha=1.0, size=KEPT)),
        "variance": Fitted(partial(ByVariance, size=KEPT)),
        "random columns": Fitted(partial(AtRandom, size=KEPT)),
    },
)

PARITY = Parity(
    "second",
    "the graph by loops over pairs of columns with SciPy's Spearman correlation, and the first 500 powers of "
    "rA summed, in float64 (the released code is MATLAB, and shrinks A twice)",
    compare=second,
)

RECORD = Record(
    key="inffs",
    claim="Paths of all lengths rank columns so that noise stays out and few columns are enough.",
    task=opened("sklearn:breast_cancer", FEW, CURVED, deal=with_noise),
    arms={
        "paper": Fitted(partial(InfFS, supervised=True, size=max(CURVE))),
        "paths of length 1": Fitted(OneStep),
        "variance": Fitted(ByVariance),
        "random columns": Fitted(AtRandom),
        "raw": raw,
    },
    note=f"Breast cancer with {NOISE} columns of noise appended; ranked and taught on 70 % of the rows. "
    "Raw features are all 60 columns. The first eigenvalue of A is nine times the second, so that its row "
    "sums already rank the columns as all paths do.",
    also=(
        Record(
            key="inffs",
            claim="The redundancy term keeps columns apart that say the same.",
            task=opened("sklearn:digits", ALIKE, deal=kept_back),
            arms={
                "paper": Fitted(partial(InfFS, size=TOP)),
                "no redundancy term (alpha = 1)": Fitted(partial(InfFS, alpha=1.0, size=TOP)),
            },
            note="Ranked on 70 % of the rows, told apart on the others.",
        ),
    ),
    mechanism=MECHANISM,
    parity=PARITY,
)
