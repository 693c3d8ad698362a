"""Tasks of runs of record: data, dealt out by a seed, and the metrics it is judged by."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vergence.benchmarks.environment import data_root
from vergence.benchmarks.published import GENERATED
from vergence.core.errors import BadInput
from vergence.data import Source
from vergence.data import open as open_source
from vergence.evaluate.baselines import features
from vergence.evaluate.graph_table import graph_scores
from vergence.evaluate.protocols.knn import knn
from vergence.evaluate.protocols.linear import linear
from vergence.evaluate.score import Score

Protocol = Callable[[Any, Any, Any, int], "Score | float | None"]
Arm = Callable[["Task", int], "Score | float | Mapping[str, Score | float]"]


@dataclass(frozen=True)
class Metric:
    """A number that a task is judged by.

    Args:
        name: In words; an arm that measures several numbers itself returns them by these names.
        protocol: (encoder, training data, test data, seed) -> score, or None for an encoder that has no
            such number. None where all arms measure themselves.
        less_is_better: Whether it is an error.
        claim: What it shows, where that is not the record's claim.
        note: What a reader should know of this metric alone.
    """

    name: str
    protocol: Protocol | None = None
    less_is_better: bool = False
    claim: str = ""
    note: str = ""


@dataclass(frozen=True)
class Task:
    """Data, dealt out anew with every seed or always the same, and how arms are judged on it.

    Args:
        source: Its name in the result.
        metrics: The first is the one that a paper's row shows.
        whole: () -> (training data, test data); None where ``deal`` generates them.
        deal: (training data as a whole, seed) -> what a seed's arms learn from, and what judges them, such as
            a graph without its test links and a ``LinkSplit``. None takes both as a whole.
    """

    source: str
    metrics: tuple[Metric, ...]
    whole: Callable[[], tuple[Source, Source]] | None = None
    deal: Callable[[Any, int], tuple[Any, Any]] | None = None

    def __post_init__(self) -> None:
        if self.whole is None and self.deal is None:
            raise ValueError(f"The task on {self.source} needs data: whole, deal or both.")

    def data(self, seed: int) -> tuple[Any, Any]:
        """Return what a seed's arms learn from, and what judges them.

        Raises:
            BadInput: If the data is not there.
        """
        whole = None if self.whole is None else self.whole()
        if self.deal is not None:
            return self.deal(whole and whole[0], seed)
        assert whole is not None
        return whole

    def scores(self, *values: Score | float) -> dict[str, Score | float]:
        """Return what an arm has measured itself: a number of each metric, in their order."""
        return {metric.name: value for metric, value in zip(self.metrics, values, strict=True)}

    def judge(self, encoder: Any, train: Any, test: Any, seed: int) -> dict[str, Score | float]:
        """Return an encoder's number by each metric that has one for it."""
        scores = {}
        for metric in self.metrics:
            if metric.protocol is None:
                raise ValueError(f"'{metric.name}' has no protocol to judge an encoder by.")
            score = metric.protocol(encoder, train, test, seed)
            if score is not None:
                scores[metric.name] = score
        return scores


def images(folder: str, *metrics: Metric, train: int, test: int, deal: Any = None) -> Task:
    """Make a task of a folder with ``train.parquet`` and ``test.parquet``, or ``val.parquet``.

    Args:
        folder: Under the data root.
        metrics: Of the task.
        train: Images that are learned from, the same with every seed.
        test: Images that judge, and do nothing else.
        deal: As of ``Task``.
    """

    def whole() -> tuple[Source, Source]:
        path = data_root() / folder
        tests = [file for name in ("test", "val") if (file := path / f"{name}.parquet").exists()]
        if not tests or not (path / "train.parquet").exists():
            raise BadInput(
                f"This run of record needs {folder}/train.parquet and test.parquet (or val) in "
                f"{data_root()}, where they are missing; set VERGENCE_DATA to the folder that holds {folder}."
            )
        return _some(open_source(path / "train.parquet"), train), _some(open_source(tests[0]), test)

    return Task(folder, metrics, whole, deal)


def opened(uri: str, *metrics: Metric, deal: Any = None) -> Task:
    """Make a task of what ``vergence.open`` gives, which both teaches and judges, such as a graph.

    Args:
        uri: Its path begins at the data root, such as "planetoid:planetoid/cora".
        metrics: Of the task.
        deal: As of ``Task``.
    """

    def whole() -> tuple[Source, Source]:
        try:
            source = open_source(_from_root(uri))
        except BadInput as error:
            raise BadInput(f"{str(error).rstrip('.')}; set VERGENCE_DATA to where {uri} lies.") from error
        return source, source

    return Task(uri, metrics, whole, deal)


def generated(deal: Callable[[Any, int], tuple[Any, Any]], *metrics: Metric) -> Task:
    """Make a task of data that a seed generates.

    Args:
        deal: (None, seed) -> what teaches, and what judges.
        metrics: Of the task.
    """
    return Task(GENERATED, metrics, None, deal)


def _from_root(uri: str) -> str:
    """Put the path of a uri behind the data root."""
    match = re.fullmatch(r"((?:\w+:)*)([^:]+)(:.*)?", uri)
    if uri.startswith("sklearn:") or match is None:
        return uri
    schemes, path, rest = match.groups()
    return f"{schemes}{data_root() / path}{rest or ''}"


def _some(source: Source, count: int) -> Source:
    if count >= len(source):
        return source
    return source.subset(np.sort(np.random.default_rng(0).permutation(len(source))[:count]))


def _graph_protocol(score: str, protocol: str | None = None) -> Protocol:
    def judge(encoder: Any, train: Any, test: Any, seed: int) -> Score:
        return graph_scores(encoder, train, protocol=protocol, seed=seed)[score]

    return judge


KNN = Metric(
    "weighted k-NN accuracy, k=20", lambda e, train, test, seed: knn(*features(e, train, test).arrays)
)
LINEAR = Metric(
    "linear probe accuracy",
    lambda e, train, test, seed: linear(*features(e, train, test).arrays, seed=seed),
)
NODES = Metric("linear probe accuracy on the source's own split", _graph_protocol("accuracy"))
RANDOM_NODES = Metric(
    "logistic regression, accuracy on random 10/10/80 splits", _graph_protocol("accuracy", "random-10-10-80")
)
GRAPHS = Metric("SVM accuracy, 10-fold", _graph_protocol("SVM"))
