"""Kill a training run at random instants, resume it, and check that nothing was lost or written twice.

    python -m vergence.benchmarks.stress.faults --kills 50

Each start of the run is a process of its own, forked from one that has imported torch already, and ended by
SIGKILL: a third of the kills come while a checkpoint is being written, the others at any time from the start
on. After every kill the checkpoint must be readable and at most the save interval behind; when a run has
come through, its rows, TensorBoard events and weights must be those of a run that nobody killed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import random
import select
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vergence.benchmarks import RESULTS
from vergence.cli import main as vergence
from vergence.engine import loop
from vergence.engine.files import load_checkpoint, write_json
from vergence.engine.logger import read_csv

for _name in ("cli.train", "train", "methods.image.encoders", "methods.image.views", "methods.pairs.simclr"):
    importlib.import_module(f"vergence.{_name}")  # once, before the forks
importlib.import_module("sklearn.datasets")

RESULT = RESULTS / "faults.json"
FORGOTTEN = {"samples_per_second", "note"}  # what depends on the clock, or on where a run was resumed
SAVE_EVERY = 5


@dataclass
class Outcome:
    """What was seen; every check that failed raised instead."""

    kills: int = 0
    killed_before_the_first_checkpoint: int = 0
    killed_while_saving: int = 0
    half_written_left_aside: int = 0
    resumes: int = 0
    runs_completed: int = 0
    steps_lost: list[int] = field(default_factory=list)
    rows_checked: int = 0
    events_checked: int = 0


def learn(out: Path, epochs: int) -> list[str]:
    """Return the words that start the run at ``out``, or go on with it."""
    if (out / "config.yaml").exists():
        return ["learn", "--resume", str(out), "--quiet", "--workers", "1"]
    return (
        f"learn simclr digits --encoder resnet-tiny --epochs {epochs} --batch-size 64 --seed 3 --devices 1 "
        f"--precision fp32 --workers 1 --save-every {SAVE_EVERY} --out {out} --quiet"
    ).split()


@contextlib.contextmanager
def forked(out: Path, epochs: int) -> Iterator[tuple[int, int]]:
    """Run the command in a process that reports ``step N`` and ``save N``; yield its id and the pipe."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.close(reading)
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            _report_to(writing)
            code = vergence(learn(out, epochs))
        finally:
            os._exit(code)
    os.close(writing)
    try:
        yield child, reading
    finally:
        os.close(reading)


def _report_to(pipe: int) -> None:
    take_step, save = loop.TrainingLoop.take_step, loop.TrainingLoop.save

    def reported_step(self: Any, stream: Any) -> bool:
        taken = take_step(self, stream)
        os.write(pipe, f"step {self.step}\n".encode())
        return taken

    def reported_save(self: Any) -> None:
        os.write(pipe, f"save {self.step}\n".encode())
        save(self)

    loop.TrainingLoop.take_step = reported_step  # type: ignore[method-assign]
    loop.TrainingLoop.save = reported_save  # type: ignore[method-assign]


class Reports:
    """The lines that a run has reported."""

    def __init__(self, pipe: int) -> None:
        self.pipe, self.rest, self.ended = pipe, b"", False
        self.step, self.steps, self.saves = 0, 0, 0

    def read(self, wait: float) -> None:
        """Take in what is reported within ``wait`` seconds, or comes first."""
        if not select.select([self.pipe], [], [], max(0.0, wait))[0]:
            return
        raw = os.read(self.pipe, 65536)
        self.ended = not raw
        *lines, self.rest = (self.rest + raw).split(b"\n")
        for line in lines:
            kind, number = line.split()
            if kind == b"step":
                self.step, self.steps = int(number), self.steps + 1
            else:
                self.saves += 1

    def drain(self) -> None:
        while not self.ended:
            self.read(60)


@dataclass
class Moment:
    """When to kill: so many seconds after the start, or after so many steps or savings."""

    kind: str = "never"
    count: int = 0
    seconds: float = 0.0

    @classmethod
    def drawn(cls, draw: random.Random, start: float, step: float) -> Moment:
        """Draw a moment; ``start`` and ``step`` are the seconds that those take."""
        kind = draw.choice(["start", "step", "save"])
        if kind == "start":
            return cls(kind, seconds=draw.uniform(0, 1.5 * start))
        if kind == "step":
            return cls(kind, draw.randint(1, 20), draw.uniform(0, step))
        return cls(kind, draw.randint(1, 4), draw.uniform(0, 0.03))

    def has_come(self, reports: Reports, seconds: float) -> bool:
        if self.kind == "start":
            return seconds >= self.seconds
        return self.kind != "never" and self.count <= (
            reports.steps if self.kind == "step" else reports.saves
        )


def run_until(moment: Moment, out: Path, epochs: int) -> tuple[Reports, bool]:
    """Start or resume the run and kill it at that moment; say what it reported, and whether it was killed."""
    began = time.monotonic()
    with forked(out, epochs) as (child, pipe):
        reports = Reports(pipe)
        while not reports.ended and not moment.has_come(reports, time.monotonic() - began):
            reports.read(0.02 if moment.kind == "start" else 60)
        if not reports.ended:
            time.sleep(moment.seconds if moment.kind != "start" else 0)
            os.kill(child, signal.SIGKILL)  # not waited for yet, so its id is still its own
        reports.drain()
        status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status):
        assert os.WEXITSTATUS(status) == 0, f"the run at {out} ended with {os.WEXITSTATUS(status)}"
    return reports, os.WIFSIGNALED(status)


def check_killed(out: Path, reports: Reports, outcome: Outcome) -> None:
    """Check what a kill has left."""
    outcome.half_written_left_aside += len(list(out.rglob("*.part")))
    if not (out / "config.yaml").exists():
        assert reports.step == 0, "steps were taken before the run could be resumed"
        outcome.killed_before_the_first_checkpoint += 1
        return
    state = load_checkpoint(out / "checkpoint" / "last.pt")
    if reports.step:
        lost = reports.step - state["step"]
        assert lost <= SAVE_EVERY, f"{lost} steps are lost"
        outcome.steps_lost.append(max(0, lost))
    if (out / "metrics.csv").exists():
        saved = {row["step"] for row in read_csv(out / "metrics.csv") if row["step"] <= state["step"]}
        assert state["step"] == 0 or state["step"] in saved, "a saved step has no row"


def rows(path: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in FORGOTTEN} for row in read_csv(path)]


def events(out: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the points of each curve as TensorBoard shows them."""
    shown = EventAccumulator(str(out / "tensorboard"), size_guidance={"scalars": 0})
    shown.Reload()
    return {tag: [(e.step, e.value) for e in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}


def check_finished(out: Path, whole: Path, outcome: Outcome) -> None:
    """Check a run that came through against one that nobody killed."""
    for name in ("metrics.csv", "health.csv"):
        ours, theirs = rows(out / name), rows(whole / name)
        assert ours == theirs, f"{name} differs from that of an unbroken run"
        outcome.rows_checked += len(ours)
    shown, expected = events(out), events(whole)
    assert shown.keys() == expected.keys()
    for tag, points in shown.items():
        steps = [step for step, _ in points]
        assert steps == [step for step, _ in expected[tag]], f"{tag} has gaps or doubles"
        if tag.rpartition("/")[2] not in FORGOTTEN:
            assert points == expected[tag], f"{tag} differs"
        outcome.events_checked += len(points)
    encoders = [load_file(p / "encoder.safetensors") for p in (out, whole)]
    methods = [load_checkpoint(p / "checkpoint" / "last.pt")["method"] for p in (out, whole)]
    for saved, unbroken in (encoders, methods):
        assert saved.keys() == unbroken.keys()
        assert all(torch.equal(saved[k], unbroken[k]) for k in unbroken)
    assert not list(out.rglob("*.part")), "something half-written is left"


def torture(kills: int, *, epochs: int, seed: int, folder: Path, quiet: bool = False) -> Outcome:
    """Kill until there were ``kills`` kills and the last run came through; raise where a check fails."""
    torch.set_num_threads(1)
    draw, outcome = random.Random(seed), Outcome()
    whole = folder / "whole"
    began = time.monotonic()
    with forked(whole, epochs) as (child, pipe):
        reports, start = Reports(pipe), 0.0
        while not reports.ended:
            reports.read(60)
            start = start or (time.monotonic() - began if reports.step else 0.0)
        assert os.waitpid(child, 0)[1] == 0, "the unbroken run failed"
    step = (time.monotonic() - began - start) / reports.step
    number, out = 0, folder / "0"
    while True:
        outcome.resumes += (out / "config.yaml").exists()
        moment = Moment.drawn(draw, start, step) if outcome.kills < kills else Moment()
        reports, killed = run_until(moment, out, epochs)
        if killed:
            outcome.kills += 1
            outcome.killed_while_saving += moment.kind == "save"
            check_killed(out, reports, outcome)
            continue
        check_finished(out, whole, outcome)
        outcome.runs_completed += 1
        if not quiet:
            print(f"run {number} came through; {outcome.kills} kills so far", flush=True)
        if outcome.kills >= kills:
            return outcome
        number += 1
        out = folder / str(number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcome = torture(args.kills, epochs=args.epochs, seed=args.seed, folder=Path(folder))
    seen = asdict(outcome)
    lost = seen.pop("steps_lost")
    result = {
        "what": "simclr on digits, resnet-tiny, killed by SIGKILL at random instants and resumed",
        **seen,
        "save_every": SAVE_EVERY,
        "steps_lost_most": max(lost),
        "steps_lost_mean": round(statistics.mean(lost), 2),
        "unreadable_checkpoints": 0,
        "rows_missing_or_double": 0,
        "weights_equal_bit_for_bit": True,
        "seconds": round(time.monotonic() - began),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
    }
    write_json(args.out, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
