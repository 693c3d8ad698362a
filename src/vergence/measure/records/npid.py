"""NPID on CIFAR-10: does a memory of features do better than a weight for every photo?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from vergence.data import Source
from vergence.learn.image.npid import NPID
from vergence.measure.record import Record


class Parametric(NPID):
    """A learned weight vector for every photo, Eq. 1, in place of the memory."""

    def setup(self, source: Source) -> None:
        rows = torch.randn(len(source), self.project.out_features)
        self.weight = nn.Parameter(normalize(rows, dim=1))

    def loss(self, views: Any) -> dict[str, Tensor]:
        view, index = views
        return {"instance": cross_entropy(self.code(view) @ self.weight.T / self.temperature, index)}


RECORD = Record(
    key="npid",
    claim="Photos told apart by a memory of their own features, at a low temperature, lie near their kind.",
    arms={
        "paper": NPID,
        "weight per photo": Parametric,
        "temperature 1": lambda encoder: NPID(encoder, temperature=1.0),
    },
    train=10_000,
    test=5_000,
    epochs=7,
    batch=128,
    encoder="resnet-tiny",
    options={"width": 32},
    note="7 epochs of a small residual net on a fifth of the photos; the paper: 200 of a ResNet-18 on all.",
)
