"""SelfTask on Cora: do targets made from the graph stand in for labels that are few?"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import torch

from vergence.benchmarks.record import METRICS, NAMED, Record
from vergence.data.graph.splits import Split
from vergence.methods.graph.selftask import SelfTask


class Shuffled(SelfTask):
    """Corrected label contexts, each dealt to another node, and not corrected by what was learned."""

    def setup(self, source: Any) -> None:
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


TWENTY = Record(
    key="selftask",
    claim="Predicting the labels around each node, guessed and corrected, adds to the few labels there are.",
    arms={
        "paper": SelfTask,
        "not corrected": lambda encoder: SelfTask(encoder, task="context_label"),
        "pair distance": lambda encoder: SelfTask(encoder, task="pair_distance"),
        "labels alone": lambda encoder: SelfTask(encoder, task="none"),
        "shuffled targets": Shuffled,
    },
    source="planetoid:planetoid/cora",
    encoder="gcn",
    options={"width": 128, "dropout": 0.5},
    batch=None,
    epochs=60,
    seeds=(0, 1, 2, 3, 4),
    protocol=NAMED["nodes"],
    metric=METRICS["nodes"],
    note="Public split, 20 labels a class, seen by encoder and probe alike. λ is the paper's for Cora. "
    "60 epochs and 5 seeds, for time.",
)
RECORD = dataclasses.replace(
    TWENTY,
    also=(
        dataclasses.replace(
            TWENTY,
            prepare=five_a_class,
            metric="linear probe accuracy on the public test nodes, 5 labels a class",
            note="5 of the public split's 20 labels a class, drawn with the seed.",
        ),
    ),
)
