"""MEOW on ACM: contexts, weights of negatives and prototypes, each left out, and AdaMEOW beside it."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Record
from vergence.benchmarks.tasks import Metric, opened
from vergence.data.graph.source import NodeSource
from vergence.evaluate.graph_table import graph_scores
from vergence.evaluate.score import Score
from vergence.methods.graph.meow import MEOW, AdaMEOW, weighted_info_nce


class Unweighted(MEOW):
    """All negatives weigh the same, w = 1."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__(encoder, prototypes=0.0)

    def terms(self, coarse: Tensor, fine: Tensor, asking: Tensor) -> dict[str, Tensor]:
        def weigh(rows: Tensor) -> Tensor:
            return torch.ones(len(rows), len(fine), device=fine.device)

        return {"contrast": weighted_info_nce(coarse, fine, asking, weigh, temperature=self.temperature)}


class NoContext(MEOW):
    """The fine view too sees only who meets, not through whom; what is judged is seen so, too."""

    def __init__(self, encoder: Any) -> None:
        for layer in encoder.through.values():
            nn.init.zeros_(layer.weight).requires_grad_(False)
        super().__init__(encoder)


def macro_f1(encoder: nn.Module, source: NodeSource, _: Any, seed: int) -> Score:
    return graph_scores(encoder, source, protocol="heco-20", seed=seed)["macro-F1"]


train = Training(
    "vergence.methods.graph.meow:ContextEncoder",
    {"neighbours": [110, 100]},
    epochs=60,
    settings={"lr": 2e-3},
)

RECORD = Record(
    key="meow",
    claim="Contexts, and negatives that weigh by how many clusterings keep them apart, teach the encoder.",
    task=opened("hetero:hetero/acm", Metric("Macro-F1 of a linear probe, 20 labels a class", macro_f1)),
    arms={
        "paper": train(MEOW),
        "all negatives alike, no prototypes": train(Unweighted),
        "no contexts": train(NoContext),
        "AdaMEOW": train(partial(AdaMEOW, anchors=256)),
        "untrained": train.untrained,
        "raw": raw,
    },
    rivals=("all negatives alike, no prototypes", "no contexts"),  # AdaMEOW is the paper's second form
    note="100 neighbours along the second meta-path in place of 700, which here are all alike. Epochs from "
    "the validation nodes, whose score falls after the 60th. AdaMEOW lets 256 nodes ask at each step.",
)
