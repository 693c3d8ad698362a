"""MVGRL on Cora: what does the diffused view add to the graph itself?"""

from __future__ import annotations

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Record
from vergence.benchmarks.tasks import NODES, opened
from vergence.methods.graph.mvgrl import MVGRL

train = Training("vergence.methods.graph.mvgrl:TwoViews", epochs=100)

RECORD = Record(
    key="mvgrl",
    claim="A diffused view beside the graph itself makes better vectors than the graph's own edges twice.",
    task=opened("planetoid:planetoid/cora", NODES),
    arms={
        "paper": train(MVGRL),
        "one structural view": train(MVGRL, options={"diffusion": "none"}),
        "untrained": train.untrained,
        "raw": raw,
    },
    note="512 numbers, one layer, PageRank of alpha 0.2 without entries below 0.001; the whole graph a step, "
    "100 steps in place of early stopping.",
)
