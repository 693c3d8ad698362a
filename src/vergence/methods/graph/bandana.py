"""Masked Graph Autoencoder with Non-discrete Bandwidths (Bandana), arXiv:2402.03814."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from vergence.core import BadInput, Method, Recipe
from vergence.data.graph import pyg
from vergence.methods.graph.encoders import GraphEncoder
from vergence.methods.graph.views import negatives, with_edges
from vergence.nets import Dropout


class Bandana(Method):
    """Narrow every edge at random instead of deleting some, and tell edges and their widths at every layer.

    Zhao, Chen, Chen, Yang, Wang, Liu, Liao 2024, arXiv:2402.03814. The recipe and the defaults are those for
    links of Cora, where the encoder is two graph convolutions of 128 with batch norm, ELU and dropout 0.8;
    links are scored by the product of their ends in the last layer (on Cora's validation links all layers
    side by side, from which the paper tells nodes' classes, are a point of AUC behind). Self-loops are no
    links: they are left out. Edges that a sampled neighbourhood lacks count as missing; a negative joins two
    nodes of one graph. Differs from the paper: a fixed number of epochs, where the paper stops by the
    validation links.

    Args:
        encoder: Of the kind "gcn", with layers of one width.
        temperature: Of a node's bandwidths, above 0, τ: near 0 one edge takes all, far above 1 all are alike.
        hidden: Width of the edge decoder's hidden layer.
        dropout: Of the edge decoder's input, in [0, 1).
    """

    recipe = Recipe(
        optimizer="adam", lr=1e-3, lr_scaling="none", weight_decay=5e-4, epochs=600, schedule="constant",
        clip=1.0, encoder="gcn",
    )  # fmt: skip

    def __init__(
        self, encoder: nn.Module, *, temperature: float = 0.9, hidden: int = 64, dropout: float = 0.2
    ) -> None:
        super().__init__(encoder)
        if temperature <= 0:
            raise BadInput(f"Bandana needs temperature > 0; got {temperature}.")
        if not isinstance(encoder, GraphEncoder) or encoder.name != "gcn":
            raise BadInput("Bandana weighs the edges of each layer and needs the encoder gcn.")
        width = encoder.out_dim // encoder.depth if encoder.concat else encoder.out_dim
        if set(encoder.widths) != {width}:
            raise BadInput("Bandana reads every layer with one decoder and needs layers of one width.")
        self.temperature = temperature
        self.decoder = nn.Sequential(
            Dropout(dropout), nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 2)
        )

    def views(self, graph: pyg.Data) -> pyg.Data:
        """Return the graph with ``bandwidths`` (L, E), drawn for each layer, and ``negatives`` (2, m)."""
        source, target = graph.edge_index
        view = with_edges(graph, source != target)
        if not view.edge_index.shape[1]:
            raise BadInput("Bandana learns from the edges of a graph; this one has none.")
        view.bandwidths = self.bandwidths(view)
        view.negatives = negatives(view)
        return view

    def bandwidths(self, graph: pyg.Data) -> Tensor:
        return torch.stack([bandwidths(graph, self.temperature) for _ in self.encoder.convs])  # type: ignore

    def loss(self, view: Any) -> dict[str, Tensor]:
        costs = [
            self.edge_cost(z, view.edge_index, width, view.negatives)
            for z, width in zip(self.layers(view), view.bandwidths, strict=True)
        ]
        return {"edges": torch.stack(costs).mean()}

    def layers(self, view: pyg.Data) -> list[Tensor]:
        """Return every layer's output ``(N, width)``, each heard through its own bandwidths (Sec. 4.1).

        The widths weigh the messages before the symmetric normalisation, where a node hears itself with 1.
        """
        net, z, outputs = self.encoder, view.x.float(), []
        steps = zip(net.convs, net.norms, net.acts, view.bandwidths, strict=True)  # type: ignore[arg-type]
        for i, (conv, norm, act, width) in enumerate(steps):
            z = conv(net.drop(z), conv.links(view.edge_index, len(z), width))  # type: ignore[operator]
            if net.final or i < net.depth - 1:  # type: ignore[operator]
                z = act(norm(z))
            outputs.append(z)
        return outputs

    def edge_cost(self, z: Tensor, edges: Tensor, width: Tensor, negatives: Tensor) -> Tensor:
        """Return -mean b log p(edge) - mean log p(no edge) of one layer (Sec. 4.2)."""
        log_share = log_softmax(self.decoder(z[edges[0]] * z[edges[1]]), dim=1)[:, 0]
        cost = -(width * log_share).mean()
        if not negatives.shape[1]:
            return cost
        return cost - log_softmax(self.decoder(z[negatives[0]] * z[negatives[1]]), dim=1)[:, 1].mean()


def bandwidths(graph: pyg.Data, temperature: float) -> Tensor:
    """Draw the width ``(E,)`` of every directed edge: a softmax of N(0, 1) / τ over the edges into a node."""
    from torch_geometric.utils import softmax

    target = graph.edge_index[1]
    drawn = torch.randn(len(target), device=target.device) / temperature
    return softmax(drawn, target, num_nodes=len(graph.x))
