"""Edge Representation Learning with Hypergraphs, arXiv:2106.15845."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from vergence.core import BadInput, Features, Method, Recipe
from vergence.data import Source
from vergence.data.graph import pyg
from vergence.data.graph.base import GraphSource
from vergence.data.graph.source import GraphsSource
from vergence.methods.graph.augment import lowest
from vergence.methods.graph.encoders import build
from vergence.methods.graph.layers import GCN
from vergence.nets.links import Links

PLACE = "vergence.methods.graph.ehgnn:HyperEncoder"


@dataclass(frozen=True)
class Dual:
    """The dual hypergraph of a batch: edges become nodes, nodes become hyperedges (DHT, Sec. 3.2).

    Args:
        ends: ``(2, M)``, the edges, each once, smaller end first.
        column: ``(M,)``, where each stands in ``edge_index``.
        graph: ``(M,)``, the graph each is part of, ascending.
        graphs: B.
        incidence: ``(2, K)``, columns (edge, hyperedge): nodes of two or more edges, and, numbered
            behind them, a hyperedge of each edge's own.
    """

    ends: Tensor
    column: Tensor
    graph: Tensor
    graphs: int
    incidence: Tensor

    @staticmethod
    def of(ends: Tensor, column: Tensor, graph: Tensor, graphs: int, nodes: int) -> Dual:
        """Transpose the incidence of some edges; time and memory grow with their number M."""
        m = ends.shape[1]
        edges = torch.arange(m, device=ends.device)
        member = torch.stack([edges.repeat_interleave(2), ends.T.flatten()])
        shared = torch.bincount(member[1], minlength=nodes)[member[1]] > 1
        own = torch.stack([edges, nodes + edges])
        return Dual(ends, column, graph, graphs, torch.cat([member[:, shared], own], dim=1))

    def keep(self, kept: Tensor, nodes: int) -> Dual:
        """Return the dual with only the edges that ``kept`` ``(M,)`` marks."""
        return Dual.of(self.ends[:, kept], self.column[kept], self.graph[kept], self.graphs, nodes)


def dual(graph: pyg.Data) -> Dual:
    """Return the dual hypergraph of a batch of undirected graphs; self-loops are left out."""
    once = graph.edge_index[0] < graph.edge_index[1]
    ends = graph.edge_index[:, once]
    return Dual.of(ends, once.nonzero()[:, 0], graph.batch[ends[0]], int(graph.num_graphs), len(graph.x))


def edge_features(graph: pyg.Data, column: Tensor) -> Tensor:
    """Return what edges carry, ``(M, G)``; where they carry nothing, the sum of their ends' features."""
    if graph.get("edge_attr") is not None:
        return graph.edge_attr[column].float()
    i, j = graph.edge_index[:, column]
    return graph.x[i] + graph.x[j]


def edge_width(source: GraphSource) -> int:
    """Return G of ``edge_features``."""
    values = source.data.get("edge_attr")
    return source.in_dim if values is None else values.shape[1]


def carried(graph: pyg.Data, column: Tensor) -> Tensor:
    """Return what edges carry, ``(M, G)``; where they carry nothing, 1 each, as released."""
    if graph.get("edge_attr") is not None:
        return graph.edge_attr[column].float()
    return graph.x.new_ones(len(column), 1)


class HyperConv(nn.Module):
    """Messages from edges to their nodes and back: ``D^-1 M^T B^-1 M E Theta``, plus a bias (Eq. 3).

    Each hyperedge takes the mean of its members, each member the mean of its hyperedges.

    Args:
        into: Width of the edges' vectors.
        width: Of the answer.
    """

    def __init__(self, into: int, width: int) -> None:
        super().__init__()
        self.theta = nn.Linear(into, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, e: Tensor, incidence: Tensor) -> Tensor:
        hyperedge = incidence[1]
        count = int(hyperedge.max()) + 1 if len(hyperedge) else 0
        links = Links(incidence, len(e), count)
        return mean_message(mean_message(self.theta(e), links), links.transposed()) + self.bias


def mean_message(values: Tensor, links: Links) -> Tensor:
    """Return for each hearer the mean of the values that it hears, or 0."""
    total = links.sum(values)
    return total / torch.bincount(links.target, minlength=len(total)).clamp(min=1)[:, None]


def readout(values: Tensor, row: Tensor, count: int) -> Tensor:
    """Return max, mean and sum over each graph side by side, ``(count, 3 D)``; 0 where there is nothing."""
    empty = values.new_zeros(count, values.shape[1])
    most = empty.scatter_reduce(0, row[:, None].expand_as(values), values, "amax", include_self=False)
    total = empty.index_add(0, row, values)
    mean = total / torch.bincount(row, minlength=count).clamp(min=1)[:, None]
    return torch.cat([most, mean, total], dim=1)


class HyperEncoder(nn.Module):
    """Graphs -> vectors of their edges, and of them one a graph, ``(B, 3 width)``.

    Args:
        in_dim: Width of ``edge_features``.
        width: Of the edges' vectors.
        layers: Hypergraph convolutions.

    Attributes:
        out_dim: 3 width: max, mean and sum over a graph's edges.
        width: Of the edges' vectors.
    """

    def __init__(self, in_dim: int, width: int = 32, layers: int = 2) -> None:
        super().__init__()
        if min(in_dim, width, layers) < 1:
            raise BadInput(f"HyperEncoder needs numbers of 1 or more; got {in_dim}, {width}, {layers}.")
        self.in_dim, self.width, self.out_dim = in_dim, width, 3 * width
        self.convs = nn.ModuleList(HyperConv(a, width) for a in [in_dim, *[width] * (layers - 1)])

    @classmethod
    def for_source(cls, source: GraphSource, **options: Any) -> nn.Module:
        """Make the network for the features of a source's edges."""
        return build(PLACE, **{"in_dim": edge_width(source), **options})

    def edges(self, graph: pyg.Data, transposed: Dual) -> Tensor:
        """Return one vector an edge, ``(M, width)``."""
        e = edge_features(graph, transposed.column)
        if e.shape[1] != self.in_dim:
            raise BadInput(
                f"This encoder was built for {self.in_dim} edge features; the graph has {e.shape[1]}."
            )
        with torch.autocast(e.device.type, enabled=False):
            for conv in self.convs:
                e = conv(e, transposed.incidence).relu()
        return e

    def forward(self, graph: pyg.Data) -> Features:
        hypergraph = dual(graph)
        return Features(pooled=readout(self.edges(graph, hypergraph), hypergraph.graph, hypergraph.graphs))


class HyperCluster(nn.Module):
    """Pool the edges of each graph into K clusters, and bring clusters back to edges (Sec. 3.3).

    Args:
        width: Of the edges' vectors.
        clusters: K.
    """

    def __init__(self, width: int, clusters: int) -> None:
        super().__init__()
        self.seeds = nn.Parameter(torch.empty(clusters, width))
        nn.init.xavier_uniform_(self.seeds)
        self.query, self.last = nn.Linear(width, width), nn.Linear(width, width)
        self.key, self.value = HyperConv(width, width), HyperConv(width, width)

    def forward(self, e: Tensor, transposed: Dual) -> tuple[Tensor, Tensor]:
        """Return the clusters ``(B, K, width)`` and the assignment ``C (M, K)``, whose rows sum to 1."""
        key, value = (conv(e, transposed.incidence) for conv in (self.key, self.value))
        query = self.query(self.seeds)
        share = (key @ query.T / math.sqrt(e.shape[1])).softmax(dim=1)
        each = share[:, :, None] * value[:, None]  # (M, K, width)
        pooled = each.new_zeros(transposed.graphs, *each.shape[1:]).index_add_(0, transposed.graph, each)
        pooled = query + pooled
        return pooled + self.last(pooled).relu(), share

    def unpool(self, clusters: Tensor, share: Tensor, transposed: Dual) -> Tensor:
        """Return the edges' vectors ``(M, width)`` that the clusters say: each edge asks its own."""
        return torch.einsum("mk,mkd->md", share, clusters[transposed.graph])


class HyperDrop(nn.Module):
    """Graphs -> one vector a graph, ``(B, 3 width)``, from nodes that talk over the edges that matter.

    After every layer but the last the edges are scored by a hypergraph convolution, and the best of each
    graph are kept, nodes all; the score, in (0, 1), weighs the next layer's edges (Eq. 6). Differs from the
    released code: an edge is dropped in both directions at once.

    Args:
        in_dim: Width F of the nodes' features.
        edge_dim: Width of what edges carry, 1 where they carry nothing.
        width: Of all vectors.
        layers: Graph convolutions.
        ratio: Share of the edges that are kept each time, in (0, 1].
    """

    def __init__(
        self, in_dim: int, edge_dim: int, width: int = 128, layers: int = 3, ratio: float = 0.65
    ) -> None:
        super().__init__()
        if min(in_dim, edge_dim, width, layers) < 1 or not 0 < ratio <= 1:
            raise BadInput(
                "HyperDrop needs in_dim, edge_dim, width and layers of 1 or more and ratio in (0, 1]; "
                f"got {in_dim}, {edge_dim}, {width}, {layers} and {ratio}."
            )
        self.out_dim, self.ratio = 3 * width, ratio
        self.convs = nn.ModuleList(GCN(a, width) for a in [in_dim, *[width] * (layers - 1)])
        inner = [edge_dim, *[width] * (layers - 2)][: layers - 1]
        self.hyperconvs = nn.ModuleList(HyperConv(a, width) for a in inner)
        self.scores = nn.ModuleList(HyperConv(width, 1) for _ in inner)

    @classmethod
    def for_source(cls, source: GraphSource, **options: Any) -> nn.Module:
        """Make the network for the features of a source's nodes and edges."""
        values = source.data.get("edge_attr")
        known = {"in_dim": source.in_dim, "edge_dim": 1 if values is None else values.shape[1]}
        return build(f"{cls.__module__}:{cls.__name__}", **{**known, **options})

    def choose(self, score: Tensor, transposed: Dual) -> Tensor:
        """Mark the edges that are kept, ``(M,)``: the best of each graph."""
        sizes = torch.bincount(transposed.graph, minlength=transposed.graphs)
        return lowest(-score, transposed.graph, torch.ceil(self.ratio * sizes - 1e-6).long())

    def forward(self, graph: pyg.Data) -> Features:
        x, hypergraph = graph.x, dual(graph)
        nodes, total = len(x), x.new_zeros(int(graph.num_graphs), self.out_dim)
        e, weight = carried(graph, hypergraph.column), x.new_ones(len(hypergraph.column))
        for i, conv in enumerate(self.convs):
            both = torch.cat([hypergraph.ends, hypergraph.ends.flip(0)], dim=1)
            x = conv(x, GCN.links(both, nodes, weight.repeat(2))).relu()
            total = total + readout(x, graph.batch, len(total))
            if i < len(self.hyperconvs):
                e = self.hyperconvs[i](e, hypergraph.incidence).relu()
                score = self.scores[i](e, hypergraph.incidence)[:, 0].tanh()
                kept = self.choose(score, hypergraph)
                hypergraph, e, weight = hypergraph.keep(kept, nodes), e[kept], score[kept].clamp(0, 1)
        return Features(pooled=total)


class EHGNN(Method):
    """Learn vectors of edges by telling what edges carry, seen through a few clusters of each graph.

    Jo, Baek, Lee, Kim, Kang, Hwang 2021, arXiv:2106.15845: the reconstruction of Sec. 4.1. Edges of graphs
    that carry nothing tell the sum of their ends' features. Differs from the released code: one head of
    attention, not several, and both directions of an edge are one node of the dual. For labelled graphs
    ``HyperDrop`` is an encoder of its own.

    Args:
        encoder: ``HyperEncoder``.
        ratio: Clusters a graph, as a share of the mean number of edges, in (0, 1].
    """

    recipe = Recipe(
        optimizer="adam", lr=5e-4, lr_scaling="none", batch=128, epochs=500, weight_decay=1e-4,
        schedule="constant", encoder=PLACE,
    )  # fmt: skip
    encoder: HyperEncoder

    def __init__(self, encoder: nn.Module, *, ratio: float = 0.15) -> None:
        super().__init__(encoder)
        if not 0 < ratio <= 1:
            raise BadInput(f"EHGNN needs ratio in (0, 1]; got {ratio}.")
        if not isinstance(encoder, HyperEncoder):
            raise BadInput("ehgnn reads the edges of its own encoder; leave --encoder out.")
        self.ratio, self.kinds = ratio, False

    def setup(self, source: Source) -> None:
        """Build the clusters for the mean number of edges, and see whether edges are of kinds or numbers."""
        if not isinstance(source, GraphsSource):
            raise BadInput(f"ehgnn pools the edges of each of many graphs; {source.uri} is one graph.")
        i, j = source.data.edge_index
        mean = max(1.0, int((i < j).sum()) / (len(source.ptr) - 1))
        values = source.data.get("edge_attr")
        if values is not None:
            self.kinds = bool(((values == 0) | (values == 1)).all() and (values.sum(1) == 1).all())
        width = self.encoder.width
        self.cluster = HyperCluster(width, math.ceil(self.ratio * mean))
        self.unconvs = nn.ModuleList(HyperConv(width, width) for _ in self.encoder.convs)
        self.last = HyperConv(width, self.encoder.in_dim)

    def views(self, batch: pyg.Data) -> pyg.Data:
        """Return the graphs as they are: the bottleneck hides enough."""
        return batch

    def reconstruct(self, graph: pyg.Data, transposed: Dual) -> Tensor:
        """Return scores of kinds, or numbers, of every edge, ``(M, G)``."""
        clusters, share = self.cluster(self.encoder.edges(graph, transposed), transposed)
        e = self.cluster.unpool(clusters, share, transposed)
        for conv in self.unconvs:
            e = conv(e, transposed.incidence).relu()
        return self.last(e, transposed.incidence)

    def loss(self, views: pyg.Data) -> dict[str, Tensor]:
        hypergraph = dual(views)
        guess, wanted = self.reconstruct(views, hypergraph), edge_features(views, hypergraph.column)
        if not self.kinds:
            return {"squared_error": mse_loss(guess, wanted)}
        self.watch("accuracy", (guess.argmax(1) == wanted.argmax(1)).float().mean())
        return {"kind": cross_entropy(guess, wanted)}
