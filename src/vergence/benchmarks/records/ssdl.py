"""SSDL on digits with five labels a class: does a hypergraph with attention help a dictionary?"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from vergence.benchmarks.arms import Fitted, raw
from vergence.benchmarks.record import Record
from vergence.benchmarks.records._tables import SHARE
from vergence.benchmarks.tasks import Metric, opened
from vergence.core import Estimator
from vergence.data import Source
from vergence.data.tables import TableBatch, TableSource
from vergence.engine import embed
from vergence.evaluate.inputs import stratified
from vergence.evaluate.score import Score, mean_score
from vergence.methods.tables.encoders import cells
from vergence.methods.tables.ssdl import SSDL

LABELS = 5  # a class
SPARSITY = 0.2


class LabelledOnly(SSDL):
    """The same dictionary from the labelled rows alone."""

    def fit(self, source: Any, *, seed: int = 0) -> Self:
        return super().fit(source.subset(np.flatnonzero(source.labels >= 0)), seed=seed)


class HardLabels(SSDL):
    """The likeliest class in place of soft labels."""

    def pseudo_labels(self, spread: np.ndarray) -> np.ndarray:
        return np.eye(spread.shape[1])[spread.argmax(1)] * (spread.max(1, keepdims=True) > 0)


class Spread(nn.Module):
    """Rows as they are, and the classes that k-NN label propagation gives them."""

    def __init__(self, plain: nn.Module, model: Any) -> None:
        super().__init__()
        self.plain, self.model = plain, model

    def forward(self, batch: TableBatch) -> Tensor:
        return self.plain(batch)

    def scores(self, batch: TableBatch) -> Tensor:
        return torch.from_numpy(self.model.predict_proba(self.plain(batch).numpy()))


class Propagation(Estimator):
    """Label spreading over k nearest neighbours (scikit-learn)."""

    def fit(self, source: Any, *, seed: int = 0) -> Self:
        from sklearn.semi_supervised import LabelSpreading

        plain, x = cells(source, what="Propagation")
        model = LabelSpreading(kernel="knn", n_neighbors=8, alpha=0.8, max_iter=1000).fit(x, source.labels)
        self.encoder = Spread(plain, model)
        return self


def few(source: Any, seed: int) -> tuple[TableSource, TableSource]:
    """Keep five labels a class, and rows to judge by."""
    train, test = stratified(source.labels, SHARE, seed=seed)
    random = np.random.default_rng([seed, 1])
    known = [
        random.permutation(train[source.labels[train] == label])[:LABELS]
        for label in np.unique(source.labels)
    ]
    labels = np.full(len(source), -1)
    labels[np.concatenate(known)] = source.labels[np.concatenate(known)]
    hidden = TableSource(dataclasses.replace(source.values, labels=labels), source.uri)
    return hidden.subset(train), source.subset(test)


def accuracy(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score:
    """Of the encoder's own classes, else of logistic regression on its vectors of the labelled rows."""
    assert isinstance(test, TableSource) and test.labels is not None and train.labels is not None
    if callable(scores := getattr(encoder, "scores", None)):
        with torch.no_grad():
            return mean_score(scores(test.batch(np.arange(len(test)))).argmax(1).numpy() == test.labels)
    from sklearn.linear_model import LogisticRegression

    rows = np.flatnonzero(train.labels >= 0)
    model = LogisticRegression(max_iter=1000).fit(embed(encoder, train).vectors[rows], train.labels[rows])
    return mean_score(model.predict(embed(encoder, test).vectors) == test.labels)


RECORD = Record(
    key="ssdl",
    claim="Soft labels spread over an attention hypergraph make a dictionary that tells classes apart.",
    task=opened(
        "sklearn:digits", Metric(f"accuracy on 30 % of the rows, {LABELS} labels a class", accuracy), deal=few
    ),
    arms={
        "paper": Fitted(partial(SSDL, sparsity=SPARSITY)),
        "labelled rows only": Fitted(partial(LabelledOnly, sparsity=SPARSITY)),
        "k-NN label propagation": Fitted(Propagation),
        "p = 2": Fitted(partial(SSDL, p=2.0, sparsity=SPARSITY)),
        "no attention": Fitted(partial(SSDL, attention=False, sparsity=SPARSITY)),
        "hard pseudo-labels": Fitted(partial(HardLabels, sparsity=SPARSITY)),
        "raw": raw,
    },
    note="Sparsity and the weight of soft labels were chosen on unlabelled training rows of other seeds. "
    "Soft labels have most of their mass on one class (their mean length is 0.8), so that hard ones differ "
    "little. Raw features are judged by logistic regression on the labelled rows.",
)
