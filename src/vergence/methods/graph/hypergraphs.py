"""Hypergraphs: incidence, the dual hypergraph transformation, cliques."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.methods.graph.structure import line_graph
from vergence.methods.graph.transforms import edges_of


@dataclass(frozen=True)
class Hypergraph:
    """Nodes, hyperedges, and who is a member of what.

    Args:
        x: Features of the nodes ``(N, F)``.
        e: Features of the hyperedges ``(M, G)``.
        incidence: ``(2, K)``, columns (node, hyperedge).
    """

    x: Tensor
    e: Tensor
    incidence: Tensor

    def dual(self) -> Hypergraph:
        """Swap nodes and hyperedges (DHT, arXiv:2106.15845, Sec. 3.2); twice is no change."""
        return Hypergraph(self.e, self.x, self.incidence.flip(0))


def as_hypergraph(edge_index: Tensor, x: Tensor, edge_attr: Tensor) -> Hypergraph:
    """Make every edge a hyperedge of its two ends; both directions of an edge are one.

    Args:
        edge_index: ``(2, E)``, without self-loops.
        x: ``(N, F)``.
        edge_attr: ``(E, G)``; of both directions and of repetitions, the mean.
    """
    if len(edge_attr) != edge_index.shape[1]:
        raise BadInput(f"Each edge needs its features; got {len(edge_attr)} for {edge_index.shape[1]} edges.")
    line = line_graph(edge_index, len(x))
    if (line.place < 0).any():
        raise BadInput("A self-loop has one end and is no hyperedge of two; remove self-loops first.")
    place = line.place.to(edge_attr.device)
    total = edge_attr.new_zeros(line.nodes, edge_attr.shape[1]).index_add_(0, place, edge_attr)
    e = total / torch.bincount(place, minlength=line.nodes)[:, None]
    numbers = torch.arange(line.nodes).repeat_interleave(2)
    return Hypergraph(x, e, torch.stack([line.edges.T.flatten(), numbers]).to(edge_index.device))


def incidence_of(members: Sequence[Sequence[int]]) -> Tensor:
    """Return the columns (node, hyperedge) ``(2, K)`` of hyperedges given as lists of nodes."""
    sizes = [len(set(group)) for group in members]
    nodes = np.concatenate([np.unique(group) for group in members if len(group)] or [np.empty(0)])
    numbers = np.repeat(np.arange(len(members)), sizes)
    return torch.from_numpy(np.stack([nodes, numbers]).astype(np.int64))


def clique_expansion(incidence: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """Join all nodes that are members of a common hyperedge; the weight counts such hyperedges."""
    if incidence.numel() and int(incidence[0].max()) >= nodes:
        raise BadInput(f"A hyperedge names node {int(incidence[0].max())}, but there are {nodes}, from 0.")
    node, edge = incidence.cpu().numpy()
    m = int(edge.max()) + 1 if len(edge) else 1
    h = sp.csr_array((np.ones(len(node)), (node, edge)), shape=(nodes, m))
    h.data[:] = 1
    together = sp.csr_array(h @ h.T)
    together.setdiag(0)
    together.eliminate_zeros()
    return edges_of(together)
