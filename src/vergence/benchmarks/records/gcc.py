"""GCC: learned on the citations of Cora and Citeseer, used unchanged on the collaborations of IMDB-B."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.environment import data_root
from vergence.benchmarks.record import Record
from vergence.benchmarks.tasks import Metric, opened
from vergence.data import open as open_source
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import NodeSource
from vergence.evaluate.graph_table import graph_scores
from vergence.evaluate.score import Score
from vergence.methods.graph.gcc import GCC


def elsewhere(cora: Any, seed: int) -> tuple[Any, Any]:
    """Return Cora's and Citeseer's links as one graph without features, and IMDB-B to be judged by."""
    citeseer: Any = open_source(f"planetoid:{data_root() / 'planetoid' / 'citeseer'}")
    n = int(cora.data.num_nodes)
    pairs = np.concatenate([cora.data.edge_index.numpy(), citeseer.data.edge_index.numpy() + n], axis=1)
    graph, _ = build(Edges(pairs, n + int(citeseer.data.num_nodes)), "cora+citeseer")
    return NodeSource(graph, "cora+citeseer"), open_source(f"tu:{data_root() / 'tu' / 'IMDB-BINARY'}")


def moved(encoder: Any, train: Any, test: Any, seed: int) -> Score:
    """The SVM's accuracy on vectors of whole graphs that were never seen."""
    return graph_scores(encoder, test, seed=seed)["SVM"]


train = Training("vergence.methods.graph.gcc:StructureGIN", epochs=100, settings={"warmup": 10})

RECORD = Record(
    key="gcc",
    claim="Telling apart nodes by their surroundings on some graphs gives vectors that classify others.",
    task=opened("planetoid:planetoid/cora", Metric("SVM accuracy on IMDB-B, 10-fold", moved), deal=elsewhere),
    arms={
        "paper": train(partial(GCC, instances=128)),
        "MoCo": train(partial(GCC, instances=128, queue=4096, momentum=0.99)),
        "both views one subgraph": train(partial(GCC, instances=128, one_view=True)),
        "untrained": train.untrained,
        "raw": raw,
    },
    rivals=("both views one subgraph",),  # MoCo is the paper's own second form
    note="Trained on the links of Cora and Citeseer (PubMed is not at hand), 100 steps of 128 nodes, frozen; "
    "IMDB-B's graphs are encoded whole. Raw features are degree histograms. The queue of MoCo is "
    "4,096 and its momentum 0.99, for the few steps.",
)
