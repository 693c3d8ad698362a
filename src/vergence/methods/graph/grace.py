"""Deep Graph Contrastive Representation Learning (GRACE), arXiv:2006.04131."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from vergence.core import BadInput, Method, Recipe
from vergence.data.graph import pyg
from vergence.engine.distributed import gather
from vergence.losses import node_info_nce
from vergence.methods.graph.views import Pair, Share, drop_edges, mask_columns
from vergence.nets import mlp, width_of


class GRACE(Method):
    """Find each node again in another corrupted copy of its graph, among the nodes of both copies.

    Zhu, Xu, Yu, Liu, Wu, Wang 2020, arXiv:2006.04131. The recipe and the defaults are those for Cora,
    where the encoder is two graph convolutions of 256 and 128 with ReLU (Table 4). Memory grows with the
    number of nodes, not with its square. Differs from the paper: features are taken as they are, where
    the paper scales each node's to sum 1. Of a mini-batch only its seeds are compared, and of a set of
    graphs the graphs.

    Args:
        encoder: Maps a graph to ``(N, D)`` or ``Features``.
        hidden: Width of the projector's hidden layer; None takes D. Its answer is as wide as the encoder's.
        drop_edges: Share of the edges that each of the two views, or both, lose, in [0, 1), p_r.
        mask_columns: Share of the columns of features that are set to 0 in each view, in [0, 1), p_m.
        temperature: Softmax temperature, above 0, τ.
        intra: Also tell a node from the other nodes of its own view; without it only from those of the
            other view.
    """

    recipe = Recipe(
        optimizer="adam", lr=5e-4, lr_scaling="none", weight_decay=1e-5, epochs=200, schedule="constant",
        encoder="gcn",
    )  # fmt: skip

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int | None = None,
        drop_edges: Share = (0.2, 0.4),
        mask_columns: Share = (0.3, 0.4),
        temperature: float = 0.4,
        intra: bool = True,
    ) -> None:
        super().__init__(encoder)
        if temperature <= 0:
            raise BadInput(f"GRACE needs temperature > 0; got {temperature}.")
        width = width_of(encoder)
        self.project = mlp(width, hidden or width, width, norm=False, act=nn.ELU)  # g of Eq. 1
        self.temperature, self.intra = temperature, intra
        pair = Pair(drop_edges=drop_edges, mask_columns=mask_columns)
        self.drop_edges, self.mask_columns = pair.drop_edges, pair.mask_columns

    def configure_views(self, options: Mapping[str, Any]) -> None:
        own: dict[str, Any] = {"drop_edges": self.drop_edges, "mask_columns": self.mask_columns}
        pair = Pair(**{name: options.get(name, share) for name, share in own.items()})
        self.drop_edges, self.mask_columns = pair.drop_edges, pair.mask_columns

    def views(self, graph: pyg.Data) -> list[pyg.Data]:
        """Return two copies of the graph, each with edges dropped and columns masked (Sec. 3.2.2)."""
        shares = zip(self.drop_edges, self.mask_columns, strict=True)
        return [mask_columns(drop_edges(graph, edges), columns) for edges, columns in shares]

    def loss(self, views: Any) -> dict[str, Tensor]:
        u, v = (gather(self.project(self.encode(view))) for view in views)
        return {"contrast": node_info_nce(u, v, temperature=self.temperature, intra=self.intra)}  # Eq. 2
