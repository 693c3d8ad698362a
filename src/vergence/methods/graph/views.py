"""The kinds of views that graphs supply: whole batches, on the device, without a loop over nodes or graphs.

Every function takes a PyG ``Data`` or ``Batch`` and returns another one; the given one stays as it
was. Random numbers come from torch's default generators, which the engine seeds before every step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vergence.core import BadInput, unknown
from vergence.data.graph import pyg

Share = float | Sequence[float]


def with_edges(graph: pyg.Data, kept: Tensor) -> pyg.Data:
    """Return the graph with only the edges that ``kept`` ``(E,)`` marks, and their values."""
    edges, view = graph.edge_index.shape[1], copy.copy(graph)
    for name, value in graph.to_dict().items():
        if name == "edge_index":
            view[name] = value[:, kept]
        elif name.startswith("edge_") and isinstance(value, Tensor) and len(value) == edges:
            view[name] = value[kept]
    return view


def with_x(graph: pyg.Data, x: Tensor) -> pyg.Data:
    """Return the graph with other features ``(N, F)``."""
    view = copy.copy(graph)
    view.x = x
    return view


def drop_edges(graph: pyg.Data, share: float) -> pyg.Data:
    """Drop each directed edge on its own, as GRACE does (arXiv:2006.04131, Sec. 3.2).

    Args:
        graph: An undirected edge stands twice and may lose one direction only.
        share: Probability, in [0, 1).
    """
    if share == 0:
        return copy.copy(graph)
    return with_edges(graph, torch.rand(graph.edge_index.shape[1], device=graph.edge_index.device) >= share)


def mask_columns(graph: pyg.Data, share: float) -> pyg.Data:
    """Set whole columns of the features to zero, the same for all nodes (GRACE, Sec. 3.2).

    Args:
        graph: With ``x``.
        share: Probability of a column, in [0, 1).
    """
    if share == 0:
        return copy.copy(graph)
    kept = torch.rand(graph.x.shape[1], device=graph.x.device) >= share
    return with_x(graph, graph.x * kept)


def shuffle_features(graph: pyg.Data) -> pyg.Data:
    """Give every node the features of another one, edges stay: the corruption of DGI and MVGRL."""
    return with_x(graph, graph.x[torch.randperm(len(graph.x), device=graph.x.device)])


def negatives(graph: pyg.Data) -> Tensor:
    """Draw as many pairs ``(2, m)`` as there are edges; those that are edges or loops are left out.

    Both nodes of a pair are of one graph, where the batch holds several.
    """
    n, (source, target) = len(graph.x), graph.edge_index
    ptr, row = graph.get("ptr"), graph.get("batch")
    if ptr is None or row is None:
        ptr, row = source.new_tensor([0, n]), source.new_zeros(n)
    first = torch.randint(n, (len(source),), device=source.device)
    start, size = ptr[:-1][row[first]], ptr.diff()[row[first]]
    place = (torch.rand(len(first), device=source.device, dtype=torch.float64) * size).long()
    second = start + torch.minimum(place, size - 1)
    apart = (first != second) & ~torch.isin(first * n + second, source * n + target)
    return torch.stack([first, second])[:, apart]


def _two(value: Share, name: str) -> tuple[float, float]:
    both = (value, value) if isinstance(value, int | float) else tuple(value)
    if len(both) != 2 or not all(0 <= share < 1 for share in both):
        raise BadInput(f"{name} needs a share in [0, 1), or two, one a view; got {value}.")
    return both


class Pair:
    """Two views of a graph's nodes, or of every graph of a batch.

    Of one graph, as GRACE: edges are dropped and columns masked. Of a set, as GraphCL: each graph
    undergoes one of ``augment``, the same one for neither view in particular.

    Args:
        drop_edges: Share of the edges that each view, or the two views, lose; of single graphs.
        mask_columns: Share of the columns that are set to zero; of single graphs.
        augment: Names of ``AUGMENTS`` that graphs of a set draw from.
        ratio: Share of a graph of a set that is changed, in [0, 1).
    """

    def __init__(
        self,
        *,
        drop_edges: Share = (0.2, 0.4),
        mask_columns: Share = (0.3, 0.4),
        augment: Sequence[str] = ("drop_nodes", "perturb_edges", "mask_nodes", "subgraph"),
        ratio: float = 0.2,
    ) -> None:
        self.drop_edges = _two(drop_edges, "drop_edges")
        self.mask_columns = _two(mask_columns, "mask_columns")
        self.augment = [augment] if isinstance(augment, str) else list(augment)
        self.ratio = ratio
        from vergence.methods.graph.augment import AUGMENTS

        for name in self.augment:
            if name not in AUGMENTS:
                raise unknown("augmentation of graphs", name, AUGMENTS)

    def __call__(self, graph: pyg.Data) -> list[pyg.Data]:
        if "ptr" in graph:
            from vergence.methods.graph.augment import augmented

            return [augmented(graph, self.augment, self.ratio) for _ in range(2)]
        shares = zip(self.drop_edges, self.mask_columns, strict=True)
        return [mask_columns(drop_edges(graph, edges), columns) for edges, columns in shares]


def pair(**options: Any) -> Pair:
    """Two views of the same kind; options are those of ``Pair``."""
    return Pair(**options)


def corrupted(**options: Any) -> Callable[[pyg.Data], list[pyg.Data]]:
    """The graph as it is, and with its features shuffled among the nodes (DGI, arXiv:1809.10341)."""
    return lambda graph: [copy.copy(graph), shuffle_features(graph)]


KINDS: dict[str, Callable[..., Callable[[pyg.Data], Any]]] = {"pair": pair, "corrupted": corrupted}
OPTIONS = ("drop_edges", "mask_columns", "augment", "ratio")
