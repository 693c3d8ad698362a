"""Kill changes of a store at every boundary of a call and at random instants; each leaves the old or the new.

    python -m vergence.benchmarks.stress.kills_store --kills 50

A change (a store put in place of another, with and without the system's exchange of two folders; rows
appended, renewed or deleted; a column set anew; vectors put beside others; a file imported) runs in a
process of its own. It is ended by SIGKILL: every other time between two calls of the store's own code, of
those first that put a change in place, else at a random instant. Then the store is opened and compared with
what it was and with what it is to become, the change is made again, and nothing of it may be left twice or
aside. Lance is used in forks only.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from vergence import store as package
from vergence.benchmarks import RESULTS
from vergence.core.errors import BadInput
from vergence.engine.files import write_json
from vergence.store import placing
from vergence.store.table import Store

RESULT = RESULTS / "kills-store.json"
ROWS, WIDTH = 300, 32
_CODE = str(Path(package.__file__).parent)
_COMMIT = ("put_in_place", "put_column", "append", "delete")  # functions in which a change becomes the store


def vectors(seed: int, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(ROWS, width)).astype(np.float32)


def names(kind: str) -> list[str]:
    return [f"{kind}{i}" for i in range(ROWS)]


def make_old(path: Path) -> None:
    """Write a store of two fragments, with a column that is set anew, and a file to import."""
    kinds = {"shot": list(range(ROWS)), "cluster": [i % 7 for i in range(ROWS)]}
    store = Store.create(path, None, vectors(0), ids=names("a"), metadata=kinds)
    store.append(None, vectors(1), ids=names("b"), metadata={"shot": list(range(ROWS))})
    Store.create(path.with_name("new.lance"), None, vectors(2), ids=names("n")).export(
        path.with_name("new.npz")
    )
    shutil.rmtree(path.with_name("new.lance"))


def overwrite(path: Path) -> None:
    Store.create(path, None, vectors(2), ids=names("n"), overwrite=True)


def overwrite_without_exchange(path: Path) -> None:
    placing.exchange = lambda first, second: False
    overwrite(path)


def append(path: Path) -> None:
    Store.open(path).append(None, vectors(3), ids=names("c"))


def renew(path: Path) -> None:
    Store.open(path).append(None, vectors(4), ids=names("b"), replace=True)


def set_column(path: Path) -> None:
    Store.open(path).set_column("cluster", [f"word {i % 5}" for i in range(2 * ROWS)])


def add_vectors(path: Path) -> None:
    Store.open(path).add_vectors("other", vectors(5, 8), ids=names("b"), model="another")


def delete(path: Path) -> None:
    Store.open(path).delete(where="shot % 3 = 0")


def import_file(path: Path) -> None:
    Store.read_file(path.with_name("new.npz"), path, overwrite=True)


CHANGES: tuple[Callable[[Path], None], ...] = (
    overwrite, overwrite_without_exchange, append, renew, set_column, add_vectors, delete, import_file,
)  # fmt: skip


def digest(path: Path) -> str:
    """Return a hash of all that a store holds: rows in the order of their ids, columns, and its note."""
    store = Store.open(path)
    store.table.validate()
    order = np.argsort(store.names)
    plain = [name for name in store.table.schema.names if name not in store.vector_columns]
    rows = store.read(plain).take(order).to_pylist()
    content = hashlib.sha256(json.dumps([rows, store.about], default=str, sort_keys=True).encode())
    for name in store.vector_columns:
        content.update(store.vectors(name)[order].tobytes())
    return content.hexdigest()


def in_fork(work: Callable[[], object], *, until: Callable[[int], None] | None = None) -> tuple[int, str]:
    """Do work in a process of its own; return how it ended and what it returned.

    ``until`` is given the process's id, and may end it, as soon as the process has told that it begins.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.write(writing, b"begins\n")
            os.write(writing, str(work()).encode())
            code = 0
        except Exception:  # noqa: BLE001 - it is told to who waits
            os.write(writing, traceback.format_exc().encode())
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        pipe.readline()
        if until is not None:
            until(child)
        said = pipe.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def counting_calls(change: Callable[[Path], None], path: Path, die_at: int = 0) -> str:
    """Make a change and return the store's functions that call or return, in turn; die at one if told to."""
    calls: list[str] = []

    def count(frame: FrameType, event: str, argument: Any) -> None:
        around = [one.f_code for one in (frame, frame.f_back) if one is not None]
        if ours := [code for code in around if code.co_filename.startswith(_CODE)]:  # the called, the caller
            calls.append(ours[-1].co_name)
            if len(calls) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    try:
        change(path)
    finally:
        sys.setprofile(None)
    return " ".join(calls)


@dataclass
class Seen:
    """What was seen of one change; every check that failed raised instead."""

    kills_between_calls: int = 0
    kills_at_random: int = 0
    left_the_old: int = 0
    left_the_new: int = 0
    nothing_at_the_path: int = 0  # before it was opened, which brings the old store back


class Torture:
    """Kills of one kind of change.

    Args:
        change: What is killed.
        folder: For the stores.
        draw: Of the instants.
    """

    def __init__(self, change: Callable[[Path], None], folder: Path, draw: random.Random) -> None:
        self.change, self.folder, self.draw, self.seen = change, folder, draw, Seen()
        self.template, self.path = folder / "template", folder / "try" / "s.lance"
        if not self.template.exists():
            self._done(lambda: make_old(self.template / "s.lance"))
        self._renew()
        self.old = self._done(lambda: digest(self.path))
        functions = self._done(lambda: counting_calls(change, self.path)).split()
        self.calls = len(functions)
        self.places = draw.sample(range(1, self.calls + 1), self.calls)
        self.places.sort(key=lambda place: functions[place - 1] not in _COMMIT)  # these first
        self.new = self._done(lambda: digest(self.path))
        self._renew()
        began = time.monotonic()
        self._done(lambda: change(self.path))
        self.seconds = time.monotonic() - began

    def _done(self, work: Callable[[], object]) -> str:
        code, said = in_fork(work)
        assert code == 0, f"{self.change.__name__}: {said}"
        return said

    def _renew(self) -> None:
        shutil.rmtree(self.path.parent, ignore_errors=True)
        shutil.copytree(self.template, self.path.parent)

    def kill(self, number: int) -> bool:
        """Kill once, between two calls or at a random instant, and check what is left."""
        self._renew()
        if between := number % 2 == 0:
            place = self.places[number // 2 % self.calls]
            code, said = in_fork(lambda: counting_calls(self.change, self.path, place))
        else:
            wait = self.draw.uniform(0, self.seconds)

            def until(child: int) -> None:
                time.sleep(wait)
                os.kill(child, signal.SIGKILL)  # not waited for yet, so its id is still its own

            code, said = in_fork(lambda: self.change(self.path), until=until)
        if code == 0:
            return False
        assert code == -signal.SIGKILL, said
        self.seen.kills_between_calls += between
        self.seen.kills_at_random += not between
        self._check()
        return True

    def _check(self) -> None:
        self.seen.nothing_at_the_path += not self.path.exists()
        left = self._done(lambda: digest(self.path))
        assert left in (self.old, self.new), f"{self.change.__name__} left neither the old store nor the new"
        self.seen.left_the_old += left == self.old
        self.seen.left_the_new += left == self.new
        assert self._done(self._again) == self.new, "made again it is another"
        beside = sorted(path.name for path in self.path.parent.iterdir())
        assert beside == ["new.npz", "s.lance"], f"left aside: {beside}"

    def _again(self) -> str:
        """Make the change once more, return what the store is then, and replace it, which tidies up."""
        with contextlib.suppress(BadInput):  # an id or a column that is there already
            self.change(self.path)
        made = digest(self.path)
        overwrite(self.path)
        return made


def torture(kills: int, *, seed: int, folder: Path, quiet: bool = False) -> dict[str, Seen]:
    """Kill each change so many times; raise where a check fails."""
    warnings.filterwarnings("ignore", "lance is not fork-safe")  # this process never uses it
    outcomes = {}
    for change in CHANGES:
        test, number = Torture(change, folder, random.Random(seed)), 0
        while test.seen.kills_between_calls + test.seen.kills_at_random < kills:
            test.kill(number)
            number += 1
        outcomes[change.__name__] = test.seen
        if not quiet:
            print(
                f"{change.__name__}: {test.calls} calls, {test.seconds:.2f} s, {test.seen}"[:230], flush=True
            )
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="of each change")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = torture(args.kills, seed=args.seed, folder=Path(folder))
    result = {
        "what": f"changes of a store of {2 * ROWS:,} rows, each killed {args.kills} times by SIGKILL",
        "neither_old_nor_new": 0,
        "changes": {name: asdict(seen) for name, seen in outcomes.items()},
        "seconds": round(time.monotonic() - began),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "versions": {"pylance": version("pylance"), "python": platform.python_version()},
    }
    write_json(args.out, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
