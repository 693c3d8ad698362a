"""Near-duplicates and curation of ten million vectors on one machine: time, memory, recall.

    python -m vergence.benchmarks.stress.large_tables --rows 10_000_000

The vectors are those of ``vergence bench speed --only queries``; one in twenty is a copy of an earlier one
with a little noise (a cosine of about 0.98). They lie in a store; each task is a process of its own, which
opens the store and reads them, so that its peak memory is what the task takes.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

COPIES, NOISE = 0.05, 0.2 / 128**0.5
THRESHOLD, KEPT = 0.97, 0.1
CHUNK = 1 << 17


def make(path: Path, rows: int) -> None:
    """Write the store, a chunk at a time."""
    import lance

    from vergence.benchmarks.speed.queries import DIM, drawn
    from vergence.store.notes import note
    from vergence.store.rows import table_schema, vector_array

    vectors = drawn(rows)
    random = np.random.default_rng(1)
    copies = np.arange(round((1 - COPIES) * rows), rows)
    origin = random.integers(0, copies[0], len(copies))
    for start in range(0, len(copies), CHUNK):
        some = slice(start, start + CHUNK)
        near = vectors[origin[some]]
        near += NOISE * random.standard_normal(near.shape, np.float32)
        vectors[copies[some]] = near / np.linalg.norm(near, axis=1, keepdims=True)
    np.save(path.with_suffix(".origin.npy"), origin)
    schema = table_schema(DIM).with_metadata(note("vergence.benchmarks.stress.large_tables", None, ""))

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, rows, CHUNK):
            part = vectors[start : start + CHUNK]
            ids = pa.array([str(i) for i in range(start, start + len(part))])
            empty = [pa.nulls(len(part), schema.field(name).type) for name in ("label", "class", "thumbnail")]
            yield pa.record_batch([ids, ids, vector_array(part), *empty], schema=schema)

    shutil.rmtree(path, ignore_errors=True)
    lance.write_dataset(batches(), str(path), schema=schema, enable_stable_row_ids=True)


def read(path: Path) -> dict:
    """Only read the vectors: what every task has to do first."""
    from vergence.store.table import Store

    return {"rows": len(Store.open(path).directions())}


def duplicates(path: Path) -> dict:
    from vergence.store.table import Store
    from vergence.use.copies import duplicates

    near = duplicates(path, threshold=THRESHOLD, exact=False)
    origin = np.load(path.with_suffix(".origin.npy"))
    rows = len(Store.open(path))
    group = np.full(rows, -1)
    for i, members in enumerate(near.groups):
        group[members] = i
    copies = np.arange(rows - len(origin), rows)
    together = (group[copies] == group[origin]) & (group[copies] >= 0)
    return {
        "threshold": THRESHOLD,
        "pairs": near.total,
        "groups": len(near.groups),
        "recall": round(near.recall or 0, 5),
        "copies_with_their_origin": round(float(together.mean()), 5),
    }


def curate(path: Path) -> dict:
    from vergence.store.table import Store
    from vergence.use.hkmeans import curate

    store = Store.open(path)
    kept = curate(store, round(KEPT * len(store)))
    sizes = kept.hierarchy.sizes()
    after = np.bincount(kept.hierarchy.of()[kept.rows], minlength=len(sizes))
    return {
        "kept": len(kept),
        "clusters": [len(level) for level in kept.hierarchy.levels],
        "evenness": [round(_evenness(sizes), 4), round(_evenness(after), 4)],
        "mean_distance_to_centre": round(float(np.sqrt(kept.hierarchy.levels[0].distance).mean()), 4),
    }


def _evenness(sizes: np.ndarray) -> float:
    shares = sizes[sizes > 0] / sizes.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(len(sizes)))


TASKS = {"read": read, "duplicates": duplicates, "curate": curate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/vergence-scale"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--task", choices=TASKS, help="do one task on the store that is there")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    path = args.folder / f"{args.rows}.lance"
    if args.task:
        began, busy = time.perf_counter(), time.process_time()
        measured = TASKS[args.task](path)
        measured["seconds"] = round(time.perf_counter() - began, 1)
        measured["cpu_seconds"] = round(time.process_time() - busy, 1)
        measured["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
        print(json.dumps(measured))
        return
    if not path.exists():
        make(path, args.rows)
    from vergence.benchmarks.environment import machine
    from vergence.engine.files import write_json

    result: dict = {"rows": args.rows, "machine": machine(), "date": time.strftime("%Y-%m-%d"), "tasks": {}}
    for task in TASKS:
        words = [
            sys.executable,
            __file__,
            "--task",
            task,
            "--rows",
            str(args.rows),
            "--folder",
            args.folder,
        ]
        done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True, check=True)
        result["tasks"][task] = json.loads(done.stdout.splitlines()[-1])
        print(task, result["tasks"][task], flush=True)
    if args.out:
        write_json(args.out, result)


if __name__ == "__main__":
    main()
