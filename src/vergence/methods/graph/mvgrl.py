"""Contrastive Multi-View Representation Learning on Graphs (MVGRL), arXiv:2006.05582."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from vergence.core import BadInput, Features, Method, Recipe, unknown
from vergence.data.graph import pyg
from vergence.data.graph.base import GraphSource
from vergence.engine.distributed import gather
from vergence.methods.graph import encoders
from vergence.methods.graph.diffusion import heat, ppr, push, sparsify
from vergence.methods.graph.transforms import Weighted, normalised_adjacency
from vergence.nets.links import Links

EXACT = 4096  # nodes of one graph up to which its PageRank is solved for, not approximated
DIFFUSIONS = ("ppr", "heat", "none")


class MVGRL(Method):
    """Tell from a summary of the graph seen one way which nodes, seen another way, are its own.

    Hassani, Khasahmadi 2020, arXiv:2006.05582. One view is the graph, the other its diffusion. Of one
    graph, nodes of each view are told from nodes of a graph with shuffled features by the other view's
    summary; of a set of graphs, nodes are told from those of other graphs. Differs from the paper: the
    whole graph is learned from at once, not four pieces of 2,000 nodes; there is no early stopping;
    small entries of the diffusion are left out (``TwoViews.least``), which the paper does on Citeseer.

    Args:
        encoder: A ``TwoViews``.
    """

    recipe = Recipe(
        optimizer="adam", lr=1e-3, lr_scaling="none", batch=128, epochs=100, schedule="constant",
        encoder="vergence.methods.graph.mvgrl:TwoViews",
    )  # fmt: skip
    encoder: TwoViews

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, TwoViews):
            raise BadInput(f"MVGRL learns with its own encoder, TwoViews; got {type(encoder).__name__}.")
        if encoder.readout is None:
            width = encoder.out_dim
            bound = width**-0.5
            self.weight = nn.Parameter(torch.empty(width, width).uniform_(-bound, bound))
            self.bias = nn.Parameter(torch.zeros(()))

    def views(self, graph: pyg.Data) -> tuple[pyg.Data, Tensor]:
        """Return the graph, and for every node another one whose features it gets to be a negative."""
        return graph, torch.randperm(len(graph.x), device=graph.x.device)

    def loss(self, views: tuple[pyg.Data, Tensor]) -> dict[str, Tensor]:
        graph, order = views
        if self.encoder.readout is None:
            return {"contrast": self.of_nodes(graph, order)}
        return {"contrast": self.of_graphs(graph)}

    def of_nodes(self, graph: pyg.Data, order: Tensor) -> Tensor:
        """Return the cost of telling nodes from corrupted ones by the other view's summary."""
        (h1, n1), (h2, n2) = ((own[-1], other[-1]) for own, other in self.encoder.towers_on(graph, order))
        c1, c2 = (h.mean(0).sigmoid() for h in (h1, h2))
        ask = [self.weight @ c for c in (c1, c2)]
        scores = torch.cat([h2 @ ask[0], h1 @ ask[1], n2 @ ask[0], n1 @ ask[1]]) + self.bias
        mine = (torch.arange(len(scores), device=scores.device) < 2 * len(h1)).float()
        return binary_cross_entropy_with_logits(scores, mine)

    def of_graphs(self, graph: pyg.Data) -> Tensor:
        """Return the Jensen-Shannon estimate of how little nodes tell of their graph, both ways (Eq. 5)."""
        (h1, g1), (h2, g2) = self.encoder.locals_and_globals(graph)
        total = h1.new_zeros(())
        for local, whole in ((h1, gather(g2)), (h2, gather(g1))):
            scores = local @ whole.T  # (N, B)
            mine = graph.batch[:, None] == torch.arange(len(whole), device=scores.device)
            others = (~mine).sum().clamp(min=1)
            total = total + softplus(-scores[mine]).mean() + softplus(scores[~mine]).sum() / others
        return total


class TwoViews(nn.Module):
    """Graph convolutions along the graph's edges, and others along its diffusion; both answers are added.

    Of a set of graphs, the sums of every layer over a graph go side by side through a head, which both
    views share (Sec. 3.2). Edges have no direction and no weight.

    Args:
        in_dim: F, width of the features.
        width: D, of every layer.
        layers: Of each view, 1 or more.
        readout: None for the nodes of a graph, "sum" for sets of graphs.
        diffusion: Of the second view: "ppr" (personalised PageRank, Eq. 3), "heat" (Eq. 2), or "none",
            the edges once more.
        alpha: Of PageRank: share of walks that return each step, in (0, 1].
        t: Of the heat kernel: time, above 0.
        least: Entries of the diffusion below this are left out; above 0.

    Attributes:
        out_dim: D.
    """

    def __init__(
        self,
        in_dim: int,
        *,
        width: int = 512,
        layers: int = 1,
        readout: Literal["sum"] | None = None,
        diffusion: Literal["ppr", "heat", "none"] = "ppr",
        alpha: float = 0.2,
        t: float = 5.0,
        least: float = 1e-3,
    ) -> None:
        super().__init__()
        if diffusion not in DIFFUSIONS:
            raise unknown("diffusion", diffusion, DIFFUSIONS)
        if min(in_dim, width, layers) < 1 or not least > 0:
            raise BadInput(
                "MVGRL's encoder needs features, widths and layers of 1 or more and least above 0; "
                f"got {in_dim}, {width}, {layers} and {least}."
            )
        self.in_dim, self.out_dim, self.readout = in_dim, width, readout
        self.diffusion, self.alpha, self.t, self.least = diffusion, alpha, t, least
        self.towers = nn.ModuleList(Tower(in_dim, width, layers) for _ in range(2))
        if readout is not None:
            self.of_node = Shortcut(width, width)
            self.of_graph = Shortcut(layers * width, width)
        self._known: tuple[Tensor, int, list[Links]] | None = None

    @classmethod
    def for_source(cls, source: GraphSource, **options: Any) -> nn.Module:
        """Make the encoder for a source: one layer for nodes, four for sets of graphs."""
        own = {"layers": 1} if source.grain == "nodes" else {"layers": 4, "readout": "sum"}
        place = "vergence.methods.graph.mvgrl:TwoViews"
        return encoders.build(place, in_dim=source.in_dim, **{**own, **options})

    def forward(self, graph: pyg.Data) -> Features:
        if self.readout is None:
            h1, h2 = (own[-1] for own, _ in self.towers_on(graph))
            return Features(pooled=encoders.read_out(h1 + h2, graph, None))
        (_, g1), (_, g2) = self.locals_and_globals(graph)
        return Features(pooled=g1 + g2)

    def towers_on(
        self, graph: pyg.Data, order: Tensor | None = None
    ) -> list[tuple[list[Tensor], list[Tensor]]]:
        """Return of each view every layer's nodes ``(N, D)``, and those where node i has order[i]'s features.

        Without ``order`` ``(N,)`` the latter are missing.
        """
        if graph.x.shape[1] != self.in_dim:
            got = graph.x.shape[1]
            raise BadInput(f"This encoder was built for {self.in_dim} node features; the graph has {got}.")
        with torch.autocast(graph.x.device.type, enabled=False):
            views = zip(self.towers, self.matrices(graph), strict=True)
            return [tower(graph.x.float(), matrix, order) for tower, matrix in views]

    def locals_and_globals(self, graph: pyg.Data) -> list[tuple[Tensor, Tensor]]:
        """Return of each view the nodes ``(N, D)`` and the graphs ``(B, D)``, behind their heads."""
        pairs = []
        for layers, _ in self.towers_on(graph):
            sums = encoders.read_out(torch.cat(layers, dim=1), graph, self.readout)
            pairs.append((self.of_node(layers[-1]), self.of_graph(sums)))
        return pairs

    @torch.no_grad()
    def matrices(self, graph: pyg.Data) -> list[Links]:
        """Return the matrices of both views; those of the last graph are remembered."""
        edges, nodes = graph.edge_index, len(graph.x)
        if self._known is not None:
            known, count, made = self._known
            if nodes == count and known.device == edges.device and torch.equal(known, edges):
                return made
        first = normalised_adjacency(edges, nodes)
        second = first if self.diffusion == "none" else self.diffused(edges, nodes, "ptr" in graph)
        made = [
            Links(ends.to(edges.device), nodes, weight=weight.to(edges.device))
            for ends, weight in (first, second)
        ]
        self._known = edges, nodes, made
        return made

    def diffused(self, edges: Tensor, nodes: int, several: bool) -> Weighted:
        """Return the diffusion as a graph; ``several`` graphs in one are best pushed node by node."""
        if self.diffusion == "heat":
            return sparsify(heat(edges, nodes, t=self.t), eps=self.least)
        if nodes <= EXACT and not several:
            return sparsify(ppr(edges, nodes, alpha=self.alpha), eps=self.least)
        edge_index, weight = push(edges, nodes, alpha=self.alpha, eps=self.least / 10)
        kept = weight >= self.least
        return edge_index[:, kept], weight[kept]


class Tower(nn.Module):
    """Layers σ(S X Θ + b) with PReLU (Eq. 4)."""

    def __init__(self, in_dim: int, width: int, layers: int) -> None:
        super().__init__()
        widths = [in_dim, *[width] * layers]
        linears = [nn.Linear(a, b, bias=False) for a, b in pairwise(widths)]
        self.biases = nn.ParameterList(torch.zeros(width) for _ in range(layers))
        self.acts = nn.ModuleList(nn.PReLU() for _ in range(layers))
        for linear in linears:
            nn.init.xavier_uniform_(linear.weight)
        self.linears = nn.ModuleList(linears)

    def forward(
        self, x: Tensor, matrix: Links, order: Tensor | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return every layer's output, and that of features in another order, if there is one."""
        h = self.linears[0](x)  # (S X) Θ = S (X Θ), and X Θ serves both
        return self.spread(h, matrix), [] if order is None else self.spread(h[order], matrix)

    def spread(self, h: Tensor, matrix: Links) -> list[Tensor]:
        """Return every layer's output, given X Θ of the first."""
        outputs: list[Tensor] = []
        for linear, bias, act in zip(self.linears, self.biases, self.acts, strict=True):
            h = act(matrix.sum(linear(h) if outputs else h) + bias)
            outputs.append(h)
        return outputs


class Shortcut(nn.Module):
    """Three linear layers with PReLU, and a linear way past them (Sec. 3.2)."""

    def __init__(self, into: int, width: int) -> None:
        super().__init__()
        self.deep = nn.Sequential(
            nn.Linear(into, width), nn.PReLU(), nn.Linear(width, width), nn.PReLU(),
            nn.Linear(width, width), nn.PReLU(),
        )  # fmt: skip
        self.past = nn.Linear(into, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.deep(x) + self.past(x)
