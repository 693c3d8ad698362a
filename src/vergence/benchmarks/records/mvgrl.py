"""MVGRL on Cora: what does the diffused view add to the graph itself?"""

from __future__ import annotations

from vergence.benchmarks.record import Record
from vergence.methods.graph.mvgrl import MVGRL

RECORD = Record(
    key="mvgrl",
    claim="A diffused view beside the graph itself makes better vectors than the graph's own edges twice.",
    arms={"paper": MVGRL, "one structural view": MVGRL},
    source="planetoid:planetoid/cora",
    encoder="vergence.methods.graph.mvgrl:TwoViews",
    variants={"one structural view": {"diffusion": "none"}},
    batch=None,
    epochs=100,
    seeds=(0, 1, 2, 3, 4),
    protocol="nodes",
    note="512 numbers, one layer, PageRank of alpha 0.2 without entries below 0.001; the whole graph a step, "
    "100 steps in place of early stopping.",
)
