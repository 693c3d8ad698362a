"""GRACE on Cora and Citeseer: what do negatives of one's own view and the corruption add?"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._graphs import blocks, node_source
from vergence.benchmarks.tasks import RANDOM_NODES, generated, opened
from vergence.data.graph.source import NodeSource
from vergence.methods.graph.grace import GRACE

CITESEER: dict[str, Any] = {"drop_edges": (0.2, 0.0), "mask_columns": (0.3, 0.2), "temperature": 0.9}
CLAIM = "Corrupting the views, and negatives from a node's own view too, make the vectors of nodes better."

cora = Training("gcn", {"width": [256, 128]}, epochs=200)
citeseer = Training("gcn", {"width": [256, 128], "act": "prelu"}, epochs=100, settings={"lr": 1e-3})

NODES, CLASSES, COLUMNS, OWN = 400, 4, 64, 16


def named(source: None, seed: int) -> tuple[NodeSource, NodeSource]:
    """Generate four blocks of nodes: many columns tell the class faintly, a few its own name loudly."""
    del source
    rng = np.random.default_rng([74, seed])
    y = np.arange(NODES) % CLASSES
    x = rng.normal(size=(NODES, COLUMNS))
    x += 0.35 * rng.normal(size=(CLASSES, COLUMNS))[y]
    names = 2.0 * rng.normal(size=(NODES, OWN))
    pairs = blocks(rng, y, degree=4.0, homophily=0.7)
    made = node_source(pairs, np.concatenate([x, names], axis=1), y, "blocks")
    return made, made


small = Training("gcn", {"width": [64, 32]}, epochs=80, settings={"lr": 3e-3})
MECHANISM = Mechanism(
    "400 nodes of four blocks, four neighbours each, seven in ten of the block. 64 numbers tell the block "
    "faintly, and 16 loud ones are a name of the node's own. Two equal views are told apart by names "
    "alone, and so are two that differ in edges; where columns are masked, names fail. Masked columns "
    "alone, which are shown beside, come near. The world was looked at on seed 100, with more steps.",
    task=generated(named, RANDOM_NODES),
    arms={
        "paper": small(GRACE),
        "identical views": small(partial(GRACE, drop_edges=0.0, mask_columns=0.0)),
        "edges only": small(partial(GRACE, mask_columns=0.0)),
        "columns only": small(partial(GRACE, drop_edges=0.0)),
        "untrained": small.untrained,
        "raw": raw,
    },
    rivals=("identical views", "edges only"),
)

PARITY = Parity(
    "official",
    "github.com/CRIPAC-DIG/GRACE, Encoder and Model.loss of model.py: loss and gradients of all weights on "
    "two random views, float64",
    commit="b3b5ac3fcbaabbb50e8bd69a075b46cd82a50378",
    max_abs=8.9e-16,
    max_rel=1.2e-14,
)

RECORD = Record(
    key="grace",
    claim=CLAIM,
    task=opened("scaled:planetoid:planetoid/cora", RANDOM_NODES),
    arms={
        "paper": cora(GRACE),
        "no intra-view negatives": cora(partial(GRACE, intra=False)),
        "identical views": cora(partial(GRACE, drop_edges=0.0, mask_columns=0.0)),
        "untrained": cora.untrained,
        "raw": raw,
    },
    note="The paper's settings. PubMed is not at hand.",
    mechanism=MECHANISM,
    parity=PARITY,
    also=(
        Record(
            key="grace",
            claim=CLAIM,
            task=opened("scaled:planetoid:planetoid/citeseer", RANDOM_NODES),
            arms={
                "paper": citeseer(partial(GRACE, **CITESEER)),
                "no intra-view negatives": citeseer(partial(GRACE, **CITESEER, intra=False)),
                "untrained": citeseer.untrained,
                "raw": raw,
            },
            note="Half of the paper's width and of its 200 epochs.",
        ),
    ),
)
