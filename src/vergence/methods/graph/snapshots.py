"""Snapshots of a graph that grows: who is there by when, and how wrong a network is about it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from vergence.core import BadInput
from vergence.core.features import pooled
from vergence.data.graph import pyg
from vergence.data.graph.base import degree_features
from vergence.data.graph.source import NodeSource
from vergence.data.graph.temporal import TemporalSource

LEAST = 3  # labelled snapshots


class Snapshots(NodeSource):
    """Snapshots of a growing graph, oldest first; as a source, the nodes of the last one.

    Args:
        snapshots: 3 or more (``Data`` with ``x``, ``edge_index`` and ``y``, -1 where unknown).

    Raises:
        BadInput: If they are not that.
    """

    def __init__(self, snapshots: Sequence[pyg.Data]) -> None:
        self.snapshots = list(snapshots)
        whole = all(isinstance(s, pyg.Data) and "y" in s and "x" in s for s in self.snapshots)
        if not whole or len(self.snapshots) < LEAST:
            raise BadInput(
                f"Snapshots needs {LEAST} or more snapshots (Data with x, edge_index, y), oldest first; "
                f"got {len(self.snapshots)}{'' if whole else ', not all of them that'}."
            )
        super().__init__(self.snapshots[-1], "snapshots")


def snapshots_of(source: TemporalSource, count: int) -> list[pyg.Data]:
    """Return a growing graph at up to ``count`` moments: nodes that are joined by then, and their labels.

    Moments at which nothing is new are left out. ``node`` holds the nodes' ids in the source.

    Raises:
        BadInput: If no labels are known, or none of two classes in the first snapshot.
    """
    if source.labels is None or len(source) < int(source.data.num_nodes or 0):
        raise BadInput(
            f"smart needs labels of the nodes of {source.uri}, to measure losses before deployment: put them "
            "beside it in a file of the same name that ends in .labels, a node and its class a line."
        )
    labels = torch.from_numpy(source.labels)
    shots: list[pyg.Data] = []
    for graph in source.snapshots(count):
        if shots and shots[-1].num_edges == graph.num_edges:
            continue
        degrees = torch.bincount(graph.edge_index[0], minlength=int(graph.num_nodes or 0))
        node = torch.nonzero(degrees)[:, 0]
        place = torch.zeros_like(degrees)
        place[node] = torch.arange(len(node))
        x = degree_features(degrees[node]) if source.data.x is None else source.x[node]
        shot = pyg.Data(x=x, edge_index=place[graph.edge_index], y=labels[node], num_nodes=len(node))
        shot.node = node
        shots.append(shot)
    if len(torch.unique(shots[0].y[shots[0].y >= 0])) < 2:
        raise BadInput(f"smart needs labels of two classes in the first snapshot of {source.uri}.")
    if len(shots) <= LEAST:
        raise BadInput(f"smart needs 4 or more moments at which {source.uri} grows; it has {len(shots)}.")
    return shots


def taught(snapshot: pyg.Data) -> torch.Tensor:
    """Return every second labelled node ``(n,)``: those that teach a network which is then watched."""
    return torch.nonzero(snapshot.y >= 0)[::2, 0]


def unseen(shots: Sequence[pyg.Data]) -> list[pyg.Data]:
    """Return the snapshots without the labels that taught a network on the first one."""
    nodes, views = shots[0].node[taught(shots[0])], []
    for shot in shots:
        view = copy.copy(shot)
        view.y = torch.where(torch.isin(shot.node, nodes), -1, shot.y)
        views.append(view)
    return views


def loss_of(model: nn.Module, snapshot: pyg.Data) -> float:
    """Return the cross-entropy of a network on the labelled nodes of a snapshot, in nats.

    Args:
        model: A graph -> logits ``(N, C)`` or ``Features``.
        snapshot: With ``y`` ``(N,)`` int64, -1 where unknown.
    """
    known = snapshot.y >= 0
    if not known.any():
        raise BadInput("smart needs known labels (y of 0 or more) in every snapshot before deployment.")
    with torch.no_grad():
        return float(cross_entropy(pooled(model.eval()(snapshot))[known], snapshot.y[known]))


def distortion(model: nn.Module, first: pyg.Data, later: pyg.Data) -> float:
    """Return how far what a network says of the first snapshot's nodes has moved, on average (Sec. 2).

    Args:
        model: A graph -> ``(N, D)`` or ``Features``.
        first: Its node i is node i of ``later``.
        later: A snapshot that has grown out of it.
    """
    with torch.no_grad():
        then, now = (pooled(model.eval()(graph)) for graph in (first, later))
    return float((now[: len(then)] - then).norm(dim=1).mean())
