"""How to Find Your Friendly Neighborhood: Graph Attention Design with Self-Supervision, arXiv:2204.04879."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    leaky_relu,
)

from vergence.core import BadInput, Features, Recipe, unknown
from vergence.data.graph import pyg
from vergence.data.graph.base import GraphSource
from vergence.methods.graph.encoders import build, read_out
from vergence.methods.graph.node_labels import NodeLabels
from vergence.nets import dropout
from vergence.nets.links import Links, with_loops

Form = Literal["go", "dp", "sd", "mx"]
PLACE = "vergence.methods.graph.supergat:AttentionNet"


def non_edges(edge_index: Tensor, nodes: int, count: int) -> Tensor:
    """Draw pairs of different nodes that no edge joins, ``(2, m)``; m is ``count`` unless they run short.

    Args:
        edge_index: ``(2, E)``.
        nodes: N.
        count: How many; the same pair may come twice.
    """
    taken = torch.unique(edge_index[0] * nodes + edge_index[1])
    keys = edge_index.new_empty(0)
    for _ in range(8):  # nearly full graphs: each try finds a few
        drawn = torch.randint(nodes * nodes, (2 * count + 8,), device=edge_index.device)
        free = ~torch.isin(drawn, taken) & (drawn // nodes != drawn % nodes)
        keys = torch.cat([keys, drawn[free]])
        if len(keys) >= count:
            break
    keys = keys[:count]
    return torch.stack([keys // nodes, keys % nodes])


class SuperGATLayer(nn.Module):
    """One layer of attention whose scores also say whether two nodes are joined (Sec. 3).

    With ``h = W x`` of a head and ``s_ij = h_i . h_j``, what i pays to j is the softmax over its
    neighbours and itself of ``LeakyReLU(e_ij)``: GO ``e = a . [h_i, h_j]`` (GAT's), DP ``e = s``, SD
    ``e = s / sqrt(width)``, MX ``e = a . [h_i, h_j] sigmoid(s)``.

    Args:
        into: Width of the nodes' vectors.
        width: Of a head's answer.
        heads: H.
        form: "go", "dp", "sd" or "mx".
        average: Answer with the mean of the heads instead of all of them.
        dropout: Share of the attention that is dropped in training, in [0, 1).
    """

    def __init__(
        self, into: int, width: int, heads: int, *, form: Form, average: bool, dropout: float
    ) -> None:
        super().__init__()
        self.width, self.heads, self.form, self.average, self.dropout = width, heads, form, average, dropout
        self.weight = nn.Parameter(torch.empty(into, heads * width))
        self.bias = nn.Parameter(torch.zeros(width if average else heads * width))
        nn.init.xavier_uniform_(self.weight)
        if form in ("go", "mx"):
            bound = math.sqrt(6 / (heads + 2 * width))
            self.a = nn.Parameter(torch.empty(2, heads, width).uniform_(-bound, bound))  # of i, of j

    def project(self, x: Tensor) -> Tensor:
        """Return ``h (N, H, width)``."""
        return (x @ self.weight).unflatten(1, (self.heads, self.width))

    def _originated(self, h: Tensor, links: Links) -> Tensor:
        of_i, of_j = (h * self.a[:, None]).sum(-1)  # (N, H) each
        return of_i[links.target] + of_j[links.source]

    def scores(self, h: Tensor, links: Links) -> Tensor:
        """Return ``e (E, H)`` of links from j to i, before LeakyReLU."""
        if self.form == "go":
            return self._originated(h, links)
        s = links.dot(h, h)
        if self.form == "mx":
            return self._originated(h, links) * s.sigmoid()
        return s / math.sqrt(self.width) if self.form == "sd" else s

    def joined(self, h: Tensor, links: Links) -> Tensor:
        """Return the logit ``(E,)`` that an edge goes from j to i: the mean of the heads' scores (Eq. 4).

        MX is asked by its mask s, as the paper says, not by e.
        """
        scores = links.dot(h, h) if self.form == "mx" else self.scores(h, links)
        return scores.mean(1)

    def attention(self, h: Tensor, links: Links) -> Tensor:
        """Return what each node pays to those it hears, ``(E, H)``; sums to 1 a node and head."""
        return links.softmax(leaky_relu(self.scores(h, links), 0.2))

    def forward(self, h: Tensor, links: Links) -> Tensor:
        out = links.sum(h, dropout(self.attention(h, links), self.dropout, self.training))
        return (out.mean(1) if self.average else out.flatten(1)) + self.bias


class AttentionNet(nn.Module):
    """Two layers of attention, the second one with a number a class.

    Features, as they come, and the vectors between the layers are dropped in training.

    Args:
        in_dim: F.
        classes: C, width of the answer.
        width: Of a head of the first layer.
        heads: Of either layer; those of the second are averaged.
        form: "go" (with no self-supervision this is GAT), "dp", "sd" or "mx".
        dropout: Of features and attention, in [0, 1).
    """

    def __init__(
        self,
        in_dim: int,
        classes: int,
        *,
        width: int = 8,
        heads: int = 8,
        form: Form = "mx",
        dropout: float = 0.6,
    ) -> None:
        super().__init__()
        if form not in get_args(Form):
            raise unknown("form of attention", form, get_args(Form))
        if min(in_dim, classes, width, heads) < 1 or not 0 <= dropout < 1:
            raise BadInput(
                "AttentionNet needs in_dim, classes, width and heads of 1 or more and dropout in [0, 1)."
            )
        self.in_dim, self.out_dim, self.dropout = in_dim, classes, dropout
        self.first = SuperGATLayer(in_dim, width, heads, form=form, average=False, dropout=dropout)
        self.second = SuperGATLayer(width * heads, classes, heads, form=form, average=True, dropout=dropout)
        self.spec: dict[str, Any] = {}

    @classmethod
    def for_source(cls, source: GraphSource, **options: Any) -> nn.Module:
        """Make the network with a number for each class of the source."""
        if source.labels is None or source.labels.max() < 0:
            raise BadInput(f"SuperGAT learns from labels of nodes; {source.uri} has none.")
        return build(PLACE, in_dim=source.in_dim, classes=int(source.labels.max()) + 1, **options)

    def layers(self, graph: pyg.Data) -> list[tuple[SuperGATLayer, Tensor, Tensor]]:
        """Return (layer, its ``h (N, H, width)``, its answer) of both layers."""
        links = Links(with_loops(graph.edge_index, len(graph.x)), len(graph.x))
        with torch.autocast(graph.x.device.type, enabled=False):  # sums over neighbours want all the digits
            x = dropout(graph.x.float(), self.dropout, self.training)
            h1 = self.first.project(x)
            x1 = self.first(h1, links)
            h2 = self.second.project(dropout(nn.functional.elu(x1), self.dropout, self.training))
            return [(self.first, h1, x1), (self.second, h2, self.second(h2, links))]

    def attention(self, graph: pyg.Data) -> list[tuple[Tensor, Tensor]]:
        """Return what nodes pay to those they hear, as ``GraphEncoder.attention`` does."""
        edges = with_loops(graph.edge_index, len(graph.x))
        links = Links(edges, len(graph.x))
        return [(edges, layer.attention(h, links)) for layer, h, _ in self.layers(graph)]

    def edge_probability(self, graph: pyg.Data, pairs: Tensor) -> Tensor:
        """Return how likely edges ``(2, P)`` are by the last layer, ``(P,)`` in [0, 1]."""
        layer, h, _ = self.layers(graph)[-1]
        return layer.joined(h, Links(pairs, len(h))).sigmoid()

    def nodes(self, graph: pyg.Data) -> Tensor:
        """Return the logits of all nodes, ``(N, C)``."""
        return self.layers(graph)[-1][2]

    def forward(self, graph: pyg.Data) -> Features:
        return Features(pooled=read_out(self.nodes(graph), graph, None))


class SuperGAT(NodeLabels):
    """Teach attention, beside the task, to tell a graph's edges from non-edges: it learns whom to trust.

    Kim and Oh 2021, arXiv:2204.04879. Labels of the training nodes of the source's usual split are looked
    at (of all nodes where it has no split); the weights that classify its validation nodes best are kept,
    of equals the last. Defaults are Cora's for MX. Which form is best depends on the graph: SD where links
    are dense and mostly within a class, MX elsewhere; of very low homophily none gains (Sec. 5).

    Differs from the released code: a node's own loop is no positive example. Differs from the paper: biases
    are spared from λ_2.

    Args:
        encoder: An ``AttentionNet``.
        edge_weight: λ_E, of the self-supervision summed over layers; 0 or more.
        edge_share: Share of the edges that each step asks about, in (0, 1], p_e.
        negatives: Non-edges for each of them, above 0, p_n.
    """

    recipe = Recipe(
        optimizer="adam", lr=5e-3, lr_scaling="none", weight_decay=8.228864972965771e-3, epochs=500,
        schedule="constant", encoder=PLACE,
    )  # fmt: skip
    encoder: AttentionNet

    def __init__(
        self,
        encoder: AttentionNet,
        *,
        edge_weight: float = 11.346574532931719,
        edge_share: float = 0.8,
        negatives: float = 0.5,
    ) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, AttentionNet):
            raise BadInput(f"SuperGAT teaches the attention of {PLACE}; leave --encoder out.")
        if edge_weight < 0 or not 0 < edge_share <= 1 or negatives <= 0:
            raise BadInput(
                "SuperGAT needs edge_weight >= 0, edge_share in (0, 1] and negatives > 0; "
                f"got {edge_weight}, {edge_share} and {negatives}."
            )
        self.edge_weight, self.edge_share, self.negatives = edge_weight, edge_share, negatives

    def views(self, graph: pyg.Data) -> pyg.Data:
        return graph

    def loss(self, graph: pyg.Data) -> dict[str, Tensor]:
        layers = self.encoder.layers(graph)
        known = self.teaches[graph.index.cpu()].to(graph.index.device)  # (B,)
        logits = read_out(layers[-1][2], graph, None)
        terms = {"label": cross_entropy(logits[known], graph.label[known], reduction="sum")}
        terms["label"] = terms["label"] / known.sum().clamp(min=1)
        if self.edge_weight > 0:
            pairs, truth = self.edge_pairs(graph)
            links = Links(pairs, len(graph.x))
            costs = [
                binary_cross_entropy_with_logits(layer.joined(h, links), truth, reduction="sum")
                for layer, h, _ in layers
            ]
            terms["edge"] = self.edge_weight * torch.stack(costs).sum() / max(1, len(truth))
        return terms

    def edge_pairs(self, graph: pyg.Data) -> tuple[Tensor, Tensor]:
        """Draw edges and non-edges ``(2, P)`` and which they are, 1 or 0, ``(P,)``."""
        edges = graph.edge_index[:, graph.edge_index[0] != graph.edge_index[1]]
        count = int(self.edge_share * edges.shape[1])
        present = edges[:, torch.randperm(edges.shape[1], device=edges.device)[:count]]
        absent = non_edges(edges, len(graph.x), int(self.negatives * count))
        pairs = torch.cat([present, absent], dim=1)
        return pairs, (torch.arange(pairs.shape[1], device=pairs.device) < present.shape[1]).float()
