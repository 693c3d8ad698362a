"""CoLES on 20 million events of 1 million entities: time and memory, from parquet to a store of vectors.

    python -m vergence.benchmarks.stress.large_events  # writes benchmarks/results/large_events.json
    python -m vergence.benchmarks.stress.large_events --entities 10000 --out /tmp/small.json

The log is drawn, 20 events an entity on average, rows by time as systems write them. An entity is one of
eight kinds, which differ in the shops they visit and in what they pay. One epoch of slices, then every
entity is embedded and written to a store, in a process of its own whose peak memory is told. A probe with
2,000 labels checks that the vectors know the kinds; it compares nothing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import vergence
from vergence.benchmarks import RESULTS
from vergence.benchmarks.environment import machine
from vergence.data.events.source import EventSource
from vergence.engine.files import write_json
from vergence.evaluate import linear

OUT = RESULTS / "large_events.json"
EVENTS = 20  # an entity, on average
KINDS, SHOPS, OWN = 8, 50, 6
PART = 1_000_000  # rows drawn and written at a time
SETTINGS: dict[str, Any] = {"epochs": 1, "batch_size": 256, "encoder": "gru", "encoder_options": {"dim": 64}}


def draw(path: Path, entities: int, seed: int = 0) -> int:
    """Write the log; return how many events it has."""
    rng = np.random.default_rng(seed)
    own = rng.integers(0, SHOPS, (KINDS, OWN))
    rows, year = entities * EVENTS, 365 * 24 * 3600 * 10**6
    parts = -(-rows // PART)
    schema = pa.schema(
        {"user": pa.int64(), "ts": pa.timestamp("us"), "shop": pa.int32(), "amount": pa.float32()}
    )
    with pq.ParquetWriter(path, schema) as file:
        for part in range(parts):
            n = min(PART, rows - part * PART)
            user = rng.integers(0, entities, n)
            kind = user % KINDS
            time_ = np.sort(rng.integers(part * year // parts, (part + 1) * year // parts, n))
            liked = own[kind, rng.integers(0, OWN, n)]
            shop = np.where(rng.random(n) < 0.5, liked, rng.integers(0, SHOPS, n))
            amount = np.exp(rng.normal(2 + 0.3 * kind, 1.0))
            columns = (user, time_.astype("datetime64[us]"), shop.astype(np.int32), amount.astype(np.float32))
            file.write_batch(pa.record_batch(list(columns), schema=schema))
    return rows


def run(path: Path) -> dict[str, Any]:
    """Read the log, learn from it for an epoch, embed every entity, and tell time and memory."""
    began = time.perf_counter()
    uri = f"events:{path}?id=user&time=ts&categorical=shop&numeric=amount"
    source = cast(EventSource, vergence.open(uri))
    opened = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        trained = vergence.learn("coles", source, out=Path(folder) / "run", quiet=True, seed=0, **SETTINGS)
        learned = time.perf_counter()
        store = trained.embed(source)
        embedded = time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        few = np.sort(np.random.default_rng(1).permutation(len(source))[: min(len(source), 6_000)])
        vectors = store.vectors()[few]
    kind = np.array([int(source.names[i]) for i in few.tolist()]) % KINDS
    teach = np.arange(len(few)) % 3 == 0
    score = linear(vectors[teach], kind[teach], vectors[~teach], kind[~teach])
    return {
        "entities": len(source),
        "events": len(source.log.time),
        "MB of parquet": round(path.stat().st_size / 1e6, 1),
        "seconds to read": round(opened - began, 1),
        "seconds to learn an epoch": round(learned - opened, 1),
        "seconds to embed into a store": round(embedded - learned, 1),
        "peak memory, GiB": round(peak, 2),
        f"probe, {KINDS} kinds": round(score.value, 4),
        "settings": SETTINGS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.log:
        print(json.dumps(run(args.log)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.parquet"
        began = time.perf_counter()
        draw(path, args.entities)
        drawn = time.perf_counter() - began
        process = subprocess.run(
            [sys.executable, __file__, "--log", str(path)], check=True, stdout=subprocess.PIPE, text=True
        )
    report = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "seconds to draw": round(drawn, 1),
        **json.loads(process.stdout.splitlines()[-1]),
        "command": "python -m vergence.benchmarks.stress.large_events",
    }
    print(json.dumps(report, indent=2), file=sys.stderr)
    write_json(args.out, report)


if __name__ == "__main__":
    main()
