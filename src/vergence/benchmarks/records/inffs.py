"""Infinite feature selection on breast cancer and digits: are long paths and unlikeness worth their place?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
from torch import nn

from vergence.benchmarks.record import Record
from vergence.benchmarks.records._tables import kept_back
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


def with_noise(source: Any, seed: int) -> tuple[TableSource, TableSource]:
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
    found = np.abs(spearman(embed(encoder, test).vectors[:, :TOP].astype(np.float64)))
    return float(found[np.triu_indices(TOP, 1)].mean())


SUPERVISED = Record(
    key="inffs",
    claim="Paths of all lengths rank columns so that noise stays out and few columns are enough.",
    arms={
        "paper": lambda _: InfFS(supervised=True, size=max(CURVE)),
        "paths of length 1": lambda _: OneStep(),
        "variance": lambda _: ByVariance(),
        "random columns": lambda _: AtRandom(),
    },
    source="sklearn:breast_cancer",
    batch=None,
    encoder=None,
    seeds=(0, 1, 2, 3, 4),
    protocol=lambda encoder, train, test, seed: svm(encoder, train, test, TOP),
    metric=f"accuracy of a linear SVM on the first {TOP} of 60 columns, on 30 % of the rows",
    prepare=with_noise,
    note=f"Breast cancer with {NOISE} columns of noise appended; ranked and taught on 70 % of the rows. "
    "Raw features are all 60 columns. The first eigenvalue of A is nine times the second, so that its row "
    "sums already rank the columns as all paths do.",
)
RECORD = replace(
    SUPERVISED,
    also=(
        replace(SUPERVISED, protocol=curve, metric=f"the same, mean over {CURVE} columns kept"),
        replace(
            SUPERVISED,
            claim="The redundancy term keeps columns apart that say the same.",
            arms={
                "paper": lambda _: InfFS(size=TOP),
                "no redundancy term (alpha = 1)": lambda _: InfFS(alpha=1.0, size=TOP),
            },
            source="sklearn:digits",
            protocol=alike,
            metric=f"mean |Spearman| within the first {TOP} columns, without labels",
            less_is_better=True,
            pixels=False,
            prepare=kept_back,
            note="Ranked on 70 % of the rows, told apart on the others.",
        ),
    ),
)
