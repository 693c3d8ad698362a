"""Temporal graphs: edges with the time at which they appear."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vergence.core.errors import BadInput
from vergence.data.graph import pyg
from vergence.data.graph.build import Edges, build
from vergence.data.graph.edges import labels_beside, numbered
from vergence.data.graph.lines import edge_columns
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


def temporal(path: Path, uri: str, columns: Sequence[str] | None = None) -> TemporalSource:
    """Open ``temporal:FILE``: two nodes, perhaps a weight, and a time a line.

    Times are numbers of any unit, whole ones kept as they are, or dates in ISO 8601, which become
    seconds since 1970 UTC. Edges are undirected; one that is seen again keeps its first time. See
    ``edgelist`` for the rest.

    Args:
        path: The file.
        uri: What was opened.
        columns: The role of each column, see ``lines.ROLES``; None tells them by the header or their place.

    Raises:
        BadInput: If a line is something else.
    """
    read = edge_columns(path, uri, columns, timed=True)
    names, place = numbered(read.ends)
    order = np.argsort(read.values["edge_time"], kind="stable")
    values = {name: value[order] for name, value in read.values.items()}
    y, classes = labels_beside(path, names)
    graph, notes = build(Edges(place.reshape(-1, 2)[order].T, len(names), values), uri, y=y)
    source = TemporalSource(graph, uri, names=names, classes=classes, notes=[*read.notes, *notes])
    source.reading = read.reading
    return source
