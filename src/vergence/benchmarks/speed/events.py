"""CoLES on event sequences beside pytorch-lifestream's own module: events a second of training.

Both draw five slices of 25 to 200 events from each of 64 clients a step, embed two categories in 16 numbers
each and take one number, read the events with a GRU and minimise the contrastive loss with five hard
negatives by Adam, in float32. A round is an epoch over the same histories, reading and slicing included; an
event counts as often as it is in a slice. pytorch-lifestream is taken from the environment, else from
one of its own: ``PTLS_PYTHON`` names the interpreter of an environment in which ``import ptls`` works.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import vergence
from vergence.benchmarks.speed.harness import Contest, Contestant, Round
from vergence.engine.devices import make_fabric
from vergence.methods.events.coles import CoLES
from vergence.methods.events.encoders import for_source

SLICES, SHORTEST, LONGEST, CLIENTS = 5, 25, 200, 64
SHOPS, CHANNELS = 200, 5
WORKER = Path(__file__).with_name("_lifestream.py")


def contests(quick: bool) -> Iterator[Contest]:
    entities = 2 * CLIENTS if quick else 8 * CLIENTS
    python = _interpreter()
    versions = _versions(python) if python else ""
    for dim in (16,) if quick else (64, 256):
        columns = drawn(entities)
        events = sliced(columns["user"])
        yield Contest(
            name=f"coles-gru{dim}",
            what=f"an epoch of CoLES: {entities} clients of 100 to 1,000 events, GRU of {dim}",
            amount=events,
            unit="events",
            contestants=(
                Contestant("vergence", partial(_ours, columns, dim)),
                _lifestream(python, columns, dim),
            ),
            note=f"{versions or 'pytorch-lifestream'}: its own module, data set, splitter and loader without "
            "workers. Events are those that slices hold on average.",
        )


def drawn(entities: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the columns of a log: user, ts, two categories and a number, in order of user and time."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(100, 1000, entities)
    n = int(lengths.sum())
    return {
        "user": np.repeat(np.arange(entities), lengths),
        "ts": np.arange(n),
        "shop": rng.integers(1, SHOPS, n),
        "channel": rng.integers(1, CHANNELS + 1, n),
        "amount": rng.normal(size=n).astype(np.float32),
    }


def sliced(user: np.ndarray) -> float:
    """Return how many events the slices of an epoch hold on average."""
    longest = np.bincount(user).clip(max=LONGEST)
    return float(SLICES * (longest + SHORTEST).sum() / 2)


def _ours(columns: Mapping[str, np.ndarray], dim: int) -> Round:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.parquet"
        pq.write_table(pa.table(dict(columns)), path)
        source: Any = vergence.open(f"events:{path}?id=user&time=ts&categorical=shop,channel&numeric=amount")
    make_fabric()  # sets how memory is kept, as in a run
    torch.manual_seed(0)
    method = CoLES(
        for_source(source, "gru", dim=dim), shortest=SHORTEST, longest=LONGEST, slices=SLICES
    ).train()
    adam = torch.optim.Adam(method.parameters(), lr=1e-3)
    epochs = iter(range(10**6))

    def round_() -> None:
        for batch in source.loader(CLIENTS, shuffle=True, epoch=next(epochs), drop_last=True):
            terms = method.loss(method.views(batch))
            adam.zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            adam.step()

    return round_


def _interpreter() -> str | None:
    """Return what can import ptls: the interpreter that ``PTLS_PYTHON`` names, or this one."""
    named = os.environ.get("PTLS_PYTHON")
    return named or (sys.executable if importlib.util.find_spec("ptls") is not None else None)


def _versions(python: str) -> str:
    """Return the versions of the peer and of its torch."""
    ask = "from importlib.metadata import version as v; print(v('pytorch-lifestream'), v('torch'), sep='|')"
    done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
    own, torch_ = done.stdout.strip().split("|")
    return f"pytorch-lifestream {own} on torch {torch_}"


def _lifestream(python: str | None, columns: Mapping[str, np.ndarray], dim: int) -> Contestant:
    if python is None:
        return Contestant("pytorch-lifestream", lambda: _never, needs=("ptls",), bar=2.0)
    process = LifestreamPeer(python, columns, dim)
    return Contestant("pytorch-lifestream", process.start, bar=2.0, close=process.close)


def _never() -> None: ...


class LifestreamPeer:
    """The peer in a process of its own, which does a round when it is told to.

    Args:
        python: Interpreter that can import ptls.
        columns: Of the log.
        dim: Of the GRU.
    """

    def __init__(self, python: str, columns: Mapping[str, np.ndarray], dim: int) -> None:
        self.python, self.columns, self.dim = python, columns, dim
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> Callable[[], Mapping[str, float]]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log.npz"
            arrays: Any = self.columns
            np.savez(path, **arrays)
            words = [str(path), str(self.dim), str(torch.get_num_threads())]
            self.process = subprocess.Popen(
                [self.python, str(WORKER), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self._answer()  # it has read the log
        return self._round

    def _round(self) -> Mapping[str, float]:
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        wall, cpu = self._answer().split()
        return {"seconds": float(wall), "cpu": float(cpu)}

    def _answer(self) -> str:
        assert self.process is not None and self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.python} cannot run pytorch-lifestream; see its message above.")
        return line

    def close(self) -> None:
        if self.process is not None:
            self.process.communicate()  # the end of its input ends it
