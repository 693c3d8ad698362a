"""What several records on graphs share."""

from __future__ import annotations

from typing import Any

from vergence.learn.graph.transforms import row_normalise
from vergence.learn.graph.views import with_x


def scaled(source: Any, seed: int) -> tuple[Any, Any]:
    """Let each node's features sum to 1, as GRACE and GraphMAE take Cora and Citeseer."""
    graph = source.with_graph(with_x(source.data, row_normalise(source.x)))
    return graph, graph
