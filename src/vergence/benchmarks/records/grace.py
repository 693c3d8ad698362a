"""GRACE on Cora and Citeseer: what do negatives of one's own view and the corruption add?"""

from __future__ import annotations

from functools import partial
from typing import Any

from vergence.benchmarks.record import Record
from vergence.methods.graph.grace import GRACE

CITESEER: dict[str, Any] = {"drop_edges": (0.2, 0.0), "mask_columns": (0.3, 0.2), "temperature": 0.9}
CLAIM = "Corrupting the views, and negatives from a node's own view too, make the vectors of nodes better."

RECORD = Record(
    key="grace",
    claim=CLAIM,
    arms={
        "paper": GRACE,
        "no intra-view negatives": partial(GRACE, intra=False),
        "identical views": partial(GRACE, drop_edges=0.0, mask_columns=0.0),
    },
    source="scaled:planetoid:planetoid/cora",
    encoder="gcn",
    options={"width": [256, 128]},
    batch=None,
    epochs=200,
    seeds=(0, 1, 2, 3, 4),
    protocol="random nodes",
    note="The paper's settings. PubMed is not at hand.",
    also=(
        Record(
            key="grace",
            claim=CLAIM,
            arms={
                "paper": partial(GRACE, **CITESEER),
                "no intra-view negatives": partial(GRACE, **CITESEER, intra=False),
            },
            source="scaled:planetoid:planetoid/citeseer",
            encoder="gcn",
            options={"width": [256, 128], "act": "prelu"},
            batch=None,
            epochs=100,
            seeds=(0, 1, 2, 3, 4),
            settings={"lr": 1e-3},
            protocol="random nodes",
            note="Half of the paper's width and of its 200 epochs.",
        ),
    ),
)
