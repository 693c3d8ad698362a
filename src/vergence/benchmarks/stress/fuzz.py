"""Feed broken, random and hostile files to every reader, and check that each is read or refused.

    python -m vergence.benchmarks.stress.fuzz --cases 3000
    python -m vergence.benchmarks.stress.fuzz --kinds png tar --cases 200 --seed 5

A case is a valid file with bytes changed, cut, doubled or swapped, one that was drawn to be wrong in what it
says (indices, headers, types, settings), or nothing but random bytes; it follows from (kind, seed, number)
alone. The first cases of a kind are valid files, which must be read. Readers run in forked processes with a
memory limit: a signal, a hang, an error other than a refusal in one line, or memory beyond the limit is a
finding, and stops nothing but that process. Bombs, small files that ask for much, are cases of their own.
Kinds that are not asked for keep what ``--out`` says of them, so that a long run can be done in pieces.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import pickle
import platform
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vergence.benchmarks import RESULTS
from vergence.benchmarks.stress import hostile
from vergence.benchmarks.stress.kinds import KINDS
from vergence.core.errors import VergenceError
from vergence.engine.files import write_json

RESULT = RESULTS / "fuzz.json"
MEMORY = 3 * 2**30  # bytes that a reader may add to what its process has
HANG = 30  # seconds


@dataclass
class Findings:
    """What came of one kind."""

    read: int = 0
    refused: int = 0
    bad: list[str] = field(default_factory=list)
    slowest: float = 0.0
    memory: int = 0  # MiB that the process grew by, at most


def mutated(raw: bytes, other: bytes, draw: np.random.Generator) -> bytes:
    """Return bytes damaged in one to three ways."""
    data = bytearray(raw)
    for _ in range(draw.integers(1, 4)):
        n = max(1, len(data))
        at, length = int(draw.integers(0, n)), int(draw.integers(1, 1 + min(64, n)))
        way = draw.integers(0, 9)
        if way == 0:  # cut short
            del data[at:]
        elif way <= 3:  # some bytes changed, anywhere
            for place in draw.integers(0, n, draw.integers(1, 9)):
                data[place : place + 1] = draw.bytes(1)
        elif way == 4:  # a number driven to an edge
            edge = [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0"]
            data[at : at + 4] = edge[draw.integers(0, len(edge))]
        elif way == 5:  # something doubled
            data[at:at] = data[at : at + length]
        elif way == 6:  # something left out
            del data[at : at + length]
        elif way == 7:  # something of another file
            start = int(draw.integers(0, max(1, len(other))))
            data[at : at + length] = other[start : start + length]
        else:  # changed near either end, where headers and footers are
            place = int(draw.integers(0, min(n, 64)))
            data[place if draw.integers(0, 2) else n - 1 - place :][:1] = b""
            data[place : place + 1] = draw.bytes(1)
    return bytes(data)


def case(kind: hostile.Kind, seeds: list[bytes], seed: int, number: int) -> bytes:
    if number < len(seeds):
        return seeds[number]
    draw = np.random.default_rng([zlib.crc32(kind.name.encode()), seed, number])
    if draw.random() < 0.03:
        return draw.bytes(int(draw.integers(0, 4096)))
    if kind.drawn is not None and draw.random() < 0.75:
        return kind.drawn(draw)
    first, second = draw.integers(0, len(seeds), 2)
    return mutated(seeds[first], seeds[second], draw)


def _seeds(kind: hostile.Kind, folder: Path) -> list[bytes]:
    """Make the valid files in a process of its own: threads of libraries do not survive a fork."""
    if not (child := os.fork()):
        code = 1
        try:
            (folder / "seeds").write_bytes(pickle.dumps(kind.seeds(folder)))
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError(f"no seeds of {kind.name} could be made")
    return pickle.loads((folder / "seeds").read_bytes())


def _work(
    kind: hostile.Kind, seeds: list[bytes], seed: int, start: int, cases: int, pipe: int, folder: Path
) -> None:
    """Read cases one after the other, and report each before and after."""
    warnings.simplefilter("ignore")
    kind.prepare()  # what could not be loaded before the fork
    before = _memory()
    limit = _address_space() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    for number in range(start, cases):
        raw = case(kind, seeds, seed, number) if not kind.whole else seeds[number]
        os.write(pipe, f"case {number}\n".encode())
        began = time.monotonic()
        try:
            kind.read(folder, raw)
            end = "read"
        except VergenceError as error:
            end = "refused" if "\n" not in str(error) else f"bad: several lines: {error!r}"
            if number < len(seeds) and not kind.whole:
                end = f"bad: a valid file is refused: {error}"
        except hostile.Refused:
            end = "refused"
        except BaseException as error:  # noqa: BLE001 - whatever a reader lets out is a finding
            where = traceback.extract_tb(error.__traceback__)[-1]
            end = f"bad: {type(error).__name__}: {error} at {Path(where.filename).name}:{where.lineno}"
        line = " ".join(end.split())[:300]
        os.write(pipe, f"end {time.monotonic() - began:.3f} {_memory() - before} {line}\n".encode())


def _memory() -> int:
    used = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(used) // 1024


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def fuzz(kind: hostile.Kind, *, cases: int, seed: int, say: Callable[[str], None] = print) -> Findings:
    """Run ``cases`` of a kind; processes that die are replaced."""
    findings = Findings()
    if hostile.LANCE[0] not in kind.imports:  # lance does not survive a fork
        kind.prepare()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds = _seeds(kind, folder)
        cases = len(seeds) if kind.whole else cases
        number = 0
        while number < cases:
            number = _one_process(kind, seeds, seed, number, cases, folder, findings)
    for line in findings.bad[:20]:
        say(f"{kind.name}: {line}")
    return findings


def _one_process(
    kind: hostile.Kind,
    seeds: list[bytes],
    seed: int,
    start: int,
    cases: int,
    folder: Path,
    findings: Findings,
) -> int:
    """Run cases from ``start`` on in one process; return the first that is not done."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            silent = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            faulthandler.enable(silent)
            _work(kind, seeds, seed, start, cases, writing, folder)
        except BaseException:  # noqa: BLE001 - the child of a fork must not return
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    number, hung = _reports(reading, child, start, findings)
    os.close(reading)
    status = os.waitpid(child, 0)[1]
    if status and not hung and number < start:
        raise RuntimeError(f"{kind.name} cannot start: {(folder / 'stderr').read_text()[-2000:]}")
    if hung or status:
        how = "hangs" if hung else f"ends the process, status {status}"
        tail = " ".join((folder / "stderr").read_text(errors="replace").split())[:400]
        findings.bad.append(f"case {number}: {how}: {tail}")
    return number + 1


def _reports(pipe: int, child: int, start: int, findings: Findings) -> tuple[int, bool]:
    """Note what a process reports until it ends; return its last case and whether it hung."""
    rest, number, hung = b"", start - 1, False
    while True:
        if not select.select([pipe], [], [], HANG)[0]:
            hung = True
            os.kill(child, signal.SIGKILL)
        if not (raw := os.read(pipe, 65536)):
            return number, hung
        *lines, rest = (rest + raw).split(b"\n")
        for line in lines:
            word, _, text = line.decode().partition(" ")
            if word == "case":
                number = int(text)
                continue
            seconds, memory, end = text.split(" ", 2)
            findings.slowest = max(findings.slowest, float(seconds))
            findings.memory = max(findings.memory, int(memory))
            if end in ("read", "refused"):
                setattr(findings, end, getattr(findings, end) + 1)
            else:
                findings.bad.append(f"case {number}: {end}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    for name in args.kinds:
        began = time.monotonic()
        findings = fuzz(KINDS[name], cases=args.cases, seed=args.seed)
        results[name] = {
            "seed": args.seed,
            "cases": findings.read + findings.refused + len(findings.bad),
            "read": findings.read,
            "refused": findings.refused,
            "findings": findings.bad,
            "slowest_case_seconds": round(findings.slowest, 2),
            "memory_grew_by_MiB": findings.memory,
            "seconds": round(time.monotonic() - began),
        }
        print(name, {k: v for k, v in results[name].items() if k != "findings"}, flush=True)
        write(args.out, results)
    sys.exit(any(results[name]["findings"] for name in args.kinds))


def write(out: Path, results: dict[str, dict[str, Any]]) -> None:
    """Write what is known so far, of kinds that were not asked for what an earlier run wrote."""
    known = json.loads(out.read_text())["kinds"] if out.exists() else {}
    kinds = {name: {**known, **results}[name] for name in KINDS if name in known or name in results}
    written = {
        "memory_limit_MiB": MEMORY // 2**20,
        "cases": sum(kind["cases"] for kind in kinds.values()),
        "findings": sum(len(kind["findings"]) for kind in kinds.values()),
        "kinds": kinds,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
    }
    write_json(out, written)


if __name__ == "__main__":
    main()
