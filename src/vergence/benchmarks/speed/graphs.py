"""Epochs of GRACE on graphs of mean degree 18 with 500 features, beside PyGCL's dense formula.

All contestants have one encoder (graph convolutions of 256 and 128), one pair of views and Adam; they
differ in the loss. ``peak_mb`` is the most memory that a process which does nothing else ever held,
libraries and graph included.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vergence.benchmarks.speed.harness import Contest, Contestant, Round
from vergence.benchmarks.speed.losses import DENSE_NEEDS, nodes_pygcl
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import NodeSource
from vergence.methods.graph import encoders
from vergence.methods.graph.grace import GRACE

DEGREE, FEATURES = 18, 500


def contests(quick: bool) -> Iterator[Contest]:
    peer = 60 if quick else 10_000 if _entry("/proc/meminfo", "MemAvailable") > DENSE_NEEDS else 5_000
    for nodes, peers in ((peer, ("dense as PyGCL",)), (120 if quick else 20_000, ())):
        yield Contest(
            name=f"grace-epoch-{nodes}",
            what=f"an epoch of GRACE: {nodes:,} nodes, mean degree {DEGREE}, {FEATURES} features",
            amount=nodes,
            unit="nodes",
            contestants=(
                Contestant("vergence", partial(_prepare, None, nodes, quick)),
                *(Contestant(name, partial(_prepare, nodes_pygcl, nodes, quick), bar=3.0) for name in peers),
            ),
            note="The bar of 20,000 nodes is a peak_mb of 2,000." if not peers else "",
        )


def source(nodes: int) -> NodeSource:
    """Return a random graph of ``nodes * DEGREE / 2`` links, features a tenth of which are 1."""
    rng = np.random.default_rng(0)
    pairs = rng.integers(nodes, size=(2, nodes * DEGREE // 2))
    x = (rng.random((nodes, FEATURES), dtype=np.float32) < 0.1).astype(np.float32)
    return NodeSource(build(Edges(pairs[:, pairs[0] != pairs[1]], nodes), "random", x=x)[0], "random")


Loss = Callable[[Tensor, Tensor], Tensor]


def epoch(nodes: int, loss: Loss | None) -> Callable[[], None]:
    """Return a training step on the whole graph, with GRACE's own loss or another."""
    torch.manual_seed(0)
    graphs = source(nodes)
    method = GRACE(encoders.for_source(graphs, "gcn", width=(256, 128)))
    graph = graphs.whole_graph()
    adam = torch.optim.Adam(method.parameters(), lr=5e-4, weight_decay=1e-5)

    def step() -> None:
        with torch.no_grad():
            views = method.views(graph)
        if loss is None:
            cost = method.loss(views)["contrast"]
        else:
            cost = loss(*(method.project(method.encode(view)) for view in views))
        adam.zero_grad()
        cost.backward()
        adam.step()

    return step


def _prepare(loss: Loss | None, nodes: int, quick: bool) -> Round:
    known: Mapping[str, float] = {} if quick else peak(nodes, loss)
    step = epoch(nodes, loss)

    def round_() -> Mapping[str, float]:
        step()
        return known

    return round_


def peak(nodes: int, loss: Loss | None = None) -> dict[str, float]:
    """Return ``peak_mb`` of two epochs in a new process; nothing where the system does not tell it."""
    if not np.isfinite(_entry("/proc/self/status", "VmHWM")):
        return {}
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_alone, args=(sender, nodes, loss, torch.get_num_threads()))
    child.start()
    sender.close()
    try:
        return {"peak_mb": receiver.recv()}
    except EOFError:
        raise MemoryError(f"GRACE on {nodes:,} nodes was ended, likely for want of memory.") from None
    finally:
        child.join()


def _alone(sender: Connection, nodes: int, loss: Loss | None, threads: int) -> None:
    torch.set_num_threads(threads)
    step = epoch(nodes, loss)
    for _ in range(2):
        step()
    sender.send(_entry("/proc/self/status", "VmHWM") / 1e6)


def _entry(path: str, key: str) -> float:
    """Return an entry of a file of /proc in bytes; infinity where the system does not tell."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return float("inf")
    return 1e3 * next(float(line.split()[1]) for line in lines if line.startswith(key + ":"))
