"""Repeating a run of record: its arms, side by side in processes, and the result that is written."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from vergence.benchmarks.budget import code_of, parts_of
from vergence.benchmarks.environment import data_root, results_folder
from vergence.benchmarks.record import Comparison, Mechanism, Record, find_record
from vergence.benchmarks.result import Scores, data_results, mechanism_result, title
from vergence.benchmarks.resuming import Unfinished
from vergence.core.errors import BadInput
from vergence.engine.files import write_json
from vergence.evaluate.score import Score

Part = Literal["parity", "mechanism", "data"]


def bench(
    key: str,
    *,
    only: Part | None = None,
    out: str | Path | None = None,
    workers: int = 2,
    quiet: bool = False,
) -> Path:
    """Repeat a paper's run of record and write its result.

    Scores of arms that end are kept beside the result in ``<key>.part`` until all have; called again after it
    was broken off, with the same code and data, it goes on from there.

    Args:
        key: Of the catalog.
        only: The part to repeat: the rest of the result stays as it is. None repeats all.
        out: File to write; None takes ``benchmarks/results/<key>.json`` of the checkout, or of the
            current folder where vergence is installed without one.
        workers: Arms at a time, each in a process and thread of its own.
        quiet: Print nothing.

    Raises:
        BadInput: If the paper has no run of record, or not that part of it, or its data is not there.
    """
    record = find_record(key)
    path = Path(out) if out is not None else results_folder() / f"{record.key}.json"
    if path.is_dir():
        raise BadInput(f"A result is written to a file; {path} is a folder.")
    run = f"{record.key} {only} {data_root()} torch {torch.__version__}"
    unfinished = Unfinished(path.with_suffix(".part"), run)
    if len(unfinished) and not quiet:
        print(f"{record.key} goes on; {unfinished.path} holds {len(unfinished)} arms.", file=sys.stderr)
    result = run_record(record, only=only, workers=workers, quiet=quiet, unfinished=unfinished)
    kept = json.loads(path.read_text()) if only is not None and path.exists() else {}
    done = dict.fromkeys(parts_of(result), code_of(record.key))  # a part alone does not make the rest current
    write_json(path, {**kept, **result, "code": {**kept.get("code", {}), **done}})
    unfinished.end()
    return path


def run_record(
    record: Record,
    *,
    only: Part | None = None,
    workers: int = 1,
    quiet: bool = False,
    unfinished: Unfinished | None = None,
) -> dict[str, Any]:
    """Run every arm with every seed, and return the result: parity, mechanism and real data.

    Args:
        record: With ``workers`` above 1, the one in ``records/``, but for its seeds.
        only: One of the three; None takes all that the record has.
        workers: Processes; 1 stays in this one.
        quiet: Print nothing.
        unfinished: Jobs that need not be repeated; those that end are added.

    Raises:
        BadInput: If the record does not have that part.
    """
    if only in ("parity", "mechanism") and getattr(record, only) is None:
        raise BadInput(f"The run of record of {record.key} has no {only} yet.")
    if not any(one.all_rivals for one in record.family):
        raise ValueError(f"The record of {record.key} needs an ablation or a baseline beside 'paper'.")
    began = time.monotonic() if unfinished is None else unfinished.began
    compared = comparisons(record)
    jobs = [job for job in jobs_of(compared) if only in (None, part_of(compared[job.place]))]
    scores: list[Scores] = [{} for _ in compared]
    seconds = [0.0 for _ in compared]
    for done, (job, outcome, took) in enumerate(_rest(record.key, compared, jobs, workers, unfinished), 1):
        scores[job.place][job.arm, job.seed] = outcome
        seconds[job.place] += took
        if not quiet:
            values = ", ".join(f"{value:.4g}" for value in outcome.values())
            what = f"{record.key} {done}/{len(jobs)}: {job.arm}, seed {job.seed}"
            print(f"{what}: {values} in {took:.0f} s", file=sys.stderr)
    result = title(record)
    if only in (None, "data"):
        family = zip(record.family, scores, seconds, strict=False)  # the mechanism comes last
        results = [one for member in family for one in data_results(*member)]
        result |= {**results[0], "seconds": round(time.monotonic() - began), "also": results[1:]}
    if only in (None, "mechanism") and record.mechanism is not None:
        result["mechanism"] = mechanism_result(record.mechanism, scores[-1], seconds[-1])
    if only in (None, "parity") and record.parity is not None:
        result["parity"] = record.parity.measure()
    return result


@dataclass(frozen=True)
class Job:
    """One arm with one seed.

    Args:
        place: Of the comparison among ``comparisons(record)``.
        arm: Of the comparison.
        seed: Of data, weights and draws.
    """

    place: int
    arm: str
    seed: int


def comparisons(record: Record) -> tuple[Comparison, ...]:
    """Return the record, those of its ``also``, and its mechanism."""
    return (*record.family, *((record.mechanism,) if record.mechanism else ()))


def part_of(comparison: Comparison) -> Part:
    return "mechanism" if isinstance(comparison, Mechanism) else "data"


def jobs_of(compared: Sequence[Comparison]) -> list[Job]:
    """Return what has to be run, seed by seed."""
    return [
        Job(place, arm, seed) for place, one in enumerate(compared) for seed in one.seeds for arm in one.arms
    ]


def run_job(compared: Sequence[Comparison], job: Job) -> tuple[dict[str, float], float]:
    """Return a job's number by each metric that its arm has, and the seconds it took.

    Raises:
        ValueError: If the arm returns a number by a name that is none of the task's metrics.
    """
    began = time.monotonic()
    task = compared[job.place].task
    outcome = compared[job.place].arms[job.arm](task, job.seed)
    names = [metric.name for metric in task.metrics]
    result: Mapping[str, Score | float] = outcome if isinstance(outcome, Mapping) else {names[0]: outcome}
    if unknown := set(result) - set(names):
        raise ValueError(f"The arm '{job.arm}' returns {sorted(unknown)}; the task's metrics are {names}.")
    values = {name: float(s.value if isinstance(s, Score) else s) for name, s in result.items()}
    return values, time.monotonic() - began


_Outcome = tuple[Job, dict[str, float], float]


def _rest(
    key: str, compared: Sequence[Comparison], jobs: list[Job], workers: int, unfinished: Unfinished | None
) -> Iterator[_Outcome]:
    """Yield what an earlier run has found, then what is left to do."""
    left = []
    for job in jobs:
        known = unfinished and unfinished.get(job.place, job.arm, job.seed)
        if known:
            yield job, *known
        else:
            left.append(job)
    for job, scores, seconds in _work(key, compared, left, workers):
        if unfinished is not None:
            unfinished.add(job.place, job.arm, job.seed, scores, seconds)
        yield job, scores, seconds


def _work(key: str, compared: Sequence[Comparison], jobs: list[Job], workers: int) -> Iterator[_Outcome]:
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, *run_job(compared, job)
        return
    # arms are functions that may not travel between processes, so each process reads the record itself
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=_begin_worker) as pool:
        waiting = {pool.submit(_run_job_of, key, job): job for job in jobs}
        try:
            for future in as_completed(waiting):
                yield waiting[future], *future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _run_job_of(key: str, job: Job) -> tuple[dict[str, float], float]:
    return run_job(comparisons(find_record(key)), job)


def _begin_worker() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    """Leave when the process that waits for the answers is no more, even if it was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
