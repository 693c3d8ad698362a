"""ClusterFuG on the complete graph of 20,000 nodes: seconds, and memory beside that of a matrix of all pairs.

    python -m vergence.benchmarks.stress.large_clusters  # writes benchmarks/results/large_clusters.json
    python -m vergence.benchmarks.stress.large_clusters --rows 2000 --out /tmp/small.json

The vectors lie around 200 directions of 128 dimensions; their mean cosine with their own is about 0.6.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import normalized_mutual_info_score

from vergence.benchmarks import RESULTS
from vergence.benchmarks.environment import machine
from vergence.engine.files import write_json
from vergence.use.clusterfug import multicut

OUT = RESULTS / "large_clusters.json"
GROUPS, WIDTH, ALPHA = 200, 128, 0.2


def peak() -> int:
    """Return the largest memory of this process so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    group = rng.integers(0, GROUPS, args.rows)
    centres = rng.normal(size=(GROUPS, WIDTH)) / WIDTH**0.5
    x = centres[group] + rng.normal(size=(args.rows, WIDTH)) * 1.33 / WIDTH**0.5
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    multicut(x[:100], alpha=ALPHA)  # compiles
    before, began, cpu = peak(), time.perf_counter(), time.process_time()
    clusters = multicut(x, alpha=ALPHA)
    result = {
        "what": "multicut of the complete graph, greedy additive edge contraction",
        "machine": machine(),
        "rows": args.rows,
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "memory_more_than_before": peak() - before,
        "memory_of_all_pairs": 4 * args.rows**2,
        "clusters": len(clusters),
        "nmi_with_groups": round(float(normalized_mutual_info_score(group, clusters.of)), 4),
        "bar_seconds": 60,
    }
    write_json(args.out, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
