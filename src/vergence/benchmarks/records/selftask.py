"""SelfTask on Cora: do targets made from the graph stand in for labels that are few?"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch.nn.functional import one_hot

from vergence.benchmarks.arms import Fitted, Training
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._graphs import blocks, few_labels, node_source
from vergence.benchmarks.tasks import Arm, Metric, generated, opened
from vergence.core import Estimator
from vergence.data import Source
from vergence.data.graph.source import NodeSource
from vergence.data.graph.splits import Split
from vergence.engine import embed
from vergence.methods.graph.encoders import Table
from vergence.methods.graph.label_filling import Fill, filled
from vergence.methods.graph.selftask import PLACE, SelfTask
from vergence.methods.graph.transforms import adjacency


class Shuffled(SelfTask):
    """Label contexts, each dealt to another node, and not corrected by what was learned."""

    def setup(self, source: Source) -> None:
        super().setup(source)
        task: Any = self.pretext
        task.alpha = 0.0
        task.shares = task.shares[torch.randperm(len(task.shares))]


class Guesses(Estimator):
    """The labels that are guessed at first, without a network."""

    def __init__(self, *, fill: Fill) -> None:
        self.fill = fill

    def fit(self, source: Any, *, seed: int = 0) -> Self:
        del seed
        y = torch.full((len(source),), -1)
        taught = source.splits()[0].train
        y[taught] = torch.from_numpy(source.labels[taught])
        classes, a = int(source.labels.max()) + 1, adjacency(source.data.edge_index, len(y), undirected=True)
        a.data[:] = 1
        self.encoder = Table(one_hot(filled(source.x, a, y, classes, self.fill), classes).float())
        return self


def five_a_class(source: Any, seed: int) -> tuple[Any, Any]:
    """Return the source with 5 of the 20 labels a class of the public split to learn from."""
    public = source.splits("public")[0]
    order = np.random.default_rng(seed).permutation(public.train)
    rank = np.array([(source.labels[order[:i]] == source.labels[v]).sum() for i, v in enumerate(order)])
    few = copy.copy(source)
    few.fixed = {"5-a-class": Split("5-a-class", np.sort(order[rank < 5]), public.val, public.test)}
    return few, few


def guessed(encoder: Any, train: Any, test: Any, seed: int) -> float:
    """The share of the test nodes of the source's own split that the network itself guesses right."""
    rows = train.splits()[0].test
    return float((embed(encoder, train).vectors[rows].argmax(1) == train.labels[rows]).mean())


NODES, CLASSES, TAUGHT, COLUMNS = 480, 4, 3, 32
FILL: Fill = "lp"


def few_known(source: None, seed: int) -> tuple[NodeSource, NodeSource]:
    """Generate four blocks of nodes with faint features, of which three nodes each are labelled."""
    del source
    rng = np.random.default_rng([48, seed])
    y = np.arange(NODES) % CLASSES
    x = rng.normal(size=(NODES, COLUMNS)) + 0.2 * rng.normal(size=(CLASSES, COLUMNS))[y]
    pairs = blocks(rng, y, degree=8.0, homophily=0.75)
    made = node_source(pairs, x, y, "blocks", split=few_labels(rng, y, TAUGHT, val=60))
    return made, made


CLAIM = (
    "Withdrawn until it is run again, with the pretext on the first layer: predicting the labels around each "
    "node, guessed and corrected, adds to the few labels there are."
)
ACCURACY = Metric("accuracy of the network's own output on the public test nodes", guessed)
FIVE = Metric("accuracy of the network's own output on the public test nodes, 5 labels a class", guessed)
train = Training(PLACE, epochs=200)
ARMS: dict[str, Arm] = {
    "paper": train(SelfTask),
    "not corrected": train(partial(SelfTask, task="context_label")),
    "pair distance": train(partial(SelfTask, task="pair_distance")),
    "labels alone": train(partial(SelfTask, task="none")),
    "shuffled targets": train(Shuffled),
}
RIVALS = ("labels alone", "shuffled targets")  # the others are the paper's own tasks too

small = Training(PLACE, {"width": 32}, epochs=100)
MECHANISM = Mechanism(
    "480 nodes of four blocks, eight neighbours each, of which three in four are of the block, and 32 "
    "faint numbers. Three nodes a block are labelled: the labels around a node, guessed by label "
    "propagation, reach where these do not. The degree and how faint the numbers are were changed once, "
    "after seed 100.",
    task=generated(few_known, Metric("accuracy of the network's own output on 408 nodes", guessed)),
    arms={
        "paper": small(partial(SelfTask, fill=FILL)),
        "labels alone": small(partial(SelfTask, task="none")),
        "shuffled targets": small(partial(Shuffled, fill=FILL)),
        "the first guesses themselves": Fitted(partial(Guesses, fill=FILL)),
    },
    rivals=("labels alone", "shuffled targets", "the first guesses themselves"),
)

PARITY = Parity(
    "official",
    "github.com/ChandlerBang/SelfTask-GNN, GraphConvolutionBS of src/layers.py in two layers, with the loss "
    "of train_ssl.py: first layer, classes, loss and gradients, float64",
    commit="5e5984066bd36f30a29e17f76d8c7f324dcdf435",
    max_abs=4.4e-16,
    max_rel=2.5e-16,
)

RECORD = Record(
    key="selftask",
    claim=CLAIM,
    task=opened("scaled:planetoid:planetoid/cora", ACCURACY),
    arms=ARMS,
    rivals=RIVALS,
    note="Public split, 20 labels a class. λ is the paper's for Cora, α its released script's. 200 epochs as "
    "there, of which the weights are kept that are best on the 500 validation nodes.",
    mechanism=MECHANISM,
    parity=PARITY,
    also=(
        Record(
            key="selftask",
            claim=CLAIM,
            task=opened("scaled:planetoid:planetoid/cora", FIVE, deal=five_a_class),
            arms=ARMS,
            rivals=RIVALS,
            note="5 of the public split's 20 labels a class, drawn with the seed.",
        ),
    ),
)
