"""GRACE on Cora and Citeseer: what do negatives of one's own view and the corruption add?"""

from __future__ import annotations

from functools import partial
from typing import Any

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Record
from vergence.benchmarks.tasks import RANDOM_NODES, opened
from vergence.methods.graph.grace import GRACE

CITESEER: dict[str, Any] = {"drop_edges": (0.2, 0.0), "mask_columns": (0.3, 0.2), "temperature": 0.9}
CLAIM = "Corrupting the views, and negatives from a node's own view too, make the vectors of nodes better."

cora = Training("gcn", {"width": [256, 128]}, epochs=200)
citeseer = Training("gcn", {"width": [256, 128], "act": "prelu"}, epochs=100, settings={"lr": 1e-3})

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
