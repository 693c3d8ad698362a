"""FIE on Cora: does one EM step of a mixture say more of a neighbourhood than its smoothed features?"""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.benchmarks.arms import Fitted, raw
from vergence.benchmarks.record import Record
from vergence.benchmarks.tasks import NODES, opened
from vergence.core import Estimator
from vergence.methods.graph.encoders import Readout, Table
from vergence.methods.graph.fie import FIE, FIELayer, FIENet, KernelMap, em_step
from vergence.methods.graph.transforms import normalised_adjacency, sparse


class Smoothed(Estimator):
    """T^k X: features of unit length, averaged k times over neighbours and self as GCN does (SGC)."""

    def __init__(self, *, k: int = 2) -> None:
        self.k = k

    def fit(self, source: Any, *, seed: int = 0) -> Self:
        graph = source.whole_graph()
        t = sparse(*normalised_adjacency(graph.edge_index, len(graph.x)), len(graph.x))
        x = normalize(graph.x, dim=1)
        for _ in range(self.k):
            x = t @ x
        self.encoder = Table(x)
        return self


class RandomPlaces(FIE):
    """Anchors and means drawn from the sphere instead of found by k-means."""

    def centres(self, x: Tensor, k: int, draws: torch.Generator) -> Tensor:
        return normalize(torch.randn(k, x.shape[1], generator=draws), dim=1)


class Plain(FIELayer):
    """The means after the step, from which those before it are not subtracted."""

    def forward(self, x: Tensor, hears: Tensor) -> Tensor:
        return em_step(x, self.means, hears, variance=self.variance).flatten(1)


class NoDifference(FIE):
    """Without "- mu"."""

    def network(self, in_dim: int, width: int, readout: Readout | None) -> FIENet:
        net = super().network(in_dim, width, readout)
        net.layers = nn.ModuleList(Plain(width, self.mixtures, self.variance) for _ in net.layers)
        return net


class RandomReLU(KernelMap):
    """As many random ReLU features instead of the kernel's."""

    def place(self, anchors: Tensor) -> None:
        self.anchors.copy_(torch.randn_like(anchors))  # of the record's seed

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.anchors.T).relu() / len(self.anchors) ** 0.5


class NoKernel(FIE):
    """Random ReLU features in place of every kernel map."""

    def network(self, in_dim: int, width: int, readout: Readout | None) -> FIENet:
        net = super().network(in_dim, width, readout)
        sizes = (in_dim, *[self.mixtures * width] * (self.depth - 1))
        net.maps = nn.ModuleList(RandomReLU(into, width, self.sigma) for into in sizes)
        return net


RECORD = Record(
    key="fie",
    claim="How one EM step moves a mixture towards a neighbourhood, mapped by a kernel, says more of a node "
    "than its smoothed features.",
    task=opened("planetoid:planetoid/cora", NODES),
    arms={
        "paper": Fitted(partial(FIE, width=256)),
        "T^2 X (SGC)": Fitted(partial(Smoothed, k=2)),
        "T^4 X": Fitted(partial(Smoothed, k=4)),
        "random means and anchors": Fitted(partial(RandomPlaces, width=256)),
        "one component": Fitted(partial(FIE, mixtures=1, width=256)),
        "means not subtracted": Fitted(partial(NoDifference, width=256)),
        "random ReLU instead of the kernel": Fitted(partial(NoKernel, width=256)),
        "raw": raw,
    },
    note="8 components, 4 layers, kernels of width 1 as in the paper, with 256 anchors instead of 512.",
)
