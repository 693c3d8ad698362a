"""Hypergraphs: groups of any number of nodes, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vergence.core.errors import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.edges import numbered
from vergence.data.graph.lines import text_of
from vergence.data.graph.source import NodeSource, ragged

LARGEST = 100  # members of the hyperedges that the clique expansion knows; m members make m^2 edges


class HyperSource(NodeSource):
    """The nodes of a hypergraph.

    A batch is the whole hypergraph: PyG's ``Data`` with ``hyperedge_index`` ``(2, M)`` (node, hyperedge),
    sorted by hyperedge, ``num_hyperedges``, and the clique expansion as ``edge_index``, so that every
    encoder can read it. Hyperedges of more than 100 members are not expanded.

    Args:
        members: ``(2, M)``, node and hyperedge of every membership.
        nodes: N.
        uri: What was opened.
        x: ``(N, F)`` features, or None.
        y: ``(N,)`` labels, -1 where unknown, or None.
        **options: As of ``NodeSource``.

    Raises:
        BadInput: If there are fewer than 2 nodes, or a member that is not there.
    """

    def __init__(
        self,
        members: np.ndarray,
        nodes: int,
        uri: str,
        *,
        x: np.ndarray | None = None,
        y: np.ndarray | None = None,
        **options: Any,
    ) -> None:
        members = np.asarray(members, np.int64)
        if members.size and (members.min() < 0 or members[0].max() >= nodes):
            raise BadInput(f"{uri}: a hyperedge names node {members[0].max()} of {nodes:,} nodes.")
        members = np.unique(members[::-1], axis=1)[::-1]  # by hyperedge, then node; each once
        _, edge = np.unique(members[1], return_inverse=True)
        pairs, left_out = cliques(members[0], edge)
        graph, notes = build(Edges(pairs, nodes), uri, x=x, y=y)
        graph.hyperedge_index = torch.from_numpy(np.stack([members[0], edge]))
        graph.num_hyperedges = int(edge.max(initial=-1)) + 1
        if left_out:
            notes.append(f"{left_out:,} hyperedges of more than {LARGEST} members are not expanded to pairs")
        kept_notes = [note for note in notes if "duplicate" not in note and "both ways" not in note]
        super().__init__(graph, uri, notes=[*kept_notes, *options.pop("notes", ())], **options)

    def fitting_batch(self, paper: int, most: int) -> int:
        return len(self)

    def around(self, samples: np.ndarray, *, seed: int = 0) -> Any:
        return self._stamped(self.whole_graph(), samples, self.rows[samples])


def cliques(nodes: np.ndarray, edge: np.ndarray) -> tuple[np.ndarray, int]:
    """Return all pairs of members ``(2, E)`` and how many hyperedges were too large to be expanded.

    Args:
        nodes: ``(M,)``, the member.
        edge: ``(M,)``, its hyperedge, ascending.
    """
    sizes = np.bincount(edge)
    ptr = np.concatenate([[0], np.cumsum(sizes)])
    small = np.flatnonzero(sizes[edge] <= LARGEST)
    partner, _ = ragged(ptr, edge[small])
    pairs = np.stack([np.repeat(nodes[small], sizes[edge[small]]), nodes[partner]])
    return pairs[:, pairs[0] < pairs[1]], int((sizes > LARGEST).sum())


def hyper(path: Path, uri: str) -> HyperSource:
    """Open ``hyper:FILE``: the members of one hyperedge a line, blanks or commas between.

    Lines that begin with # or % say nothing.

    Raises:
        BadInput: If the file holds no hyperedges.
    """
    text, notes = text_of(path, uri)
    lines = [line.replace(",", " ").split() for line in text.split("\n")]
    groups: Sequence[list[str]] = [line for line in lines if line and line[0][0] not in "#%"]
    if not groups:
        raise BadInput(f"{uri} is a graph of no nodes: it has no lines with hyperedges.")
    names, place = numbered(np.array([name for group in groups for name in group]))
    edge = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    if twice := len(place) - len(np.unique(place * len(groups) + edge)):
        notes.append(f"{twice:,} members that a hyperedge names again count once")
    return HyperSource(np.stack([place, edge]), len(names), uri, names=names, notes=notes)


def hyper_of(typed: Any, via: str, uri: str) -> HyperSource:
    """Return the labelled nodes of a typed graph, joined by the nodes of type ``via``.

    Raises:
        BadInput: If the graph has no neighbours of that type.
    """
    kinds = [kind[2] for kind in typed.hetero.edge_types if kind[1] == "to"]
    if via not in kinds:
        raise BadInput(
            f"{uri}: nodes of type '{typed.target_type}' have neighbours of type {', '.join(kinds)}."
        )
    x = None if typed.data.x is None else typed.data.x.numpy()
    return HyperSource(
        typed.hyperedges(via), len(typed), uri,
        x=x, y=typed.labels, classes=typed.classes, fixed=list(typed.fixed.values()),
    )  # fmt: skip
