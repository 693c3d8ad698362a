"""Temporal graphs: edges with the time at which they appear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vergence.core.errors import BadInput
from vergence.data.graph import pyg
from vergence.data.graph.build import Edges, build
from vergence.data.graph.edges import labels_of, numbered, numbers, read_table
from vergence.data.graph.source import NodeSource


class TemporalSource(NodeSource):
    """The nodes of a graph whose edges have an ``edge_time``: when each was first seen."""

    @property
    def times(self) -> np.ndarray:
        """The different times, ascending."""
        return np.unique(self.data.edge_time.numpy())

    def until(self, time: float) -> pyg.Data:
        """Return the graph as it was at ``time``: edges seen by then, and every node."""
        kept = self.data.edge_time <= time
        graph = pyg.Data(edge_index=self.data.edge_index[:, kept], num_nodes=self.data.num_nodes, x=self.x)
        graph.edge_time = self.data.edge_time[kept]
        return graph

    def snapshots(self, count: int) -> list[pyg.Data]:
        """Return the growing graph at ``count`` moments between which equally many edges appear."""
        if count < 1:
            raise BadInput(f"snapshots needs a count of 1 or more; got {count}.")
        moments = np.quantile(self.data.edge_time.numpy(), np.arange(1, count + 1) / count, method="higher")
        return [self.until(float(moment)) for moment in moments]


def temporal(path: Path, uri: str) -> TemporalSource:
    """Open ``temporal:FILE``: two nodes and a time a line, blanks, tabs or commas between.

    Edges are undirected; one that is seen again keeps its first time. A first line of words is a header.
    Labels may lie in a file of the same name that ends in ``.labels``: a node and its class a line.

    Raises:
        BadInput: If a line is something else.
    """
    rows = read_table(path, uri)
    if len(rows[0]) < 3:
        raise BadInput(f"{uri}: a line needs two nodes and a time; the first has {len(rows[0])} entries.")
    if not _is_number(rows[0][2]):
        rows = rows[1:]
    times = numbers([row[2] for row in rows], f"{uri}: times")
    order = np.argsort(times, kind="stable")
    names, place = numbered(np.array([row[:2] for row in rows]).reshape(-1))
    pairs = place.reshape(-1, 2)[order].T
    edges = Edges(pairs, len(names), {"edge_time": times[order]})
    beside = path.with_suffix(".labels")
    y, classes = labels_of(beside, names) if beside.is_file() else (None, None)
    graph, notes = build(edges, uri, y=y)
    graph.edge_time = graph.edge_time.to(torch.float32)
    return TemporalSource(graph, uri, names=names, classes=classes, notes=notes)


def _is_number(entry: str) -> bool:
    try:
        float(entry)
    except ValueError:
        return False
    return True
