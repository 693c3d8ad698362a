"""HypeBoy on ACM: does naming the missing author's paper teach what papers are about?"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch import nn

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Record
from vergence.benchmarks.tasks import Metric, opened
from vergence.engine import embed
from vergence.evaluate.protocols.graph import node_probe
from vergence.methods.graph import encoders
from vergence.methods.graph.grace import GRACE
from vergence.methods.graph.hypeboy import HypeBoy

SPLITS, SHARE = 5, 0.01


def probe(encoder: nn.Module, train: Any, test: Any, seed: int) -> float:
    """Return the linear probe's accuracy with 1 % of the labels to learn from and 1 % to choose C by."""
    z, y = embed(encoder, test).vectors, test.labels
    share, accuracies = round(SHARE * len(y)), []
    for split in range(SPLITS):
        order = np.random.default_rng([seed, split]).permutation(len(y))
        parts = order[:share], order[share : 2 * share], order[2 * share :]
        accuracies.append(node_probe(z, y, *parts, scale="standard")["accuracy"].value)
    return float(np.mean(accuracies))


def grace_on_cliques(encoder: Any) -> GRACE:
    gcn = encoders.build("gcn", in_dim=encoder.in_dim, width=encoder.out_dim)
    return GRACE(gcn)


PROBE = Metric(
    "linear probe accuracy, 1 % of the nodes to learn from, 1 % to choose by; mean over 5 splits", probe
)
train = Training("vergence.methods.graph.hypeboy:UniGCNII", epochs=500)

RECORD = Record(
    key="hypeboy",
    claim="Filling hyperedges, after features were reconstructed and behind heads, teaches nodes' kinds.",
    task=opened("hyper:hetero:hetero/acm:a", PROBE),
    arms={
        "paper": train(HypeBoy),
        "no feature reconstruction": train(partial(HypeBoy, reconstruct=0.0)),
        "no hyperedge filling": train(partial(HypeBoy, reconstruct=1.0)),
        "no heads": train(partial(HypeBoy, heads=False)),
        "no hyperedges dropped": train(partial(HypeBoy, drop_hyperedges=0.0)),
        "GRACE on the cliques": train(grace_on_cliques),
        "untrained": train.untrained,
        "raw": raw,
    },
    note="Papers of ACM, joined by author; DBLP is not at hand.",
)
