"""Neighbour lists are what they were built from, and say what is wrong with what they were given."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from torch_geometric.data import Data

from vergence.core import BadInput
from vergence.data.graph.csr import CSR, as_csr


def test_lists_are_sorted_and_without_doubles():
    graph = CSR.from_edges(np.array([[2, 0, 0, 0, 1], [0, 2, 1, 2, 1]]), 4)
    assert [graph.neighbours(v).tolist() for v in range(4)] == [[1, 2], [1], [0], []]
    assert (graph.nodes, graph.edges, graph.weights) == (4, 4, None)
    assert graph.degrees.tolist() == [2, 1, 1, 0]
    assert graph.indptr.dtype == np.int64 and graph.indices.dtype == np.int32


def test_doubled_weights_add_up_and_weight_zero_is_no_edge():
    graph = CSR.from_edges(np.array([[0, 0, 1], [1, 1, 0]]), 2, weights=np.array([1.5, 2.0, 0.0]))
    assert graph.neighbours(0).tolist() == [1] and graph.neighbours(1).tolist() == []
    assert graph.weights.tolist() == [3.5]


def test_undirected_reversed_and_loops():
    graph = CSR.from_edges(np.array([[0, 1, 2], [1, 2, 2]]), 3)
    assert not graph.symmetric
    assert graph.reversed().edge_index().tolist() == [[1, 2, 2], [0, 1, 2]]
    both = graph.undirected()
    assert both.symmetric
    assert both.edge_index().tolist() == [[0, 1, 1, 2, 2], [1, 0, 2, 1, 2]]
    assert CSR.from_edges(np.array([[0, 1, 2], [1, 2, 2]]), 3, undirected=True).edges == both.edges
    assert both.without_loops().edge_index().tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]


def test_weights_follow_their_edges():
    rng = np.random.default_rng(0)
    dense = (rng.random((12, 12)) < 0.3) * rng.uniform(0.5, 2, (12, 12))
    graph = CSR.from_scipy(sparse.csr_array(dense))
    np.testing.assert_allclose(graph.scipy().toarray(), dense, rtol=1e-6)
    np.testing.assert_allclose(graph.reversed().scipy().toarray(), dense.T, rtol=1e-6)
    np.testing.assert_allclose(
        graph.without_loops().scipy().toarray(), dense - np.diag(np.diag(dense)), rtol=1e-6
    )


def test_a_graph_is_taken_however_it_comes():
    edges = np.array([[0, 1], [1, 0]])
    import torch

    data = Data(edge_index=torch.from_numpy(edges), num_nodes=3)
    weighted = Data(edge_index=torch.from_numpy(edges), edge_weight=torch.tensor([2.0, 3.0]), num_nodes=3)
    graph = as_csr(data)
    assert as_csr(graph) is graph and graph.nodes == 3
    assert as_csr(graph.scipy()).edge_index().tolist() == [[0, 1], [1, 0]]
    assert as_csr(weighted).weights.tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CSR.from_edges(np.array([[0, 3], [1, 0]]), 3), "ends at node 3"),
        (lambda: CSR.from_edges(np.array([[0, -1], [1, 0]]), 3), "ends at node -1"),
        (lambda: CSR.from_edges(np.zeros((2, 0), np.int64)), "no nodes"),
        (lambda: CSR.from_edges(np.zeros((2, 3)), 3), "of integers"),
        (lambda: CSR.from_edges(np.zeros((3, 2), np.int64), 3), "of integers"),
        (lambda: CSR.from_edges(np.zeros((2, 1), np.int64), 3, weights=[-1.0]), "at least 0"),
        (lambda: CSR.from_edges(np.zeros((2, 1), np.int64), 3, weights=[np.nan]), "finite"),
        (lambda: CSR.from_edges(np.zeros((2, 1), np.int64), 3, weights=[1.0, 2.0]), "one weight"),
        (lambda: CSR.from_scipy(sparse.csr_array((2, 3))), "square"),
        (lambda: as_csr("cora"), "got str"),
    ],
)
def test_what_cannot_be_a_graph_is_told_in_one_line(make, message):
    with pytest.raises(BadInput, match=message) as error:
        make()
    assert "\n" not in str(error.value)
