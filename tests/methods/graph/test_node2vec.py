"""node2vec and its skip-gram: the gradient of the formula, seeds, communities, a run from its name."""

from __future__ import annotations

import numpy as np
import pytest

import vergence
from vergence.core import BadInput
from vergence.data.graph.csr import CSR
from vergence.data.graph.walks import Walker
from vergence.methods.graph import skipgram
from vergence.methods.graph.node2vec import Node2Vec

SMALL = {"dim": 16, "walks": 10, "length": 20, "window": 3}


def two_groups(n=60, inside=0.4, across=0.02):
    rng = np.random.default_rng(0)
    group = np.arange(n) % 2
    chance = np.where(group[:, None] == group, inside, across)
    return CSR.from_edges(np.stack(np.nonzero(rng.random((n, n)) < chance)), n, undirected=True), group


def test_alias_tables_draw_by_weight():
    weights = np.array([0.0, 1.0, 5.0, 0.5, 3.5, 1.0])
    share, other = skipgram.alias_table(weights)
    drawn = share / len(weights)
    np.add.at(drawn, other, (1 - share) / len(weights))
    np.testing.assert_allclose(drawn, weights / weights.sum(), atol=1e-6)
    share, other = skipgram.alias_table(np.random.default_rng(0).pareto(1.0, 5_000) ** 0.75)
    assert ((share >= 0) & (share <= 1)).all()


def test_a_step_is_the_gradient_of_the_formula():
    """Two nodes on one walk: σ is the only nonlinearity, and every draw of a negative is known."""
    rng = np.random.default_rng(1)
    f, g = rng.normal(size=(2, 3, 4)).astype(np.float32) * 0.5
    f0, g0 = f.astype(np.float64), g.astype(np.float64)
    walks = np.array([[0, 1, -1]], np.int32)
    share, other = np.zeros(3, np.float32), np.full(3, 2, np.int32)  # every negative is node 2
    skipgram.learn_walks(f, g, walks, 1, 3, 0.1, 0, 10**9, share, other, 0, skipgram.SIGMOID)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    for u, c in ((1, 0), (0, 1)):  # the context 0 of u = 1 comes first
        step = np.zeros(4)
        for v, wanted in ((c, 1), (2, 0), (2, 0), (2, 0)):
            slope = 0.1 * (wanted - sigmoid(f0[u] @ g0[v]))
            step += slope * g0[v]
            g0[v] += slope * f0[u]
        f0[u] += step
    np.testing.assert_allclose(f, f0, atol=2e-3)
    np.testing.assert_allclose(g, g0, atol=2e-3)
    assert np.abs(g0[2] - g[2] * 0).max() > 0.01 and not np.allclose(f0[0], 0)


def test_skip_gram_draws_together_what_walks_together():
    graph, group = two_groups()
    x = Node2Vec(**SMALL).fit(graph).encoder.vectors.numpy()
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    same = group[:, None] == group
    near = x @ x.T
    assert near[same & ~np.eye(60, dtype=bool)].mean() > near[~same].mean() + 0.3


def test_a_seed_repeats_the_vectors_and_blocks_change_nothing(monkeypatch):
    graph, _ = two_groups()
    once = Node2Vec(p=0.5, q=2.0, **SMALL).fit(graph, seed=3).encoder.vectors.numpy()
    monkeypatch.setattr(skipgram, "TOKENS", 50 * 20)  # 50 walks a block
    again = Node2Vec(p=0.5, q=2.0, **SMALL).fit(graph, seed=3).encoder.vectors.numpy()
    assert (once == again).all()
    other = Node2Vec(p=0.5, q=2.0, **SMALL).fit(graph, seed=4).encoder.vectors.numpy()
    assert np.abs(once - other).max() > 0.1


def test_hogwild_learns_the_same_groups():
    graph, group = two_groups()
    x = Node2Vec(repeatable=False, **SMALL).fit(graph).encoder.vectors.numpy()
    assert np.isfinite(x).all()
    centres = np.stack([x[group == 0].mean(0), x[group == 1].mean(0)])
    nearest = ((x[:, None] - centres) ** 2).sum(2).argmin(1)
    assert (nearest == group).mean() > 0.9


def test_isolated_nodes_and_dead_ends_get_finite_vectors():
    graph = CSR.from_edges(np.array([[0, 1], [1, 2]]), 4)
    x = Node2Vec(**SMALL).fit(graph).encoder.vectors.numpy()
    assert x.shape == (4, 16) and np.isfinite(x).all()


def test_a_run_from_the_name_holds_a_table_that_comes_back(tmp_path):
    run = vergence.learn("node2vec", "karate", out=tmp_path / "run", quiet=True, p=0.5, **SMALL)
    source = vergence.open("karate")
    table = vergence.load(run.path).vectors.numpy()
    np.testing.assert_array_equal(table, Node2Vec(p=0.5, **SMALL).fit(source).transform(source))
    assert run.config.options["p"] == 0.5
    store = run.embed(source)
    np.testing.assert_array_equal(store.vectors(), table)


@pytest.mark.parametrize("options", [{"p": 0.0}, {"q": -1.0}, {"dim": 0}, {"walks": 0}, {"window": 0}])
def test_wrong_options_are_told(options):
    with pytest.raises(BadInput, match="Node2Vec needs"):
        Node2Vec(**options)
    with pytest.raises(BadInput, match="learning rate"):
        Node2Vec(lr=0.0).fit(two_groups()[0])


def test_negatives_follow_counts_to_the_power_of_three_quarters(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        skipgram, "alias_table", lambda w: seen.update(w=w) or (np.ones(60, "f4"), np.arange(60, dtype="i4"))
    )
    graph, _ = two_groups()
    starts = np.tile(np.arange(60), 5)
    skipgram.skip_gram(Walker(graph), starts, 20, dim=4, window=2, negatives=1, lr=0.01)
    counts = np.bincount(Walker(graph).walks(starts, 20).ravel(), minlength=60)
    np.testing.assert_allclose(seen["w"], counts**0.75)
