"""node2vec on BlogCatalog: making the walks, and walks and skip-gram together, beside pecanpy and gensim.

Each gets the graph in memory, as its own class. Everyone's walks: 10 of 80 nodes from every node,
p = q = 0.25; vectors: 128 numbers, window 10, 5 negatives, one pass. Ours learns in one thread while
another walks, so that a seed repeats it; gensim's threads update the same table without locks.

pecanpy needs numpy 1, which vergence does not run with: the environment variable ``VERGENCE_PECANPY``
names the Python of an environment that has pecanpy and gensim.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from vergence.benchmarks.environment import data_root
from vergence.benchmarks.speed.harness import Contest, Contestant, Round
from vergence.core.errors import BadInput
from vergence.data import open as open_source
from vergence.data.graph.csr import CSR, as_csr
from vergence.data.graph.walks import Walker
from vergence.data.loading import cores
from vergence.methods.graph.node2vec import Node2Vec

P, Q = 0.25, 0.25


def contests(quick: bool) -> Iterator[Contest]:
    path = data_root() / "blogcatalog" / "blogcatalog.mat"
    graph = as_csr(open_source("karate" if quick or not path.exists() else path))
    walks, length, window = (1, 10, 2) if quick else (10, 80, 10)
    of = f"a graph of {graph.nodes:,} nodes and {graph.edges // 2:,} edges"
    sizes = {"walks": walks, "length": length}
    walking, learning = (PecanpyPeer(graph, walks, length, size) for size in (0, window))
    yield Contest(
        name="walks",
        what=f"{walks} second-order walks of {length} nodes from every node of {of}",
        amount=graph.nodes * walks * length,
        unit="steps",
        contestants=(
            Contestant("vergence", partial(_walks, graph, walks, length)),
            Contestant("pecanpy SparseOTF", walking.prepare, needs=walking.needs, close=walking.close),
        ),
        least=5e6,
    )
    yield Contest(
        name="node2vec",
        what=f"node2vec end to end on {of}",
        amount=graph.nodes * walks * length,
        unit="nodes of walks",
        contestants=(
            Contestant("vergence", partial(_ours, graph, {**sizes, "window": window}, True)),
            Contestant(
                "pecanpy and gensim", learning.prepare, needs=learning.needs, bar=1.5, close=learning.close
            ),
            Contestant(
                "vergence, repeatable=False", partial(_ours, graph, {**sizes, "window": window}, False)
            ),
        ),
        least=graph.nodes * walks * length / 120,
        note="The bar of ours is two minutes.",
    )


def _walks(graph: CSR, walks: int, length: int) -> Round:
    walker = Walker(graph, p=P, q=Q)
    starts = np.tile(np.arange(graph.nodes), walks)

    def round_() -> None:
        walker.walks(starts, length)

    return round_


def _ours(graph: CSR, sizes: dict[str, int], repeatable: bool) -> Round:
    def round_() -> None:
        Node2Vec(p=P, q=Q, repeatable=repeatable, walks=sizes["walks"], length=sizes["length"],
                 window=sizes["window"]).fit(graph)  # fmt: skip

    return round_


class PecanpyPeer:
    """pecanpy's walks without tables for edges, as ours, and gensim's skip-gram where ``window`` is not 0."""

    def __init__(self, graph: CSR, walks: int, length: int, window: int) -> None:
        self.graph, self.sizes = graph, [walks, length, window, cores()]
        self.python = os.environ.get("VERGENCE_PECANPY")
        self.needs = () if self.python else ("pecanpy", "gensim") if window else ("pecanpy",)
        self.process: subprocess.Popen[str] | None = None

    def prepare(self) -> Round:
        source, target = self.graph.edge_index()
        once = source <= target
        worker = Path(__file__).with_name("_pecanpy.py")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.edg"
            np.savetxt(path, np.stack([source[once], target[once]], 1), fmt="%d", delimiter="\t")
            command = [self.python or sys.executable, worker, path, P, Q, *self.sizes]
            self.process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self._answer()  # the graph is read
        return self._round

    def _round(self) -> Mapping[str, float]:
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        assert self.process is not None and self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BadInput(f"pecanpy ended with exit code {self.process.wait()}; what it said stands above.")
        return json.loads(line)

    def close(self) -> None:
        if self.process is not None:
            self.process.communicate()
