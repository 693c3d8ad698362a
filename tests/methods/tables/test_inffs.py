"""Infinite feature selection: the series, the solve, and what the ranking does not depend on."""

import numpy as np
import pytest

import vergence
from vergence.core import BadInput
from vergence.data.tables import from_vectors
from vergence.engine import embed
from vergence.methods.tables.inffs import (
    InfFS,
    all_paths,
    cut,
    fisher,
    larger_spread,
    scaled,
    spearman,
    supervised_graph,
    unsupervised_graph,
)

CONTRACT = {"kinds": ("few labels",)}


@pytest.fixture(scope="module")
def x():
    return scaled(np.random.default_rng(0).normal(size=(60, 7)) ** 3)


def test_the_truncated_series_converges_to_the_solve(x):
    graph = unsupervised_graph(x, 0.5)
    r = 0.9 / np.abs(np.linalg.eigvals(graph)).max()
    total, term = np.zeros(7), np.ones(7)
    for _ in range(400):
        total, term = total + term, r * graph @ term
    np.testing.assert_allclose(all_paths(graph), total, rtol=1e-9)


def test_paths_of_a_known_graph():
    graph = np.array([[0.0, 1.0], [1.0, 0.0]])  # radius 1: s = 1 / (1 - 0.5) for both
    np.testing.assert_allclose(all_paths(graph, share=0.5), [2.0, 2.0])
    star = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])  # radius sqrt 2
    r = 0.5 / 2**0.5
    hub = (1 + 2 * r) / (1 - 2 * r * r)
    np.testing.assert_allclose(all_paths(star, share=0.5), [hub, 1 + r * hub, 1 + r * hub])


def test_the_order_of_columns_does_not_matter_and_the_empty_path_changes_no_rank(x):
    scores = all_paths(unsupervised_graph(x, 0.3))
    turn = np.random.default_rng(1).permutation(7)
    np.testing.assert_allclose(all_paths(unsupervised_graph(x[:, turn], 0.3)), scores[turn], rtol=1e-9)
    assert (np.argsort(scores - 1) == np.argsort(scores)).all()


def test_the_graphs_are_the_stated_sums(x):
    sigma = x.std(0)
    pairs = np.maximum.outer(sigma, sigma)
    expected = (pairs - pairs.min()) / (pairs.max() - pairs.min())
    np.testing.assert_allclose(larger_spread(x), expected)
    graph = unsupervised_graph(x, 0.25)
    np.testing.assert_allclose(graph[2, 4], 0.25 * expected[2, 4] + 0.75 * (1 - abs(spearman(x)[2, 4])))
    y = (x[:, 0] > np.median(x[:, 0])).astype(int)
    first = supervised_graph(x, y, (1.0, 0.0, 0.0))
    phi = scaled(fisher(x, y)[:, None])[:, 0]
    np.testing.assert_allclose(first - first[:1], np.tile((phi - phi[0])[:, None] / 2, 7), atol=1e-12)
    third = supervised_graph(x, y, (0.0, 0.0, 1.0))
    np.testing.assert_allclose(third, (larger_spread(x) + phi[:, None]) / 2)


def test_spearman_follows_ranks_and_a_constant_column_is_redundant():
    a = np.arange(10.0)
    result = spearman(np.stack([a, np.exp(a), -a, np.ones(10)], 1))
    np.testing.assert_allclose(result[0], [1, 1, -1, 1])
    assert np.isfinite(all_paths(unsupervised_graph(scaled(np.stack([a, a**2, np.ones(10)], 1)), 0.5))).all()


def test_fishers_score_by_hand():
    x = np.array([[0.0], [2.0], [4.0], [6.0]])  # means 1 and 5, variance 1 within, 4 between
    np.testing.assert_allclose(fisher(x, np.array([0, 0, 1, 1])), [4.0])


def test_the_cut_counts_full_bins():
    assert cut(np.array([0.0, 0.0, 0.0, 1.0])) == 1  # bins of 3 and 1, 2 on average
    assert cut(np.ones(6)) == 1


def test_labels_put_noise_behind(tmp_path):
    source = vergence.open("sklearn:breast_cancer")
    noise = np.random.default_rng(0).random((len(source), 30))
    both = from_vectors(np.concatenate([source.numeric, noise], 1), source.labels, one_unit=False)
    fitted = InfFS(supervised=True, size=10).fit(both)
    assert (fitted.ranking[:10] < 30).all()
    z = embed(fitted.encoder, both).vectors
    best = both.numeric[:, fitted.ranking[0]]
    np.testing.assert_allclose(z[:, 0], (best - best.mean()) / best.std(), atol=1e-3)


def test_what_cannot_be_ranked_is_said():
    lone = from_vectors(np.ones((4, 1)))
    with pytest.raises(BadInput, match="2 or more"):
        InfFS().fit(lone)
    with pytest.raises(BadInput, match="labels"):
        InfFS(supervised=True).fit(from_vectors(np.eye(4)))
    with pytest.raises(BadInput):
        InfFS(alpha=2.0)
