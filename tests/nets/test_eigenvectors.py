"""Eigenvectors that no solver, machine, batch or numbering of the nodes changes."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from vergence.nets.eigenvectors import canonical

GRAPHS = {
    "cycle": nx.cycle_graph(12),
    "clique": nx.complete_graph(7),
    "star": nx.star_graph(8),
    "path": nx.path_graph(9),
    "grid": nx.grid_2d_graph(4, 4),
    "tree": nx.balanced_tree(2, 3),
    "two sides": nx.complete_bipartite_graph(3, 5),
    "parts": nx.disjoint_union_all(
        [nx.cycle_graph(3), nx.cycle_graph(3), nx.path_graph(4), nx.empty_graph(2)]
    ),
    "random": nx.gnp_random_graph(14, 0.3, seed=3),
}


def matrix(graph):
    """The normalised adjacency, by hand."""
    dense = nx.to_numpy_array(graph, weight=None)
    root = 1 / np.sqrt(dense.sum(1).clip(1))
    return root[:, None] * dense * root


def leading(dense, turn=None):
    """All eigenpairs, highest first; a generator ``turn`` rotates every eigenspace and adds rounding."""
    values, vectors = np.linalg.eigh(dense)
    values, vectors = values[::-1], vectors[:, ::-1].copy()
    if turn is not None:
        for space in np.split(np.arange(len(values)), np.flatnonzero(np.diff(values) < -1e-6) + 1):
            rotation = np.linalg.qr(turn.normal(size=(len(space), len(space))))[0]
            vectors[:, space] = vectors[:, space] @ rotation
        vectors += turn.normal(0, 1e-13, vectors.shape)
    return values[None], vectors[None]


@pytest.mark.parametrize("name", GRAPHS)
def test_vectors_are_an_orthonormal_basis_of_their_eigenspaces_whatever_the_solver_says(name):
    dense = matrix(GRAPHS[name])
    n, turn = len(dense), np.random.default_rng(0)
    values, vectors = leading(dense)
    result = canonical(values, vectors, n)[0]
    np.testing.assert_allclose(dense @ result, result * values, atol=1e-12)
    np.testing.assert_allclose(result.T @ result, np.eye(n), atol=1e-12)
    for _ in range(20):
        np.testing.assert_allclose(canonical(*leading(dense, turn), n)[0], result, atol=1e-10)
    np.testing.assert_allclose(canonical(*leading(dense, turn), 3)[0], result[:, :3], atol=1e-10)


@pytest.mark.parametrize("name", GRAPHS)
def test_another_numbering_of_the_nodes_only_reorders_the_rows(name):
    dense = matrix(GRAPHS[name])
    n, draw = len(dense), np.random.default_rng(0)
    result = canonical(*leading(dense), n)[0]
    for _ in range(20):
        order = draw.permutation(n)
        other = canonical(*leading(dense[np.ix_(order, order)]), n)[0]
        same = linear_sum_assignment(cdist(result, other))[1]  # twins may have changed places
        np.testing.assert_allclose(other[same], result, atol=1e-10)
        np.testing.assert_allclose(dense[np.ix_(order, order)][np.ix_(same, same)], dense, atol=1e-12)


def test_many_matrices_are_chosen_for_as_each_is_alone():
    pairs = [
        leading(matrix(nx.gnp_random_graph(10, 0.3, seed=s)), np.random.default_rng(s)) for s in range(9)
    ]
    values, vectors = (np.concatenate(part) for part in zip(*pairs, strict=True))
    result = canonical(values, vectors, 6)
    for i, pair in enumerate(pairs):
        np.testing.assert_allclose(result[i], canonical(*pair, 6)[0], atol=1e-10)


def test_a_vector_is_the_longest_projection_of_a_node_by_hand():
    values, vectors = leading(matrix(nx.star_graph(3)))  # 1, 0, 0, -1: the leaves' differences share the 0
    result = canonical(values, vectors, 3)[0]
    np.testing.assert_allclose(result[:, 0], np.sqrt([3, 1, 1, 1]) / np.sqrt(6))
    np.testing.assert_allclose(result[:, 1], [0, 2, -1, -1] / np.sqrt(6), atol=1e-12)
    np.testing.assert_allclose(result[:, 2], [0, 0, 1, -1] / np.sqrt(2), atol=1e-12)
