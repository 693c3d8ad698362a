"""HypeBoy on ACM: does naming the missing author's paper teach what papers are about?"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from vergence.benchmarks.record import Record
from vergence.engine import embed
from vergence.evaluate.protocols.graph import node_probe
from vergence.methods.graph import encoders
from vergence.methods.graph.grace import GRACE
from vergence.methods.graph.hypeboy import HypeBoy

SPLITS, SHARE = 5, 0.01


def probe(encoder: nn.Module, train: Any, test: Any, seed: int) -> float:
    """Return the linear probe's accuracy with 1 % of the labels to learn from and 1 % to choose C by."""
    z, y = embed(encoder, test).vectors, test.labels
    share, found = round(SHARE * len(y)), []
    for split in range(SPLITS):
        order = np.random.default_rng([seed, split]).permutation(len(y))
        parts = order[:share], order[share : 2 * share], order[2 * share :]
        found.append(node_probe(z, y, *parts, scale="standard")["accuracy"].value)
    return float(np.mean(found))


def grace_on_cliques(encoder: Any) -> GRACE:
    gcn = encoders.build("gcn", in_dim=encoder.in_dim, width=encoder.out_dim)
    return GRACE(gcn)


RECORD = Record(
    key="hypeboy",
    claim="Filling hyperedges, after features were reconstructed and behind heads, teaches nodes' kinds.",
    arms={
        "paper": HypeBoy,
        "no feature reconstruction": lambda encoder: HypeBoy(encoder, reconstruct=0.0),
        "no hyperedge filling": lambda encoder: HypeBoy(encoder, reconstruct=1.0),
        "no heads": lambda encoder: HypeBoy(encoder, heads=False),
        "no hyperedges dropped": lambda encoder: HypeBoy(encoder, drop_hyperedges=0.0),
        "GRACE on the cliques": grace_on_cliques,
    },
    source="hyper:hetero:hetero/acm:a",
    encoder="vergence.methods.graph.hypeboy:UniGCNII",
    batch=None,
    epochs=500,
    seeds=(0, 1, 2, 3, 4),
    protocol=probe,
    metric="linear probe accuracy, 1 % of the nodes to learn from, 1 % to choose by; mean over 5 splits",
    note="Papers of ACM, joined by author; DBLP is not at hand.",
)
