"""CoreWalk on Cora: may the rim of a graph be walked on seldom, at little loss?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from vergence.benchmarks.arms import Fitted
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._graphs import blocks, node_source
from vergence.benchmarks.tasks import RANDOM_NODES, generated, opened
from vergence.data.graph.csr import CSR
from vergence.data.graph.source import NodeSource
from vergence.methods.graph.corewalk import CoreWalk, propagate
from vergence.methods.graph.structure import core_numbers


class Uniform(CoreWalk):
    """CoreWalk's number of walks, spread evenly over the nodes."""

    def walks_from(self, cores: np.ndarray) -> np.ndarray:
        budget = int(super().walks_from(cores).sum())
        return budget // len(cores) + (np.arange(len(cores)) < budget % len(cores))


class Reversed(CoreWalk):
    """CoreWalk's numbers of walks, the largest to the nodes of least core number."""

    def walks_from(self, cores: np.ndarray) -> np.ndarray:
        counts = np.sort(super().walks_from(cores))[::-1]
        turned = np.empty_like(counts)
        turned[np.argsort(cores, kind="stable")] = counts
        return turned


class DeepWalk(CoreWalk):
    """All n walks from every node."""

    def walks_from(self, cores: np.ndarray) -> np.ndarray:
        return np.full(len(cores), self.walks)


LR = 0.05
CORE, RIM, COMMUNITIES = 240, 960, 4


def rimmed(source: None, seed: int) -> tuple[NodeSource, NodeSource]:
    """Generate a dense core of four communities, hard to tell, and a wide rim of nodes that hang on to it."""
    del source
    rng = np.random.default_rng([4, seed])
    y = np.arange(CORE) % COMMUNITIES
    core = blocks(rng, y, degree=16.0, homophily=0.55)
    held = rng.integers(CORE, size=RIM)
    rim = np.stack([held, CORE + np.arange(RIM)])
    both = np.concatenate([y, y[held]])
    graph = node_source(np.concatenate([core, rim], axis=1), np.ones((CORE + RIM, 1)), both, "core and rim")
    return graph, graph


def derived() -> Iterator[tuple[Any, Any]]:
    """Give core numbers by networkx, walks by the released formulas, and the limit of the propagation."""
    import networkx

    rng = np.random.default_rng(0)
    pairs = rng.integers(40, size=(2, 90))
    graph = CSR.from_edges(pairs[:, pairs[0] != pairs[1]], 40, undirected=True)
    known = networkx.Graph(graph.edge_index().T.tolist())
    known.add_nodes_from(range(40))
    cores = np.array([networkx.core_number(known)[node] for node in range(40)])
    yield core_numbers(torch.from_numpy(graph.edge_index()), 40).numpy(), cores
    most = int(cores.max())
    released = {
        "linear": lambda k: 15 * (k / most),
        "power": lambda k: 15 * np.power(k / most, 2.0),
        "sigmoid": lambda k: 15 / (1 + np.exp(-(10 * (k - most / 2) / most))),
    }
    for schedule, formula in released.items():
        counts = [max(int(formula(k)), 1) for k in cores]
        yield CoreWalk(schedule=schedule).walks_from(cores), np.array(counts)  # type: ignore[arg-type]
    inside = np.flatnonzero(cores == most)
    z1 = rng.normal(size=(len(inside), 3))
    adjacent = networkx.to_numpy_array(known, nodelist=range(40))
    z, done = np.zeros((40, 3)), np.isin(np.arange(40), inside)
    z[inside] = z1
    while len(wave := np.flatnonzero((adjacent @ done > 0) & ~done)):
        a22, a21 = adjacent[np.ix_(wave, wave)], adjacent[np.ix_(wave, np.flatnonzero(done))]
        z[wave] = np.linalg.solve(np.diag(a21.sum(1) + a22.sum(1)) - a22, a21 @ z[done])
        done[wave] = True
    yield propagate(graph, inside, z1, sweeps=400), z


PARITY = Parity(
    "second",
    "core numbers by networkx, numbers of walks by the formulas of github.com/SBrandeis/kcore-embedding, and"
    " the limit of the propagation by a linear solver; vectors are held in float32",
    compare=derived,
)

small: dict[str, Any] = {"dim": 16, "walks": 15, "length": 20, "window": 5, "epochs": 5, "lr": LR}
MECHANISM = Mechanism(
    "A core of 240 nodes in four communities, 16 neighbours each, a little more than half of one's own, "
    "and a rim of 960 nodes that hang on one node of the core each and have its label. A node of the rim "
    "is where its one neighbour is; those of the core are hard to tell and need the walks.",
    task=generated(rimmed, RANDOM_NODES),
    arms={
        "paper": Fitted(partial(CoreWalk, **small)),
        "same budget, evenly": Fitted(partial(Uniform, **small)),
        "same budget, reversed": Fitted(partial(Reversed, **small)),
        "all walks from every node (DeepWalk)": Fitted(partial(DeepWalk, **small)),
    },
    rivals=("same budget, evenly", "same budget, reversed"),
)

RECORD = Record(
    key="corewalk",
    claim="As many walks do as well or better when started in proportion to core numbers than evenly.",
    task=opened("planetoid:planetoid/cora", RANDOM_NODES),
    arms={
        "paper": Fitted(partial(CoreWalk, lr=LR)),
        "same budget, evenly": Fitted(partial(Uniform, lr=LR)),
        "same budget, reversed": Fitted(partial(Reversed, lr=LR)),
        "15 walks from every node (DeepWalk)": Fitted(partial(DeepWalk, lr=LR)),
        "2-core, then propagated": Fitted(partial(CoreWalk, core=2, lr=LR)),
    },
    rivals=("same budget, evenly", "same budget, reversed"),  # DeepWalk walks more, the 2-core is ours too
    note="PubMed, on which the paper's largest savings are seen, is not at hand: Cora. 15 walks of 30 nodes "
    "at most, window 5, 150 numbers. The learning rate is node2vec's of BlogCatalog.",
    mechanism=MECHANISM,
    parity=PARITY,
)
