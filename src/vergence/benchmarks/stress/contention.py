"""How much of its quiet speed does training keep beside other work?

SimCLR is trained for some seconds in a process of its own, beside 0, 1, 2 and 4 processes that are always
busy, under each way in which OpenMP's threads may wait, on one thread, and on as many as cores are idle at
the start. A share is of the first way's quiet rate.

    python -m vergence.benchmarks.stress.contention [--seconds 9]  # writes benchmarks/results/contention.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vergence.benchmarks import RESULTS
from vergence.core.waiting import SETTINGS

NEIGHBOURS = (0, 1, 2, 4)
IDLE = "asleep, a thread an idle core (vergence's choice)"
WAYS: dict[str, dict[str, str]] = {
    "as OpenMP comes": {},
    "asleep": {"OMP_WAIT_POLICY": "passive"},
    IDLE: {"OMP_WAIT_POLICY": "passive"},
    "1,000 spins": {"GOMP_SPINCOUNT": "1000"},
    "20,000 spins": {"GOMP_SPINCOUNT": "20000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
BATCH, SIDE, WARM = 128, 32, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=9.0, help="of training a cell")
    parser.add_argument("--neighbours", type=int, nargs="*", default=NEIGHBOURS)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--train", choices=list(WAYS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        print(json.dumps(trained(args.seconds, on_idle_cores=args.train == IDLE)))
        return
    load = [round(x, 2) for x in os.getloadavg()]
    rates: dict[str, dict[int, float]] = {way: {} for way in args.ways}
    for count in args.neighbours:
        for way in args.ways:
            with neighbours(count):
                rates[way][count] = _rate(way, args.seconds)
            print(
                f"{count} neighbours, {way}: {rates[way][count]:.0f} samples/s", file=sys.stderr, flush=True
            )
    _write(rates, args.seconds, load)


def _write(rates: dict[str, dict[int, float]], seconds: float, load: list[float]) -> None:
    from vergence.benchmarks.environment import machine
    from vergence.data.loading import cores
    from vergence.engine.files import write_json

    quiet = next(iter(rates.values())).get(0)
    rounded = {way: {str(n): round(rate, 1) for n, rate in row.items()} for way, row in rates.items()}
    result = {
        "what": f"SimCLR, resnet-tiny at {SIDE} pixels, batch {BATCH}, for {seconds:g} seconds beside busy "
        "processes; share of the first row's quiet rate",
        "samples_per_second": rounded,
        "share": {
            way: {str(n): round(r / quiet, 3) for n, r in row.items()} for way, row in rates.items() if quiet
        },
        "cores": cores(),
        "load_before": load,
        "machine": machine(),
        "command": "python -m vergence.benchmarks.stress.contention",
    }
    write_json(RESULTS / "contention.json", result)


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep ``count`` processes busy for as long."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _rate(way: str, seconds: float) -> float:
    ours = (*SETTINGS, "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    module = "vergence.benchmarks.stress.contention"
    words = [sys.executable, "-m", module, f"--train={way}", f"--seconds={seconds}"]
    environment |= WAYS[way]
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def trained(seconds: float, *, on_idle_cores: bool = False) -> float:
    """Train for some seconds after two steps, and return the samples a second."""
    import vergence as vg
    from vergence.core import Clock
    from vergence.engine.devices import leave_busy_cores
    from vergence.methods.image.encoders import build
    from vergence.methods.pairs.simclr import SimCLR

    if on_idle_cores:
        leave_busy_cores()
    ended: list[float] = []

    class Timed(SimCLR):
        def step_end(self, clock: Clock) -> None:
            ended.append(time.monotonic())
            if len(ended) > WARM and ended[-1] - ended[WARM - 1] > seconds:
                raise TimeoutError

    pixels = np.random.default_rng(0).integers(0, 256, (16 * BATCH, SIDE, SIDE, 3), dtype=np.uint8)
    method = Timed(build("resnet-tiny", size=SIDE))
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(TimeoutError):
        vg.learn(method, pixels, epochs=10_000, batch_size=BATCH, out=Path(folder) / "run", quiet=True)
    return BATCH * (len(ended) - WARM) / (ended[-1] - ended[WARM - 1])


if __name__ == "__main__":
    main()
