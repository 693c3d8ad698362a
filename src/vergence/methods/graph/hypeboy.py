"""HypeBoy: Generative Self-Supervised Representation Learning on Hypergraphs, arXiv:2404.00638."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from vergence.core import BadInput, Features, Method, Recipe
from vergence.data import Source
from vergence.data.graph import pyg
from vergence.data.graph.base import GraphSource
from vergence.losses import info_nce
from vergence.methods.graph.encoders import read_out
from vergence.methods.graph.views import with_x
from vergence.nets import Dropout, mlp, width_of
from vergence.nets.links import Links


class HypeBoy(Method):
    """Name the missing member of every group.

    Kim, Kang, Bu, Lee, Yoo, Shin 2024, arXiv:2404.00638. Training has two stages, told apart by the clock:
    hidden features are reconstructed, then each member of each hyperedge is found by the sum of the others.
    Differs from the released code: the reconstructing decoder is as wide as the encoder, with a linear map to
    the features at its end, where theirs is as wide as the features; Adam is not restarted between the
    stages; the mean degree of a hyperedge's members is not rounded down; single-member hyperedges are kept or
    dropped like all others; the mean over the pairs (hyperedge, member) is minimised, not the sum.

    Args:
        encoder: Maps a hypergraph to ``(N, D)`` or ``Features``, and has ``in_dim``.
        mask_nodes: Share of the nodes whose features are hidden in the first stage, in (0, 1).
        first_drop: Share of the hyperedges dropped in the first stage, in [0, 1).
        drop_features: Chance of each entry of the features to be zero in the second stage, in [0, 1), p_v.
        drop_hyperedges: Share of the hyperedges dropped in the second stage, in [0, 1), p_e.
        reconstruct: Share of the steps that the first stage takes, in [0, 1]; the paper's are 300 of 500.
        heads: Compare outputs of two projection heads, which are thrown away, and not embeddings.
    """

    recipe = Recipe(
        optimizer="adam", lr=1e-3, lr_scaling="none", weight_decay=1e-6, epochs=500, schedule="constant",
        encoder="vergence.methods.graph.hypeboy:UniGCNII",
    )  # fmt: skip

    def __init__(
        self,
        encoder: nn.Module,
        *,
        mask_nodes: float = 0.5,
        first_drop: float = 0.2,
        drop_features: float = 0.4,
        drop_hyperedges: float = 0.9,
        reconstruct: float = 0.6,
        heads: bool = True,
    ) -> None:
        super().__init__(encoder)
        if not all(0 <= share < 1 for share in (first_drop, drop_features, drop_hyperedges)):
            raise BadInput(
                f"HypeBoy needs first_drop, drop_features and drop_hyperedges in [0, 1); "
                f"got {first_drop}, {drop_features} and {drop_hyperedges}."
            )
        if not 0 < mask_nodes < 1 or not 0 <= reconstruct <= 1:
            raise BadInput(
                f"HypeBoy needs mask_nodes in (0, 1) and reconstruct in [0, 1]; "
                f"got {mask_nodes} and {reconstruct}."
            )
        width = width_of(encoder)
        if reconstruct > 0:
            features = int(encoder.in_dim)  # type: ignore[arg-type]
            self.hidden = nn.Parameter(torch.zeros(features))  # stands for features
            self.remasked = nn.Parameter(torch.zeros(width))  # stands for embeddings
            self.decoder = UniGCNII(width, width=width)
            self.to_features = nn.Linear(width, features)
        if reconstruct < 1 and heads:
            self.key, self.query = (mlp(width, width, width, norm=False) for _ in range(2))  # h1, h2
        self.mask_nodes, self.first_drop = mask_nodes, first_drop
        self.drop_features, self.drop_hyperedges = drop_features, drop_hyperedges
        self.reconstruct, self.heads = reconstruct, heads

    def setup(self, source: Source) -> None:
        """Refuse what has no groups of two or more."""
        members = source.data.get("hyperedge_index") if isinstance(source, GraphSource) else None
        if members is None or not (torch.bincount(members[1]) >= 2).any():
            raise BadInput(
                f"HypeBoy learns from hyperedges of two or more nodes, of which {source.uri} has none; "
                f"open hyper:FILE, a hyperedge a line."
            )

    @property
    def first_stage(self) -> bool:
        return self.clock.step < self.reconstruct * self.clock.total

    def views(self, graph: pyg.Data) -> tuple[pyg.Data, Tensor]:
        """Return a damaged copy, and the hidden nodes ``(N,)`` or, later, what to fill: all memberships."""
        if self.first_stage:
            n = len(graph.x)
            masked = torch.zeros(n, dtype=torch.bool, device=graph.x.device)
            masked[torch.randperm(n, device=graph.x.device)[: max(1, int(self.mask_nodes * n))]] = True
            return drop_hyperedges(graph, self.first_drop), masked
        kept = torch.rand_like(graph.x) >= self.drop_features
        return drop_hyperedges(with_x(graph, graph.x * kept), self.drop_hyperedges), graph.hyperedge_index

    def loss(self, views: tuple[pyg.Data, Tensor]) -> dict[str, Tensor]:
        view, target = views
        if self.first_stage:
            return {"reconstruct": self.reconstruction(view, target)}
        return {"fill": self.filling(self._nodes(view), target)}

    def reconstruction(self, view: pyg.Data, masked: Tensor) -> Tensor:
        """Return the mean of 1 - cos between hidden features and their reconstruction."""
        z = self._nodes(with_x(view, torch.where(masked[:, None], self.hidden, view.x)))
        z = torch.where(masked[:, None], self.remasked, z)
        guess = self.to_features(self.decoder.nodes(with_x(view, z))[masked])
        return (1 - cosine_similarity(view.x[masked], guess, dim=1, eps=1e-6)).mean()

    def filling(self, z: Tensor, members: Tensor) -> Tensor:
        """Return -log p(v | e without v), averaged over every hyperedge e of 2 or more and each member v.

        Args:
            z: ``(N, D)`` node vectors.
            members: ``(2, K)`` (node, hyperedge) of all hyperedges, those that the view lacks too.

        Here p is a softmax over all nodes of cosines with the key h1(z_v), and the query
        is h2 of the sum of the other members.
        """
        node, edge = members[:, torch.bincount(members[1])[members[1]] >= 2]
        total = z.new_zeros(int(edge.max()) + 1, z.shape[1]).index_add(0, edge, z[node])
        others = total[edge] - z[node]
        if self.heads:
            return info_nce(self.query(others), self.key(z), own=node, temperature=1.0)
        return info_nce(others, z, own=node, temperature=1.0)

    def _nodes(self, view: pyg.Data) -> Tensor:
        return self.encode(view)


class UniGCNII(nn.Module):
    """Features and memberships -> ``Features`` of the nodes (UniGCNII, arXiv:2105.00956, Sec. 3.2).

    Args:
        in_dim: Width F of ``x``.
        width: D.
        layers: Rounds of nodes to hyperedges to nodes.
        dropout: Of each layer's input, in [0, 1).
        alpha: Share of the first layer's vectors that each round mixes in, in [0, 1], α.
        strength: λ of β_l = log(λ / l + 1), the weight of round l's own matrix.

    Raises:
        BadInput: If the graph has no ``hyperedge_index``, or features of another width.
    """

    def __init__(
        self,
        in_dim: int,
        *,
        width: int = 128,
        layers: int = 2,
        dropout: float = 0.5,
        alpha: float = 0.1,
        strength: float = 0.5,
    ) -> None:
        super().__init__()
        self.in_dim, self.out_dim = in_dim, width
        self.first = nn.Linear(in_dim, width)
        self.mixes = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers))
        self.drop = Dropout(dropout)
        self.alpha, self.strength = alpha, strength

    def nodes(self, graph: pyg.Data) -> Tensor:
        """Return one vector a node, ``(N, D)``."""
        members = graph.get("hyperedge_index")
        if members is None:
            raise BadInput("UniGCNII reads hypergraphs; open hyper:FILE, a hyperedge a line.")
        if graph.x.shape[1] != self.in_dim:
            raise BadInput(
                f"This encoder was built for {self.in_dim} node features; the graph has {graph.x.shape[1]}."
            )
        with torch.autocast(graph.x.device.type, enabled=False):  # sums over members want all the digits
            return self._rounds(graph.x.float(), members, int(graph.num_hyperedges))

    def _rounds(self, x: Tensor, members: Tensor, many: int) -> Tensor:
        node, edge = members
        x = start = self.first(self.drop(x)).relu()
        to_edges = Links(members, len(x), many)
        to_nodes = to_edges.transposed()
        ones = torch.ones(len(node), device=x.device)
        size = x.new_zeros(many).index_add(0, edge, ones).clamp(min=1)
        degree = x.new_zeros(len(x)).index_add(0, node, ones)
        mean_degree = x.new_zeros(many).index_add(0, edge, degree[node]) / size
        into = (mean_degree.clamp(min=1).rsqrt() / size)[:, None]  # of sums over members
        out = degree.clamp(min=1).rsqrt()[:, None]
        for i, mix in enumerate(self.mixes, 1):
            x = to_nodes.sum(to_edges.sum(self.drop(x)) * into) * out
            x = (1 - self.alpha) * x + self.alpha * start
            beta = math.log(self.strength / i + 1)
            x = (1 - beta) * x + beta * mix(x)
            if i < len(self.mixes):
                x = x.relu()
        return x

    def forward(self, graph: pyg.Data) -> Features:
        return Features(pooled=read_out(self.nodes(graph), graph, None))


def drop_hyperedges(graph: pyg.Data, share: float) -> pyg.Data:
    """Drop whole hyperedges; a node that is left without any gets one of its own.

    Args:
        graph: With ``hyperedge_index`` and ``num_hyperedges``.
        share: Of the hyperedges, rounded down to a whole number, in [0, 1).
    """
    node, edge = graph.hyperedge_index
    many, view = int(graph.num_hyperedges), copy.copy(graph)
    kept = torch.zeros(many, dtype=torch.bool, device=edge.device)
    kept[torch.randperm(many, device=edge.device)[int(share * many) :]] = True
    stays = kept[edge]
    node, edge = node[stays], (kept.cumsum(0) - 1)[edge[stays]]
    alone = torch.nonzero(torch.bincount(node, minlength=len(graph.x)) == 0)[:, 0]
    left = int(kept.sum())
    own = left + torch.arange(len(alone), device=edge.device)
    view.hyperedge_index = torch.stack([torch.cat([node, alone]), torch.cat([edge, own])])
    view.num_hyperedges = left + len(alone)
    return view
