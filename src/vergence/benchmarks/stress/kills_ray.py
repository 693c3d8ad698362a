"""Kill `vergence embed --workers ray` at random instants, run it again, and look for lost and doubled rows.

    python -m vergence.benchmarks.stress.kills_ray --kills 50

The source is a parquet file of 12,579 scans of digits, of which every 97th is torn. Each start of the command
is a process of its own with a Ray of its own. A kill is a SIGKILL to one of Ray's workers (which Ray starts
anew while the command goes on), to the command itself, or to the command and every process of Ray at once.
After each kill the table must be there whole or not at all; when the command has come through, every id must
be there once and every row must be that of a plain `vergence embed`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from PIL import Image
from sklearn.datasets import load_digits

from vergence.benchmarks import RESULTS
from vergence.cli import main as vergence
from vergence.core import BadInput
from vergence.engine.files import write_json
from vergence.store.lance_io import PARTS
from vergence.store.table import Store

RESULT = RESULTS / "kills-ray.json"
COPIES, TORN = 7, 97
WORKER = b"ray::MapWorker"
KINDS = ("worker", "command", "everything")
OFTEN = (3, 1, 1)  # a killed worker is started anew the soonest


@dataclass
class Outcome:
    """What was seen; every check that failed raised instead."""

    kills: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("worker", "command", "everything"), 0)
    )
    killed_before_the_first_part: int = 0
    starts: int = 0
    tables_completed: int = 0
    rows_checked: int = 0
    largest_difference: float = 0.0


def make_source(path: Path) -> None:
    """Write the scans, each with its copy's number in a corner, as a file of pictures with labels."""
    scans = load_digits()
    raws = []
    for copy in range(COPIES):
        for pixels in scans.images:
            marked = (pixels * 15).astype(np.uint8)
            marked[0, 0] = 30 * copy
            file = io.BytesIO()
            Image.fromarray(marked).save(file, "PNG")
            raws.append(file.getvalue())
    for row in range(0, len(raws), TORN):
        raws[row] = raws[row][:20]
    pictures = [{"bytes": raw, "path": None} for raw in raws]
    parquet.write_table(
        pa.table({"image": pictures, "label": np.tile(scans.target, COPIES)}), path, row_group_size=1000
    )


class Command:
    """`vergence embed --workers ray` in a process of its own."""

    def __init__(self, run: Path, source: Path, out: Path, log: Path) -> None:
        words = ["embed", str(run), str(source), "--out", str(out), "--workers", "ray"]
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vergence.cli", *words], stdout=file, stderr=subprocess.STDOUT
            )
        self.pid = self.process.pid

    @property
    def code(self) -> int | None:
        return self.process.returncode

    def ended(self) -> bool:
        return self.process.poll() is not None

    def family(self) -> dict[int, bytes]:
        """Return the ids of the processes under the command, and what each is called."""
        parents, names = {}, {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    names[int(entry.name)] = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
        below: set[int] = set()
        more = {self.pid}
        while more:
            more = {pid for pid, parent in parents.items() if parent in more} - below
            below |= more
        return {pid: names[pid] for pid in below}


def alive(pids: set[int]) -> set[int]:
    """Return those that still run (an orphan that nobody waits for stays as a zombie)."""
    running = set()
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                running.add(pid)
        except OSError:
            continue
    return running


def gone(pids: set[int], seconds: float) -> bool:
    """Wait for processes to end; say whether they did."""
    until = time.monotonic() + seconds
    while alive(pids) and time.monotonic() < until:
        time.sleep(0.1)
    return not alive(pids)


def kill(kind: str, command: Command, draw: random.Random) -> bool:
    """Kill; say whether there was something of that kind to kill."""
    family = command.family()
    workers = sorted(pid for pid, name in family.items() if name.startswith(WORKER))
    if kind == "worker":
        if not workers:
            return False
        victims = [draw.choice(workers)]
    else:
        victims = [command.pid, *(family if kind == "everything" else ())]
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    if kind != "worker":
        while not command.ended():
            time.sleep(0.05)
        assert gone(set(family), 300), f"processes of Ray outlive a killed command: {alive(set(family))}"
    return True


def done(out: Path) -> int:
    """Return how many parts have a record."""
    return len(list((out / PARTS).glob("*/[0-9]*.json")))


def whole_or_nothing(out: Path, plain: Store) -> bool:
    """Check what a kill has left: say whether the table is there, whole."""
    try:
        store = Store.open(out)
    except BadInput:
        return False
    assert store.names == plain.names, "the table shows itself before it is whole"
    return True


def check_finished(out: Path, plain: Store, outcome: Outcome) -> None:
    """Check a table that came through against that of a plain `vergence embed`."""
    store = Store.open(out)
    assert len(set(store.names)) == len(store) == len(plain), "an id is missing, or there twice"
    columns = ["id", "uri", "label", "class", "thumbnail"]
    assert store.read(columns).equals(plain.read(columns)), "rows differ from those of a plain embed"
    difference = float(np.abs(store.vectors() - plain.vectors()).max())
    assert difference <= 1e-5, f"vectors differ by {difference}"
    assert store.skipped == plain.skipped and len(store.skipped) > 0
    assert not (out / PARTS).exists(), "records are left"
    files = len(list((out / "data").iterdir()))
    assert files == len(store.table.get_fragments()), "files are left that no row lies in"
    outcome.tables_completed += 1
    outcome.rows_checked += len(store)
    outcome.largest_difference = max(outcome.largest_difference, difference)


def wait(command: Command, out: Path, kind: str, start: float, draw: random.Random) -> None:
    """Wait for a moment to kill: any from the start on, or after some more parts."""
    if kind != "worker" and draw.random() < 1 / 3:
        until = time.monotonic() + draw.uniform(0, 1.5 * start)
        while not command.ended() and time.monotonic() < until:
            time.sleep(0.02)
        return
    parts = done(out) + draw.randint(1, 8)
    while not command.ended() and done(out) < parts and not (out / "_versions").exists():
        time.sleep(0.02)
    time.sleep(draw.uniform(0, 0.5))


def torture(kills: int, *, seed: int, folder: Path, quiet: bool = False) -> Outcome:
    """Kill until there were ``kills`` kills and the last table came through; raise where a check fails."""
    draw, outcome = random.Random(seed), Outcome()
    source, run = folder / "digits.parquet", folder / "run"
    make_source(source)
    learn = f"learn simclr digits --encoder resnet-tiny --epochs 1 --out {run} --quiet --workers 1"
    assert vergence(learn.split()) == 0
    assert vergence(["embed", str(run), str(source), "--out", str(folder / "plain.lance")]) == 0
    plain, start = Store.open(folder / "plain.lance"), 0.0
    out, began = folder / "0.lance", time.monotonic()
    while True:
        log = out.with_suffix(".log")
        command = Command(run, source, out, log)
        outcome.starts += 1
        while not start and not command.ended():  # the first, which nobody kills, shows how long that takes
            start = time.monotonic() - began if done(out) else 0.0
            time.sleep(0.05)
        while outcome.tables_completed and sum(outcome.kills.values()) < kills and not command.ended():
            (kind,) = draw.choices(KINDS, OFTEN)
            wait(command, out, kind, start, draw)
            parts = done(out)
            if command.ended() or not kill(kind, command, draw):
                continue
            outcome.kills[kind] += 1
            outcome.killed_before_the_first_part += parts == 0
            whole_or_nothing(out, plain)
            if not quiet:
                print(f"{sum(outcome.kills.values())}: {kind}, {parts} parts done", flush=True)
        while not command.ended():
            time.sleep(0.1)
        whole = whole_or_nothing(out, plain)
        if command.code == -signal.SIGKILL:
            continue
        again = whole and "exists already" in log.read_text()  # killed when nothing was left to do
        assert command.code == 0 or again, f"exit code {command.code}: {log.read_text()[-2000:]}"
        check_finished(out, plain, outcome)
        if not quiet:
            print(f"{out.stem} came through after {sum(outcome.kills.values())} kills", flush=True)
        if sum(outcome.kills.values()) >= kills:
            return outcome
        out = folder / f"{outcome.tables_completed}.lance"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    began = time.monotonic()
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 else: on a busy machine nothing would happen
    with tempfile.TemporaryDirectory() as folder:
        outcome = torture(args.kills, seed=args.seed, folder=Path(folder))
    result = {
        "what": f"{1797 * COPIES:,} scans of digits, embed --workers ray, killed by SIGKILL and run again",
        **asdict(outcome),
        "ids_missing_or_double": 0,
        "half_tables_seen": 0,
        "seconds": round(time.monotonic() - began),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "versions": {name: version(name) for name in ("ray", "pylance", "torch")},
    }
    write_json(args.out, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
