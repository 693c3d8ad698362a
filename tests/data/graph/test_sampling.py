"""Pieces of a graph hold what was asked for and every edge that belongs to them."""

from __future__ import annotations

import numpy as np
import pytest

from vergence.core import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.csr import CSR
from vergence.data.graph.sampling import induced, neighbour_sample
from vergence.data.graph.source import NodeSource


@pytest.fixture(scope="module")
def graph():
    rng = np.random.default_rng(0)
    edges = np.concatenate(
        [rng.integers(0, 300, (2, 1500)), np.stack([np.zeros(299, int), np.arange(1, 300)])], 1
    )
    return CSR.from_edges(edges, undirected=True)  # node 0 is a hub


def test_a_sample_holds_edges_of_the_graph_no_more_than_asked_for_and_seeds_first(graph):
    seeds = np.array([5, 0, 17])
    piece = neighbour_sample(graph, seeds, [4, 3], seed=1)
    assert piece.nodes[:3].tolist() == [5, 0, 17]
    assert len(np.unique(piece.nodes)) == len(piece.nodes)
    source, target = piece.nodes[piece.edge_index]
    assert all(s in graph.neighbours(t) for s, t in zip(source, target, strict=True))
    assert (graph.indices[piece.edges] == source).all()
    assert len(np.unique(piece.edges)) == len(piece.edges)  # without replacement
    taken = np.bincount(piece.edge_index[1], minlength=len(piece.nodes))
    assert taken[:3].tolist() == np.minimum(graph.degrees[seeds], 4).tolist()
    assert taken.max() <= 4 and (taken > 0).sum() > 3


def test_all_neighbours_and_none(graph):
    piece = neighbour_sample(graph, [5], [-1])
    assert sorted(piece.nodes[1:]) == [v for v in graph.neighbours(5) if v != 5]
    assert neighbour_sample(graph, [5], []).edge_index.shape == (2, 0)
    assert neighbour_sample(CSR.from_edges(np.zeros((2, 0), int), 3), [2], [5]).nodes.tolist() == [2]


def test_every_neighbour_is_drawn_as_often_and_a_draw_does_not_depend_on_the_batch(graph):
    seen = np.zeros(300)
    for seed in range(3_000):
        piece = neighbour_sample(graph, [0], [30], seed=seed)
        seen[piece.nodes[piece.edge_index[0]]] += 1
    share = seen[graph.neighbours(0)] / 3_000
    expected = 30 / graph.degrees[0]
    assert np.abs(share - expected).max() < 5 * np.sqrt(expected * (1 - expected) / 3_000)
    alone = neighbour_sample(graph, [0], [30], seed=3)
    among = neighbour_sample(graph, [8, 0], [30], seed=3)
    assert set(alone.edges) == set(among.edges[among.edge_index[1] == 1])


def test_induced_edges_are_the_block_of_the_matrix(graph):
    nodes = np.random.default_rng(1).permutation(300)[:60]
    piece = induced(graph, nodes)
    block = np.zeros((60, 60))
    block[tuple(piece.edge_index)] = 1
    np.testing.assert_array_equal(block, graph.scipy().toarray()[np.ix_(nodes, nodes)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: neighbour_sample(g, [300], [2]), "nodes 0 to 299; asked for 300"),
        (lambda g: neighbour_sample(g, [1, 1], [2]), "twice"),
        (lambda g: neighbour_sample(g, [1], [0]), "Fanouts"),
        (lambda g: induced(g, [2, 2]), "twice"),
    ],
)
def test_wrong_requests_are_told(graph, call, message):
    with pytest.raises(BadInput, match=message):
        call(graph)


def test_a_few_nodes_of_a_large_graph_come_with_their_neighbourhood_only(monkeypatch):
    n = 400
    ring, _ = build(Edges(np.stack([np.arange(n), (np.arange(n) + 1) % n]), n), "ring")
    few = NodeSource(ring, "ring").subset(np.arange(8))
    assert next(few.loader(8)).num_nodes == n  # small: the whole graph, once
    monkeypatch.setattr("vergence.data.graph.source.WHOLE", 100)
    assert next(few.loader(8)).num_nodes < 30
    assert few.probe_batch(8, seed=0).num_nodes < 30
    assert next(NodeSource(ring, "ring").loader(n)).num_nodes == n  # asked for
