"""Raw features: the baseline that learned vectors of graphs have to beat."""

from __future__ import annotations

from torch import Tensor, nn

from vergence.data.graph import pyg
from vergence.data.graph.base import GraphSource
from vergence.methods.graph.encoders import read_out


class RawFeatures(nn.Module):
    """Nodes' features as they are; of sets of graphs, their sum over each graph.

    Where a graph has none, they are its degrees, one-hot.
    """

    def forward(self, batch: pyg.Data) -> Tensor:
        return read_out(batch.x.float(), batch, "sum" if "ptr" in batch else None)


def raw(source: GraphSource, encoder: nn.Module) -> dict[str, nn.Module]:
    """Return raw features."""
    return {"raw features": RawFeatures()}
