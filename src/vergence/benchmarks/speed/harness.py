"""Contests of speed: contestants do the same work in turn, again and again, on one machine.

Turns A B A B ... put the noise of a shared machine on all alike, so that the ratio of two contestants
within one repeat says more than either's own number.
"""

from __future__ import annotations

import datetime
import gc
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from vergence.benchmarks.environment import machine, results_folder
from vergence.core.errors import BadInput, install_command, unknown
from vergence.data.loading import cores
from vergence.engine.files import write_json

Round = Callable[[], Mapping[str, float] | None]
PEERS = ("torch", "torchvision", "lightly", "kornia", "numba", "numpy", "pillow", "timm")


@dataclass(frozen=True)
class Contestant:
    """One way to do the work.

    Args:
        name: As the table shows it.
        prepare: Does what is not timed and returns the round, which does the work once.
        needs: Modules without which it is left out.
        bar: How many times as fast as this one ours should be; None sets no bar.
        close: Called when the contest is over.
    """

    name: str
    prepare: Callable[[], Round]
    needs: tuple[str, ...] = ()
    bar: float | None = None
    close: Callable[[], None] | None = None

    @property
    def missing(self) -> list[str]:
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


class LoaderPasses:
    """Passes over a ``DataLoader`` whose workers stay from round to round.

    Args:
        make: Builds the loader, which is not timed.
    """

    def __init__(self, make: Callable[[], Iterable[Any]]) -> None:
        self.make = make
        self.loader: Iterable[Any] = ()

    def prepare(self) -> Round:
        self.loader = self.make()

        def round_() -> None:
            for _ in self.loader:
                pass

        return round_

    def close(self) -> None:
        self.loader = ()  # its workers end with it


@dataclass(frozen=True)
class Contest:
    """The same work done by several contestants.

    Args:
        name: Of the contest, short.
        what: The work, in a line that says every size.
        amount: How many of ``unit`` one round does.
        unit: Plural, such as "views".
        contestants: Ours first.
        least: How many of ``unit`` a second ours should do; None sets no bar.
        note: What a reader should know, such as the settings of the peers.
    """

    name: str
    what: str
    amount: float
    unit: str
    contestants: tuple[Contestant, ...]
    least: float | None = None
    note: str = ""


def subjects() -> list[str]:
    """Return the names that ``speed`` knows."""
    here = Path(__file__)
    names = (path.stem for path in here.parent.glob("*.py"))
    return sorted(name for name in names if name != here.stem and not name.startswith("_"))


def speed(
    only: Iterable[str] = (),
    *,
    repeats: int = 5,
    quick: bool = False,
    out: str | Path | None = None,
    quiet: bool = False,
) -> list[Path]:
    """Measure subjects and return the files that were written, one ``speed-NAME.json`` each.

    Args:
        only: Subjects; none takes all.
        repeats: Rounds of every contestant after one that warms up.
        quick: Do as little work as still runs everything; the numbers mean nothing.
        out: Folder to write to; None takes ``benchmarks/results``.
        quiet: Print nothing on the way.

    Raises:
        BadInput: If there is no such subject.
    """
    known = subjects()
    for name in only:
        if name not in known:
            raise unknown("subject", name, known)
    if repeats < 1:
        raise BadInput(f"bench speed needs --repeats of 1 or more; got {repeats}.")
    say = _nothing if quiet else _progress
    paths = []
    for name in list(only) or known:
        subject = importlib.import_module(f"vergence.benchmarks.speed.{name}")
        result = run_subject(name, subject, repeats=repeats, quick=quick, say=say)
        path = (results_folder() if out is None else Path(out)) / f"speed-{name}.json"
        write_json(path, result)
        paths.append(path)
    return paths


def run_subject(
    name: str, subject: ModuleType, *, repeats: int, quick: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """Run every contest of one module and return the result."""
    versions = {name: _version(name) for name in ("vergence", *PEERS)}
    return {
        "subject": name,
        "what": (subject.__doc__ or "").strip().partition("\n")[0],
        "contests": [run_contest(contest, repeats, say) for contest in subject.contests(quick)],
        "quick": quick,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "load": [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "versions": {
            "python": platform.python_version(),
            **{name: version for name, version in versions.items() if version},
        },
        "command": f"vergence bench speed --only {name}",
    }


def run_contest(contest: Contest, repeats: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Let the contestants take turns and return their rates and how far ours is ahead."""
    present = [c for c in contest.contestants if not c.missing]
    left_out = {c.name: ", ".join(c.missing) for c in contest.contestants if c.missing}
    say(f"{contest.name}: {contest.what}")
    for name, modules in left_out.items():
        say(f"  {name} is left out: {modules} is not installed ({install_command('bench')})")
    laps: dict[str, list[_Lap]] = {c.name: [] for c in present}
    try:
        rounds = {c.name: c.prepare() for c in present}
        for turn in range(-1, repeats):
            for name, work in rounds.items():
                lap = _lap(work)
                if turn >= 0:  # the first turn warms up
                    laps[name].append(lap)
        rounds.clear()
    finally:
        for c in present:
            if c.close is not None:
                c.close()
    shown = []
    for c in present:
        entry = _entry(contest, c, laps[c.name], ours=laps[present[0].name])
        shown.append(entry)
        say("  " + line(entry, contest.unit))
    return {
        "name": contest.name,
        "what": contest.what,
        "unit": contest.unit,
        "amount": contest.amount,
        "repeats": repeats,
        "contestants": shown,
        "left_out": left_out,
        "note": contest.note,
    }


def _entry(contest: Contest, contestant: Contestant, took: list[_Lap], *, ours: list[_Lap]) -> dict[str, Any]:
    """Return a contestant's rates, and against which bar they are held."""
    entry: dict[str, Any] = {
        "name": contestant.name,
        "rate": _rounded(contest.amount / np.median([lap.wall for lap in took])),
        "seconds": [_rounded(lap.wall) for lap in took],
        "cpu_seconds": [_rounded(lap.cpu) for lap in took],
        "rate_per_cpu_second": _rounded(contest.amount / max(1e-9, np.median([t.cpu for t in took]))),
        **{key: _rounded(np.median([lap.extra[key] for lap in took])) for key in took[0].extra},
    }
    if took is not ours:
        entry["ours_is_faster"] = spread([b.wall / a.wall for a, b in zip(ours, took, strict=True)])
        entry["ours_is_faster_by_cpu"] = spread(
            [b.cpu / max(1e-9, a.cpu) for a, b in zip(ours, took, strict=True)]
        )
        if contestant.bar is not None:
            entry["bar"] = contestant.bar
            entry["passed"] = entry["ours_is_faster"]["median"] >= contestant.bar
    elif contest.least is not None:
        entry["bar"] = contest.least
        entry["passed"] = entry["rate"] >= contest.least
    return entry


def line(entry: Mapping[str, Any], unit: str) -> str:
    """Say one contestant's numbers in a line."""
    text = f"{entry['name']}: {entry['rate']:,.6g} {unit}/s"
    text += f", {entry['rate_per_cpu_second']:,.6g} a CPU second"
    if "ours_is_faster" in entry:
        wall, cpu = entry["ours_is_faster"], entry["ours_is_faster_by_cpu"]
        text += f"; ours {wall['median']:.4g} times as fast ({wall['low']:.4g} to {wall['high']:.4g}"
        text += f"; {cpu['median']:.4g} by CPU time)"
    if "bar" in entry:
        text += f"; bar {entry['bar']:,.6g}: {'reached' if entry['passed'] else 'MISSED'}"
    return text


def spread(ratios: list[float]) -> dict[str, float]:
    """Return the median of some ratios with the least and the greatest."""
    return {
        "median": _rounded(np.median(ratios)),
        "low": _rounded(min(ratios)),
        "high": _rounded(max(ratios)),
    }


@dataclass(frozen=True)
class _Lap:
    wall: float
    cpu: float
    extra: Mapping[str, float]


def _lap(work: Round) -> _Lap:
    gc.collect()
    busy, began = cpu_seconds(), time.perf_counter()
    extra = dict(work() or {})
    wall = time.perf_counter() - began
    return _Lap(extra.pop("seconds", wall), extra.pop("cpu", cpu_seconds() - busy), extra)


def cpu_seconds() -> float:
    """Return the CPU time of this process and its children, living ones too where the system tells."""
    own = os.times()
    total = time.process_time() + own.children_user + own.children_system
    ticks = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    for process in _descendants(os.getpid()):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(x) for x in fields[11:15]) / ticks  # user and system, its own and its children's
    return total


def _descendants(process: int) -> Iterator[int]:
    try:
        listed = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children")]
    except OSError:
        return
    for child in " ".join(listed).split():
        yield int(child)
        yield from _descendants(int(child))


def _rounded(value: Any) -> float:
    return float(f"{float(value):.5g}")


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _nothing(line: str) -> None: ...


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
