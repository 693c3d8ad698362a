"""Runs of record: a paper's idea against its own absence, repeated by one command."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from vergence import catalog
from vergence.core import Estimator, Method
from vergence.core.errors import BadInput, unknown
from vergence.data import Source
from vergence.data import open as open_source
from vergence.engine.files import write_text
from vergence.learn.api import learn
from vergence.measure.graph_table import graph_scores
from vergence.measure.inputs import stratified
from vergence.measure.margins import losses, margin, summary
from vergence.measure.neighbours import knn
from vergence.measure.probe import linear
from vergence.measure.rows import FEATURES, RawFeatures, RawPixels, RawRows, features
from vergence.measure.score import Score
from vergence.measure.tuning import finetune

CHECKOUT = Path(__file__).resolve().parents[3]
PAPER, UNTRAINED, PIXELS = "paper", "untrained", "raw pixels"
GENERATED = "generated"

Protocol = Callable[[nn.Module, Source, Source, int], "Score | float"]
GRAPH_DATA = (
    "planetoid:", "tu:", "hetero:", "graphsage:", "hyper:", "smiles:", "temporal:", "movielens:", "sklearn:",
)  # fmt: skip
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
            that begin at the data root, such as "planetoid:planetoid/cora" or "karate"; "generated" where
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
        named = self.source in ("karate", GENERATED) or self.source.startswith(GRAPH_DATA)
        return named or "." in Path(self.source).name

    @property
    def compared(self) -> tuple[str, ...]:
        """What is trained and judged with every seed."""
        raw = (FEATURES,) if self.of_graphs and self.pixels else ()
        return (*self.arms, *((UNTRAINED,) if self.encoder else ()), *raw)

    @property
    def judge(self) -> Protocol:
        return NAMED[self.protocol] if isinstance(self.protocol, str) else self.protocol


def bench(key: str, *, out: str | Path | None = None, workers: int = 2, quiet: bool = False) -> Path:
    """Repeat a paper's run of record and write its result.

    Args:
        key: Of the catalog.
        out: File to write; None takes ``benchmarks/results/<key>.json`` of the checkout, or of the
            current folder where vergence is installed without one.
        workers: Trainings at a time, each in a process and thread of its own.
        quiet: Print nothing.

    Raises:
        BadInput: If the paper has no run of record, or its data is not there.
    """
    record = find_record(key)
    home = CHECKOUT if (CHECKOUT / "benchmarks").is_dir() else Path.cwd()
    path = Path(out) if out is not None else home / "benchmarks" / "results" / f"{record.key}.json"
    text = json.dumps(run_record(record, workers=workers, quiet=quiet), indent=2, ensure_ascii=False) + "\n"
    write_text(path, text)
    return path


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
    return importlib.import_module(f"vergence.measure.records.{key.replace('-', '_')}").RECORD


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
        graphs = open_source(_from_root(record.source))
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


def _from_root(uri: str) -> str:
    """Return the name of graphs with its path put behind the data root."""
    found = re.fullmatch(r"((?:\w+:)*)([^:]+)(:.*)?", uri)
    if uri == "karate" or uri.startswith("sklearn:") or found is None:
        return uri
    schemes, path, rest = found.groups()
    return f"{schemes}{data_root() / path}{rest or ''}"


def run_record(record: Record, *, workers: int = 1, quiet: bool = False) -> dict[str, Any]:
    """Train every arm with every seed, judge them beside the baselines, and return the result.

    Args:
        record: With ``workers`` above 1, the one in ``records/`` but for its numbers.
        workers: Processes; 1 stays in this one.
        quiet: Print nothing.
    """
    began = time.monotonic()
    family = (record, *record.also)
    if all(len(one.arms) < 2 for one in family):
        raise ValueError(f"The record of {record.key} needs an ablation beside the arm 'paper'.")
    jobs = jobs_of(family)
    values: list[dict[tuple[str, int], float]] = [{} for _ in family]
    took = [0.0 for _ in family]
    for done, (job, found, seconds) in enumerate(_work(family, jobs, workers), 1):
        took[job.places[0]] += seconds
        for place, value in zip(job.places, found, strict=True):
            values[place][job.arm, job.seed] = value
        if not quiet:
            shown = ", ".join(
                f"{value:.3f}" if family[place].less_is_better else f"{100 * value:.1f}"
                for place, value in zip(job.places, found, strict=True)
            )
            what = f"{record.key} {done}/{len(jobs)}: {job.arm}, seed {job.seed}"
            print(f"{what}: {shown} in {seconds:.0f} s", file=sys.stderr)
    results = [_result(*pair) for pair in zip(family, values, strict=True)]
    for result, seconds in zip(results, took, strict=True):
        result["seconds"] = round(seconds)
    return {**results[0], "seconds": round(time.monotonic() - began), "also": results[1:]}


def _result(record: Record, values: Mapping[tuple[str, int], float]) -> dict[str, Any]:
    train, test = open_data(record)
    scores = {arm: [values[arm, seed] for seed in record.seeds] for arm in record.compared}
    sign = -1.0 if record.less_is_better else 1.0
    signed = {arm: [sign * value for value in found] for arm, found in scores.items()}
    margins = {arm: margin(signed[PAPER], signed[arm]) for arm in scores if arm != PAPER}
    ablations = [arm for arm in record.arms if arm != PAPER]
    paper = catalog.find(record.key)
    return {
        "key": record.key,
        "title": paper.title,
        "arxiv": paper.arxiv,
        "claim": record.claim,
        "date": datetime.date.today().isoformat(),
        "source": record.source,
        "train": len(train),
        "test": len(test),
        "encoder": record.encoder,
        "encoder_options": dict(record.options),
        "size": record.size,
        "epochs": record.epochs,
        "batch_size": record.batch,
        "settings": dict(record.settings),
        "seeds": list(record.seeds),
        "metric": METRICS[record.protocol] if isinstance(record.protocol, str) else record.metric,
        "arms": {arm: summary(scores[arm]) for arm in record.arms},
        "untrained": summary(scores[UNTRAINED]) if UNTRAINED in scores else None,
        "raw_pixels": values.get((PIXELS, record.seeds[0])),
        "raw_features": summary(scores[FEATURES]) if FEATURES in scores else None,
        "less_is_better": record.less_is_better,
        "margins": margins,
        "verdicts": {
            "beats_untrained": margins[UNTRAINED]["low"] > 0 if UNTRAINED in margins else None,
            **({"beats_raw": margins[FEATURES]["low"] > 0} if FEATURES in margins else {}),
            "beats_ablation": all(margins[arm]["low"] > 0 for arm in ablations) if ablations else None,
        },
        "note": " ".join(filter(None, [record.note, *losses(margins)])),
        "seconds": 0,
        "command": f"vergence bench {record.key}",
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("vergence", "torch", "numpy", "timm")},
        },
        "machine": machine(),
        "also": [],
    }


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


def _some(source: Source, count: int) -> Source:
    if count >= len(source):
        return source
    return source.subset(np.sort(np.random.default_rng(0).permutation(len(source))[:count]))


@dataclass
class Job:
    """One training, or one encoder that needs none, and the records that it is judged for.

    Args:
        arm: Of ``Record.compared``, or ``PIXELS``.
        seed: Of the training.
        places: Of those records, 0 the first and then those of its ``also``.
    """

    arm: str
    seed: int
    places: list[int]


def jobs_of(family: Sequence[Record]) -> list[Job]:
    """Return what has to be trained for some records; an encoder that several can use is made once."""
    jobs: list[Job] = []
    for place, record in enumerate(family):
        asked = [(arm, seed) for seed in record.seeds for arm in record.compared]
        asked += [(PIXELS, record.seeds[0])] if record.pixels and not record.of_graphs else []
        for arm, seed in asked:
            same = (j for j in jobs if (j.arm, j.seed) == (arm, seed))
            shared = next((j for j in same if _trains_alike(family[j.places[0]], record, arm)), None)
            if shared is None:
                jobs.append(Job(arm, seed, [place]))
            else:
                shared.places.append(place)
    return jobs


def _trains_alike(one: Record, other: Record, arm: str) -> bool:
    names = (
        "source",
        "train",
        "test",
        "epochs",
        "batch",
        "encoder",
        "options",
        "size",
        "settings",
        "prepare",
    )
    return (
        all(getattr(one, name) == getattr(other, name) for name in names)
        and one.arms.get(arm) is other.arms.get(arm)
        and one.variants.get(arm, {}) == other.variants.get(arm, {})
    )


def _work(
    family: Sequence[Record], jobs: list[Job], workers: int
) -> Iterator[tuple[Job, list[float], float]]:
    if workers == 1:
        for job in jobs:
            yield job, *_values(family, job)
        return
    # arms are functions that may not travel between processes, so each process reads the record itself
    names = ("train", "test", "epochs", "batch", "seeds")
    numbers = {name: getattr(family[0], name) for name in names}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting = {pool.submit(_values_of_key, family[0].key, numbers, job): job for job in jobs}
        try:
            for future in as_completed(waiting):
                yield waiting[future], *future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _values_of_key(key: str, numbers: dict[str, Any], job: Job) -> tuple[list[float], float]:
    found = find_record(key)
    return _values((dataclasses.replace(found, **numbers), *found.also), job)


def _values(family: Sequence[Record], job: Job) -> tuple[list[float], float]:
    """Return a job's number for each of its records, and the seconds all of it took."""
    began = time.monotonic()
    arm, seed = job.arm, job.seed
    record = family[job.places[0]]
    train, test = open_data(record)
    if record.prepare is not None:
        train, test = record.prepare(train, seed)
    encoder: Any = None
    if arm in (PIXELS, FEATURES):
        encoder = RawPixels(record.size) if arm == PIXELS else _raw(train)
    else:
        torch.manual_seed(seed)
        encoders = importlib.import_module(f"vergence.learn.{train.modality}.encoders")
        options = {**record.options, **record.variants.get(arm, {})}
        if record.encoder and (record.of_graphs or train.modality == "tables"):
            encoder = encoders.suited(train, record.encoder, **options)
        elif record.encoder:
            encoder = encoders.build(record.encoder, size=record.size, **options)
        if arm != UNTRAINED:
            encoder = _trained(record, record.arms[arm](encoder), train, seed)
    scores = [family[place].judge(encoder, train, test, seed) for place in job.places]
    found = [float(score.value if isinstance(score, Score) else score) for score in scores]
    return found, time.monotonic() - began


def _raw(source: Source) -> nn.Module:
    """Return what a source shows unlearned: the features of nodes or rows, or aggregates of histories."""
    if source.modality == "events":
        from vergence.measure.aggregates import Aggregates

        return Aggregates(source)  # type: ignore[arg-type]
    return RawRows(source) if source.modality == "tables" else RawFeatures()


def _trained(record: Record, method: Method | Estimator, train: Source, seed: int) -> nn.Module:
    if isinstance(method, Estimator):
        return method.fit(train, seed=seed).encoder
    settings = dict(record.settings)
    if not isinstance(method.views, str):
        settings.pop("views", None)  # options of a kind of view; this arm makes its own
    with tempfile.TemporaryDirectory() as folder:
        run = learn(
            method,
            train,
            epochs=record.epochs,
            batch_size=record.batch,
            out=Path(folder) / "run",
            seed=seed,
            workers=1,
            quiet=True,
            **settings,
        )
        return run.encoder
