"""GraphMAE: Self-Supervised Masked Graph Autoencoders, arXiv:2205.10803."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, leaky_relu

from vergence.core import BadInput, Method, Recipe
from vergence.data.graph import pyg
from vergence.methods.graph import encoders
from vergence.methods.graph.views import with_x
from vergence.nets import Dropout
from vergence.nets.links import Links


class GraphMAE(Method):
    """Hide the features of nodes and tell their direction from what the neighbours know.

    Hou, Liu, Cen, Dong, Yang, Wang, Tang 2022, arXiv:2205.10803. The recipe and the defaults are those for
    Cora, where the encoder is two layers of graph attention, 512 wide with 4 heads and PReLU, dropout 0.2 and
    attention dropout 0.1. The decoder is one layer of the encoder's kind and is thrown away. Of a sampled
    neighbourhood every node may be hidden, but only seeds are asked for: the others lack neighbours.
    As in the released code the mask token decays like weights, and the decoder too has dropout. Differs from
    the paper: rows of features that are all zero have no direction and are not asked for.

    Args:
        encoder: A graph encoder of ``vergence.methods.graph.encoders``, or one that has ``name`` (the
            decoder's kind), ``in_dim``, ``out_dim`` and ``nodes(graph) -> (N, D)``.
        mask_ratio: Share of the nodes that are hidden, in (0, 1).
        replace: Share of the hidden nodes that show the features of a random node instead of the mask token,
            in [0, 1), ρ.
        gamma: Exponent of the error, 1 or more, γ: above 1 it counts what is nearly right for less.
        dropout: Of the decoder's input, in [0, 1).
        attention_dropout: Of what the decoder's nodes pay to those they hear, in [0, 1), where it is graph
            attention.
    """

    recipe = Recipe(
        optimizer="adam", lr=1e-3, lr_scaling="none", weight_decay=2e-4, epochs=1500, schedule="cosine",
        encoder="gat",
    )  # fmt: skip

    def __init__(
        self,
        encoder: nn.Module,
        *,
        mask_ratio: float = 0.5,
        replace: float = 0.05,
        gamma: float = 3.0,
        dropout: float = 0.2,
        attention_dropout: float = 0.1,
    ) -> None:
        super().__init__(encoder)
        if not 0 < mask_ratio < 1:
            raise BadInput(f"GraphMAE needs mask_ratio in (0, 1); got {mask_ratio}.")
        if not 0 <= replace < 1:
            raise BadInput(f"GraphMAE needs replace in [0, 1); got {replace}.")
        if gamma < 1:
            raise BadInput(f"GraphMAE needs gamma of 1 or more; got {gamma}.")
        if not (hasattr(encoder, "nodes") and hasattr(encoder, "name")):
            raise BadInput(
                "GraphMAE needs an encoder that answers for nodes, gat, gcn, sage or gin, and decodes with "
                f"its kind; got {type(encoder).__name__}."
            )
        self.mask_ratio, self.replaced_share, self.gamma = mask_ratio, replace, gamma
        width, features = int(encoder.out_dim), int(encoder.in_dim)  # type: ignore[arg-type]
        self.token = nn.Parameter(torch.zeros(1, features))  # a matrix, so that it decays
        self.bridge = nn.Linear(width, width, bias=False)
        self.drop = Dropout(dropout)
        self.decoder = decoder_of(str(encoder.name), width, features, dropout=attention_dropout)

    def views(self, graph: pyg.Data) -> pyg.Data:
        """Return the graph with hidden features, ``hidden`` and ``blank`` (rows), and the true ``truth``.

        ``hidden`` nodes lost their features; of these the ``blank`` ones show nothing, the others what a
        random node has (Sec. 3.1).
        """
        count = len(graph.x)
        order = torch.randperm(count, device=graph.x.device)
        hidden = order[: max(1, round(self.mask_ratio * count))]
        swapped = round(self.replaced_share * len(hidden))
        x = graph.x.clone()
        x[hidden[:swapped]] = graph.x[torch.randint(count, (swapped,), device=x.device)]
        x[hidden[swapped:]] = 0
        view = with_x(graph, x)
        view.hidden, view.blank, view.truth = hidden, hidden[swapped:], graph.x
        return view

    def loss(self, view: Any) -> dict[str, Tensor]:
        tokens = self.token.to(view.x.dtype).expand(len(view.blank), -1)
        z = self.encoder.nodes(with_x(view, view.x.index_add(0, view.blank, tokens)))  # type: ignore[operator]
        known = self.remask(self.bridge(z), view.hidden)
        masked = self.masked_nodes(view)
        guess = self.decoder(self.drop(known), view.edge_index, masked)
        return {"features": self.error(guess, view.truth[masked])}

    def remask(self, z: Tensor, hidden: Tensor) -> Tensor:
        """Set the rows of hidden nodes to 0, so that only others can tell of them (Sec. 3.1)."""
        return z.index_fill(0, hidden, 0.0)

    def masked_nodes(self, view: pyg.Data) -> Tensor:
        """Return the nodes whose features are to be told: hidden, a sample of the batch, and not all zero."""
        wanted = torch.zeros(len(view.x), dtype=torch.bool, device=view.x.device)
        wanted[view.hidden] = True
        seeds = view.get("seeds")
        if seeds is not None:
            wanted &= torch.zeros_like(wanted).index_fill(0, seeds, True)
        return torch.nonzero(wanted & view.truth.any(dim=1)).flatten()

    def error(self, guess: Tensor, truth: Tensor) -> Tensor:
        return scaled_cosine_error(guess, truth, gamma=self.gamma)


def scaled_cosine_error(guess: Tensor, truth: Tensor, *, gamma: float) -> Tensor:
    """Return the mean of (1 - cos)^γ over matching rows ``(n, F)``, in [0, 2^γ]; 0 of no rows (Eq. 2).

    Zero where all point the same way; lengths do not count.

    >>> scaled_cosine_error(torch.eye(2), torch.eye(2).flip(0), gamma=3.0)
    tensor(1.)
    """
    if not len(guess):
        return guess.sum()
    away = 1 - cosine_similarity(guess.float(), truth.float(), dim=1)
    return away.clamp(min=0).pow(gamma).mean()  # rounding may take the cosine above 1


def decoder_of(kind: str, width: int, features: int, *, dropout: float = 0.0) -> nn.Module:
    """Return one graph layer ``(N, width) -> (n, features)`` of the encoder's kind, for the masked nodes."""
    return Attention(width, features, dropout) if kind == "gat" else Layer(kind, width, features)


class Layer(nn.Module):
    """One layer of the zoo of encoders, without norm and activation."""

    def __init__(self, kind: str, width: int, features: int) -> None:
        super().__init__()
        plain = {"layers": 1, "act": "none", "norm": "none", "final": False}
        self.net = encoders.build(kind, in_dim=width, width=features, **plain)

    def forward(self, z: Tensor, edge_index: Tensor, nodes: Tensor) -> Tensor:
        return self.net.nodes(pyg.Data(x=z, edge_index=edge_index))[nodes]  # type: ignore[operator]


class Attention(nn.Module):
    """Graph attention with one head, which mixes neighbours before it maps them.

    Σ_j α_ij W z_j is W Σ_j α_ij z_j: so the wide product is taken for the masked nodes only.

    Args:
        width: Of the input.
        features: Width of the output.
        dropout: Of the attention, in [0, 1).
    """

    def __init__(self, width: int, features: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.drop = Dropout(dropout)
        self.lift = nn.Linear(width, features)  # W
        nn.init.xavier_normal_(self.lift.weight, gain=math.sqrt(2))
        nn.init.zeros_(self.lift.bias)
        ends = torch.empty(2, features)  # of sender, of receiver
        self.ends = nn.Parameter(ends.normal_(std=math.sqrt(2 / features)))

    def forward(self, z: Tensor, edge_index: Tensor, nodes: Tensor) -> Tensor:
        """Return ``(n, F)`` of ``nodes`` ``(n,)``; each node also attends to itself."""
        source, target = edge_index
        own = torch.arange(len(nodes), device=z.device)
        place = torch.full((len(z),), -1, device=z.device).index_copy(0, nodes, own)
        kept = (place[target] >= 0) & (source != target)
        source, row = torch.cat([source[kept], nodes]), torch.cat([place[target[kept]], own])
        sends, hears = (z @ (self.ends @ self.lift.weight).T).unbind(dim=1)
        links = Links(torch.stack([source, row]), len(z), len(nodes))
        share = self.drop(links.softmax(leaky_relu(sends[source] + hears[nodes][row], 0.2)))
        return self.lift(links.sum(z, share))
