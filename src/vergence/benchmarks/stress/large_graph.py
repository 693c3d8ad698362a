"""node2vec and GraphMAE on a graph of 1 million nodes and 10 million edges: time and memory.

    python -m vergence.benchmarks.stress.large_graph  # writes benchmarks/results/large_graph.json
    python -m vergence.benchmarks.stress.large_graph --nodes 20000 --out /tmp/small.json

The graph is drawn: communities of equal size, ``--within`` of the edges inside of one, and 32 features that
say a little of the community. GraphMAE sees sampled neighbourhoods only. Each method runs in a process of its
own, whose peak memory includes the graph. A probe with 2,000 labels checks that the vectors are sound;
on so regular a graph any average over neighbours does well, so it compares nothing.
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
from typing import Any

import numpy as np
import torch

import vergence
from vergence.benchmarks import RESULTS
from vergence.benchmarks.environment import machine
from vergence.data.graph import NodeSource
from vergence.data.graph.build import Edges, build
from vergence.engine import embed
from vergence.engine.files import write_json
from vergence.evaluate.protocols.graph import node_probe

OUT = RESULTS / "large_graph.json"
FEATURES, COMMUNITIES, DEGREE = 32, 50, 20
SETTINGS: dict[str, dict[str, Any]] = {
    "node2vec": {"dim": 64, "walks": 5, "length": 40, "window": 5, "repeatable": False},
    "graphmae": {
        "epochs": 1,
        "batch_size": 1024,
        "encoder_options": {"width": 128, "heads": 4, "act": "prelu", "dropout": 0.2},
    },
}


def drawn(nodes: int, within: float, seed: int = 0) -> NodeSource:
    """Draw the graph: ``nodes`` times 10 links."""
    rng = np.random.default_rng(seed)
    links, size = nodes * DEGREE // 2, nodes // COMMUNITIES
    first = rng.integers(0, nodes, links)
    near = rng.integers(0, size, links) * COMMUNITIES + first % COMMUNITIES
    second = np.where(rng.random(links) < within, near, rng.integers(0, nodes, links))
    y = np.arange(nodes) % COMMUNITIES
    x = rng.standard_normal((COMMUNITIES, FEATURES), dtype=np.float32)[y] / 3
    x += rng.standard_normal((nodes, FEATURES), dtype=np.float32)
    graph, notes = build(Edges(np.stack([first, second]), nodes), "drawn", x=x, y=y)
    return NodeSource(graph, "drawn", notes=notes, fanouts=(10, 5))


def run(key: str, nodes: int, within: float) -> dict[str, Any]:
    """Learn with one method, embed every node, probe, and tell time and memory."""
    started = time.perf_counter()
    source = drawn(nodes, within)
    opened = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        trained = vergence.learn(key, source, out=Path(folder) / "run", quiet=True, seed=0, **SETTINGS[key])
    learned = time.perf_counter()
    z = embed(trained.encoder, source).vectors
    embedded = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    few = np.random.default_rng(1).permutation(nodes)[: min(nodes, 12_000)]
    parts = few[:2000], few[2000:4000], few[4000:]
    labels = source.labels_of(np.arange(nodes))

    def probed(vectors: np.ndarray) -> float:
        strengths = (0.01, 1.0, 100.0)
        score = node_probe(vectors, labels, *parts, scale="standard", strengths=strengths)
        return round(score["accuracy"].value, 4)

    return {
        "nodes": nodes,
        "links": source.data.num_edges // 2,
        "seconds to draw": round(opened - started, 1),
        "seconds to learn": round(learned - opened, 1),
        "seconds to embed": round(embedded - learned, 1),
        "peak memory, GiB": round(peak, 2),
        "probe": probed(z),
        "probe of raw features": probed(source.x.numpy()),
        "settings": SETTINGS[key],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--within", type=float, default=0.7, help="share of the edges inside a community")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only", choices=list(SETTINGS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(run(args.only, args.nodes, args.within)))
        return
    results = {}
    for key in SETTINGS:
        command = [sys.executable, __file__, "--only", key, "--nodes", str(args.nodes)]
        process = subprocess.run(
            [*command, "--within", str(args.within)], check=True, stdout=subprocess.PIPE, text=True
        )
        results[key] = json.loads(process.stdout.splitlines()[-1])
        print(f"{key}: {results[key]}", file=sys.stderr)
    report = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "results": results,
    }
    write_json(args.out, report)


if __name__ == "__main__":
    main()
