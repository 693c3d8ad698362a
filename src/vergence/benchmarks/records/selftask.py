"""SelfTask on Cora: do targets made from the graph stand in for labels that are few?"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import torch

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Record
from vergence.benchmarks.tasks import NODES, Arm, Metric, opened
from vergence.data import Source
from vergence.data.graph.splits import Split
from vergence.methods.graph.selftask import SelfTask


class Shuffled(SelfTask):
    """Corrected label contexts, each dealt to another node, and not corrected by what was learned."""

    def setup(self, source: Source) -> None:
        super().setup(source)
        task: Any = self.pretext
        task.alpha = 0.0
        task.shares = task.shares[torch.randperm(len(task.shares))]


def five_a_class(source: Any, seed: int) -> tuple[Any, Any]:
    """Return the source with 5 of the 20 labels a class of the public split to learn from."""
    public = source.splits("public")[0]
    order = np.random.default_rng(seed).permutation(public.train)
    rank = np.array([(source.labels[order[:i]] == source.labels[v]).sum() for i, v in enumerate(order)])
    few = copy.copy(source)
    few.fixed = {"5-a-class": Split("5-a-class", np.sort(order[rank < 5]), public.val, public.test)}
    return few, few


CLAIM = "Predicting the labels around each node, guessed and corrected, adds to the few labels there are."
FIVE = Metric("linear probe accuracy on the public test nodes, 5 labels a class", NODES.protocol)
train = Training("gcn", {"width": 128, "dropout": 0.5}, epochs=60)
ARMS: dict[str, Arm] = {
    "paper": train(SelfTask),
    "not corrected": train(partial(SelfTask, task="context_label")),
    "pair distance": train(partial(SelfTask, task="pair_distance")),
    "labels alone": train(partial(SelfTask, task="none")),
    "shuffled targets": train(Shuffled),
    "untrained": train.untrained,
    "raw": raw,
}
RIVALS = ("labels alone", "shuffled targets")  # the others are the paper's own tasks too

RECORD = Record(
    key="selftask",
    claim=CLAIM,
    task=opened("planetoid:planetoid/cora", NODES),
    arms=ARMS,
    rivals=RIVALS,
    note="Public split, 20 labels a class, seen by encoder and probe alike. λ is the paper's for Cora. "
    "60 epochs and 5 seeds, for time.",
    also=(
        Record(
            key="selftask",
            claim=CLAIM,
            task=opened("planetoid:planetoid/cora", FIVE, deal=five_a_class),
            arms=ARMS,
            rivals=RIVALS,
            note="5 of the public split's 20 labels a class, drawn with the seed.",
        ),
    ),
)
