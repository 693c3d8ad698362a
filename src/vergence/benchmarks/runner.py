"""Repeating a run of record: its trainings, side by side, and the result that is written of them."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import multiprocessing
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vergence import catalog
from vergence.benchmarks.paired_difference import losses, margin, summary
from vergence.benchmarks.record import (
    CHECKOUT,
    METRICS,
    PAPER,
    PIXELS,
    UNTRAINED,
    Record,
    data_root,
    find_record,
    machine,
    open_data,
    prepared,
)
from vergence.benchmarks.resuming import Unfinished
from vergence.core import Estimator, Method
from vergence.core.modality import find_modality
from vergence.data import Source
from vergence.engine.files import write_json
from vergence.evaluate.baselines import FEATURES
from vergence.evaluate.score import Score
from vergence.methods.image.raw import RawPixels
from vergence.train import learn


def bench(key: str, *, out: str | Path | None = None, workers: int = 2, quiet: bool = False) -> Path:
    """Repeat a paper's run of record and write its result.

    Trainings that end are kept beside the result in ``<key>.part`` until all have; called again after it was
    broken off, with the same code and data, it goes on from there.

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
    run = f"{record.key} {_numbers(record)} {data_root()} torch {torch.__version__}"
    unfinished = Unfinished(path.with_suffix(".part"), run)
    if len(unfinished) and not quiet:
        print(f"{record.key} goes on; {unfinished.path} holds {len(unfinished)} trainings.", file=sys.stderr)
    result = run_record(record, workers=workers, quiet=quiet, unfinished=unfinished)
    write_json(path, result)
    unfinished.end()
    return path


def run_record(
    record: Record, *, workers: int = 1, quiet: bool = False, unfinished: Unfinished | None = None
) -> dict[str, Any]:
    """Train every arm with every seed, judge them beside the baselines, and return the result.

    Args:
        record: With ``workers`` above 1, the one in ``records/`` but for its numbers.
        workers: Processes; 1 stays in this one.
        quiet: Print nothing.
        unfinished: Trainings that need not be repeated; those that end are added.
    """
    began = time.monotonic() if unfinished is None else unfinished.began
    family = (record, *record.also)
    if all(len(one.arms) < 2 for one in family):
        raise ValueError(f"The record of {record.key} needs an ablation beside the arm 'paper'.")
    jobs = jobs_of(family)
    values: list[dict[tuple[str, int], float]] = [{} for _ in family]
    took = [0.0 for _ in family]
    every = _work(family, jobs, workers) if unfinished is None else _rest(family, jobs, workers, unfinished)
    for done, (job, found, seconds) in enumerate(every, 1):
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
        "note": " ".join(filter(None, [record.note, *losses(margins, points=not record.less_is_better)])),
        "seconds": 0,
        "command": f"vergence bench {record.key}",
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("vergence", "torch", "numpy", "timm")},
        },
        "machine": machine(),
        "also": [],
    }


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


def _rest(
    family: Sequence[Record], jobs: list[Job], workers: int, unfinished: Unfinished
) -> Iterator[tuple[Job, list[float], float]]:
    """Yield what an earlier run has found, then what is left to do."""
    left = []
    for job in jobs:
        known = unfinished.get(job.arm, job.seed, job.places)
        if known is None:
            left.append(job)
        else:
            yield job, *known
    for job, values, seconds in _work(family, left, workers):
        unfinished.add(job.arm, job.seed, job.places, values, seconds)
        yield job, values, seconds


def _work(
    family: Sequence[Record], jobs: list[Job], workers: int
) -> Iterator[tuple[Job, list[float], float]]:
    if workers == 1:
        for job in jobs:
            yield job, *_values(family, job)
        return
    # arms are functions that may not travel between processes, so each process reads the record itself
    key, numbers, spawn = family[0].key, _numbers(family[0]), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=_begin_worker) as pool:
        waiting = {pool.submit(_values_of_key, key, numbers, job): job for job in jobs}
        try:
            for future in as_completed(waiting):
                yield waiting[future], *future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _begin_worker() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave when the process that waits for the answers is no more, even if it was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _numbers(record: Record) -> dict[str, Any]:
    """Return what a record may have been given in place of its own."""
    return {name: getattr(record, name) for name in ("train", "test", "epochs", "batch", "seeds")}


def _values_of_key(key: str, numbers: dict[str, Any], job: Job) -> tuple[list[float], float]:
    found = find_record(key)
    return _values((dataclasses.replace(found, **numbers), *found.also), job)


def _values(family: Sequence[Record], job: Job) -> tuple[list[float], float]:
    """Return a job's number for each of its records, and the seconds all of it took."""
    began = time.monotonic()
    arm, seed = job.arm, job.seed
    record = family[job.places[0]]
    train, test = prepared(record, seed)
    encoder: Any = None
    if arm in (PIXELS, FEATURES):
        encoder = RawPixels(record.size) if arm == PIXELS else _raw(train)
    else:
        torch.manual_seed(seed)
        encoders = find_modality(train.modality).load("encoders")
        options = {**record.options, **record.variants.get(arm, {})}
        if record.encoder and (record.of_graphs or train.modality == "tables"):
            encoder = encoders.for_source(train, record.encoder, **options)
        elif record.encoder:
            encoder = encoders.build(record.encoder, size=record.size, **options)
        if arm != UNTRAINED:
            encoder = _trained(record, record.arms[arm](encoder), train, seed)
    scores = [family[place].judge(encoder, train, test, seed) for place in job.places]
    found = [float(score.value if isinstance(score, Score) else score) for score in scores]
    return found, time.monotonic() - began


def _raw(source: Source) -> nn.Module:
    """Return what a source shows unlearned: the features of nodes or rows, or aggregates of histories."""
    return next(iter(find_modality(source.modality).load("raw")(source, None).values()))


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
