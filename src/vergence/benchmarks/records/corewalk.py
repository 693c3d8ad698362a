"""CoreWalk on Cora: may the rim of a graph be walked on seldom, at little loss?"""

from __future__ import annotations

from functools import partial

import numpy as np

from vergence.benchmarks.arms import Fitted
from vergence.benchmarks.record import Record
from vergence.benchmarks.tasks import RANDOM_NODES, opened
from vergence.methods.graph.corewalk import CoreWalk


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
)
