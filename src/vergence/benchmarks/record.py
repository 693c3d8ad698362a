"""Runs of record: a paper's idea against its own absence, repeated by one command."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from vergence import catalog
from vergence.core import Estimator, Method
from vergence.core.errors import BadInput, unknown
from vergence.core.modality import find_modality
from vergence.data import Source
from vergence.data import open as open_source
from vergence.evaluate.baselines import FEATURES, features
from vergence.evaluate.graph_table import graph_scores
from vergence.evaluate.inputs import stratified
from vergence.evaluate.protocols.finetune import finetune
from vergence.evaluate.protocols.knn import knn
from vergence.evaluate.protocols.linear import linear
from vergence.evaluate.score import Score

CHECKOUT = Path(__file__).resolve().parents[3]
PAPER, UNTRAINED, PIXELS = "paper", "untrained", "raw pixels"
GENERATED = "generated"

Protocol = Callable[[nn.Module, Source, Source, int], "Score | float"]
GRAPH_DATA = tuple(f"{scheme}:" for scheme in (*find_modality("graph").schemes, "movielens", "sklearn"))
NAMED: dict[str, Protocol] = {
    "knn": lambda encoder, train, test, seed: knn(*features(encoder, train, test).arrays),
    "linear": lambda encoder, train, test, seed: linear(*features(encoder, train, test).arrays, seed=seed),
    "finetune": lambda encoder, train, test, seed: finetune(encoder, train, test, seed=seed),
    "nodes": lambda encoder, train, test, seed: graph_scores(encoder, train, seed=seed)["accuracy"],
    "random nodes": lambda encoder, train, test, seed: graph_scores(
        encoder, train, protocol="random-10-10-80", seed=seed
    )["accuracy"],
    "graphs": lambda encoder, train, test, seed: graph_scores(encoder, train, seed=seed)["SVM"],
}
METRICS = {
    "knn": "weighted k-NN accuracy, k=20",
    "linear": "linear probe accuracy",
    "finetune": "fine-tuned accuracy",
    "nodes": "linear probe accuracy on the source's own split",
    "random nodes": "logistic regression, accuracy on random 10/10/80 splits",
    "graphs": "SVM accuracy, 10-fold",
}


@dataclass(frozen=True)
class Record:
    """What a paper's run of record trains and how it is judged.

    Args:
        key: Of the catalog.
        claim: The paper's idea in one sentence: what "paper" has and the other arms lack.
        arms: "paper" and ablations, each a function that builds the method around an encoder; one of a
            record and what it has in ``also`` needs an ablation. All arms of a seed start from the same
            encoder weights and see the same order.
        source: Folder under the data root with ``train.parquet`` and ``test.parquet`` or
            ``val.parquet``, "digits", or graphs: what ``vergence.open`` understands, with paths
            that begin at the data root, such as "planetoid:planetoid/cora"; "generated" where
            ``prepare`` makes the data from the seed.
        train: Images that are trained on and, with their labels, that the protocol learns from.
        test: Images that judge, and do nothing else.
        epochs: Of every arm.
        batch: Samples a step; None takes what suits the source, such as a whole graph.
        encoder: Name of the backbone; None where the arms are estimators, which have none.
        options: Of the backbone, such as its width.
        size: Side of the views in pixels.
        seeds: Three or more; five of graphs.
        settings: Further arguments of ``learn``, such as ``lr`` and ``optimizer``, for all arms.
        protocol: "knn", "linear", "finetune", of graphs "nodes" (the source's own split), "random nodes"
            (10/10/80) and "graphs" (SVM), or a function (encoder, train, test, seed) -> score. Graphs come
            as a whole: train and test are the same source.
        metric: What the protocol's number is, where it is a function.
        pixels: Whether raw pixels, or raw node features, can be judged by the protocol.
        variants: Arm -> options of its backbone that differ from ``options``.
        prepare: Of graphs and tables: (source, seed) -> what is learned from and what judges, such as a
            graph without its test links and a ``LinkSplit``. The protocol gets both.
        less_is_better: Whether the protocol's number is an error.
        also: The same paper on other data, or judged in another way. An encoder that several of these
            train alike is trained once.
        note: What a reader should know, such as how the run is smaller than the paper's.
    """

    key: str
    claim: str
    arms: Mapping[str, Callable[[Any], Method | Estimator]]
    source: str = "cifar10"
    train: int = 10_000
    test: int = 10_000
    epochs: int = 20
    batch: int | None = 256
    encoder: str | None = "resnet-tiny"
    options: Mapping[str, Any] = field(default_factory=dict)
    size: int = 32
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: Mapping[str, Any] = field(default_factory=dict)
    protocol: Literal["knn", "linear", "finetune", "nodes", "random nodes", "graphs"] | Protocol = "knn"
    metric: str = ""
    pixels: bool = True
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    prepare: Callable[[Any, int], tuple[Source, Any]] | None = None
    less_is_better: bool = False
    also: tuple[Record, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if PAPER not in self.arms:
            raise ValueError(f"A record needs the arm 'paper', got {list(self.arms)}.")
        if isinstance(self.protocol, str) and self.protocol not in NAMED:
            raise unknown("protocol of a record", self.protocol, NAMED)

    @property
    def of_graphs(self) -> bool:
        named = self.source == GENERATED or self.source.startswith(GRAPH_DATA)
        return named or "." in Path(self.source).name

    @property
    def compared(self) -> tuple[str, ...]:
        """What is trained and judged with every seed."""
        raw = (FEATURES,) if self.of_graphs and self.pixels else ()
        return (*self.arms, *((UNTRAINED,) if self.encoder else ()), *raw)

    @property
    def judge(self) -> Protocol:
        return NAMED[self.protocol] if isinstance(self.protocol, str) else self.protocol


def record_keys() -> list[str]:
    """Return the keys that ``bench`` knows."""
    folder = Path(__file__).with_name("records")
    return sorted(p.stem.replace("_", "-") for p in folder.glob("*.py") if not p.stem.startswith("_"))


def find_record(key: str) -> Record:
    """Return the run of record of a paper.

    Raises:
        BadInput: If the catalog does not know the key, or there is no run of record yet.
    """
    if key not in record_keys():
        paper = catalog.find(key)
        raise BadInput(
            f"'{key}' ({paper.title}) has no run of record yet; there are: {', '.join(record_keys())}."
        )
    return importlib.import_module(f"vergence.benchmarks.records.{key.replace('-', '_')}").RECORD


def data_root() -> Path:
    """Return the folder of the real data: ``VERGENCE_DATA``, else ``../shared/data`` beside the checkout."""
    named = os.environ.get("VERGENCE_DATA")
    return Path(named) if named else CHECKOUT.parent / "shared" / "data"


def open_data(record: Record) -> tuple[Source, Source]:
    """Open what a record trains on and what it is judged by; the same samples every time.

    Raises:
        BadInput: If the data is not there.
    """
    if record.source == GENERATED:
        assert record.prepare is not None
        return record.prepare(None, record.seeds[0])
    if record.of_graphs:
        try:
            graphs = open_source(_from_root(record.source))
        except BadInput as error:
            raise BadInput(
                f"{str(error).rstrip('.')}; set VERGENCE_DATA to where the data of {record.key} lies."
            ) from error
        return graphs, graphs
    if record.source == "digits":
        whole = open_source("digits")
        assert whole.labels is not None
        train, test = (whole.subset(rows) for rows in stratified(whole.labels, 0.3))
    else:
        folder = data_root() / record.source
        files = [path for name in ("test", "val") if (path := folder / f"{name}.parquet").exists()]
        if not files or not (folder / "train.parquet").exists():
            raise BadInput(
                f"The run of record of {record.key} needs {record.source}/train.parquet and test.parquet "
                f"(or val) in {data_root()}, where they are missing; set VERGENCE_DATA to the folder "
                f"that holds {record.source}."
            )
        train, test = open_source(folder / "train.parquet"), open_source(files[0])
    return _some(train, record.train), _some(test, record.test)


def prepared(record: Record, seed: int) -> tuple[Any, Any]:
    """Return what a seed's arms learn from and what judges them.

    Raises:
        BadInput: If the data is not there.
    """
    if record.prepare is None:
        return open_data(record)
    return record.prepare(None if record.source == GENERATED else open_data(record)[0], seed)


def _from_root(uri: str) -> str:
    """Return the name of graphs with its path put behind the data root."""
    found = re.fullmatch(r"((?:\w+:)*)([^:]+)(:.*)?", uri)
    if uri.startswith("sklearn:") or found is None:
        return uri
    schemes, path, rest = found.groups()
    return f"{schemes}{data_root() / path}{rest or ''}"


def _some(source: Source, count: int) -> Source:
    if count >= len(source):
        return source
    return source.subset(np.sort(np.random.default_rng(0).permutation(len(source))[:count]))


def machine() -> str:
    """Say in words what this runs on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpu = platform.processor() or platform.machine()
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        models = [
            line.partition(":")[2].strip() for line in listed.read_text().splitlines() if "model name" in line
        ]
        cpu = models[0] if models else cpu
    return f"{cpu}, {os.cpu_count()} cores"
