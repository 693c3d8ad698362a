"""Infinite feature selection on breast cancer and digits: are long paths and unlikeness worth their place?"""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import numpy as np
from torch import nn

from vergence.benchmarks.arms import Fitted, raw
from vergence.benchmarks.record import Record
from vergence.benchmarks.records._tables import kept_back
from vergence.benchmarks.tasks import Metric, opened
from vergence.core import Estimator
from vergence.data import Source
from vergence.data.tables import TableSource, from_vectors
from vergence.engine import embed
from vergence.evaluate.score import Score, mean_score
from vergence.methods.tables.encoders import build
from vergence.methods.tables.inffs import InfFS, scaled, spearman, supervised_graph
from vergence.methods.tables.raw import RawRows

NOISE = 30  # columns of nothing
TOP = 10
CURVE = (2, 5, 10, 15, 20)  # columns kept


class ByScore(Estimator):
    """The columns of the highest score of another kind."""

    def score(self, source: TableSource, seed: int) -> np.ndarray:
        raise NotImplementedError

    def fit(self, source: Any, *, seed: int = 0) -> Self:
        best = np.argsort(-self.score(source, seed), kind="stable")[: max(CURVE)]
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
)
