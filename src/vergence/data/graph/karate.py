"""Zachary's karate club, embedded: 34 members, 78 ties, and the two clubs it split into."""

from __future__ import annotations

import numpy as np

from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import NodeSource


def karate() -> NodeSource:
    """Open the karate club (Zachary 1977); it has no features."""
    import networkx as nx

    club = nx.karate_club_graph()
    y = np.array([club.nodes[i]["club"] == "Officer" for i in range(34)], np.int64)
    graph, notes = build(Edges(np.array(club.edges).T, 34), "karate", y=y)
    return NodeSource(graph, "karate", classes=["Mr. Hi", "Officer"], notes=notes)
