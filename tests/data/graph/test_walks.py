"""Walks take every step as often as the formula says, whoever makes them."""

from __future__ import annotations

import numpy as np
import pytest

from vergence.core import BadInput
from vergence.data.graph.csr import CSR
from vergence.data.graph.walks import Walker


def ten_nodes(weighted=False, directed=False):
    rng = np.random.default_rng(3)
    dense = np.triu(rng.random((10, 10)) < 0.4, 1)
    dense[np.arange(9), np.arange(1, 10)] = True
    dense = dense | (dense.T & (rng.random((10, 10)) < 0.5) if directed else dense.T)
    values = rng.uniform(0.2, 3.0, dense.shape)
    values = values if directed else values + values.T
    source, target = np.nonzero(dense)
    return CSR.from_edges(np.stack([source, target]), 10, weights=values[dense] if weighted else None)


def transitions(graph, p, q):
    """Return ``(t, v, x)`` probabilities by the paper's formula, written as a loop."""
    dense = graph.scipy().toarray()
    table = np.zeros((10, 10, 10))
    for t in range(10):
        for v in np.flatnonzero(dense[t]):
            for x in np.flatnonzero(dense[v]):
                alpha = 1 / p if x == t else 1.0 if dense[t, x] else 1 / q
                table[t, v, x] = alpha * dense[v, x]
    return table / np.maximum(table.sum(2, keepdims=True), 1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize(("p", "q"), [(0.25, 4.0), (4.0, 0.25), (0.5, 0.5), (2.0, 1.0), (0.1, 1.0)])
def test_second_order_steps_follow_the_formula(p, q, weighted, directed):
    graph = ten_nodes(weighted, directed)
    walks = Walker(graph, p=p, q=q).walks(np.tile(np.arange(10), 2_000), 20, seed=1)
    seen = np.zeros((10, 10, 10))
    steps = np.stack([walks[:, :-2], walks[:, 1:-1], walks[:, 2:]], axis=-1).reshape(-1, 3)
    np.add.at(seen, tuple(steps[(steps >= 0).all(1)].T), 1)
    count = seen.sum(2, keepdims=True)
    expected = transitions(graph, p, q)
    assert (seen[expected == 0] == 0).all()
    # in standard errors; thousands are looked at
    error = (seen / np.maximum(count, 1) - expected) / np.sqrt(
        np.maximum(expected * (1 - expected), 1e-9) / np.maximum(count, 1)
    )
    assert np.abs(error[(count > 200).repeat(10, 2)]).max() < 5
    assert (count > 200).sum() > 20


def test_p_and_q_of_one_is_the_walk_by_weight_and_so_is_the_first_step():
    graph = ten_nodes(weighted=True)
    dense = graph.scipy().toarray()
    expected = dense / dense.sum(1, keepdims=True)
    for walker in (Walker(graph), Walker(graph, p=0.2, q=3.0)):
        walks = walker.walks(np.tile(np.arange(10), 20_000), 2, seed=2)
        seen = np.zeros((10, 10))
        np.add.at(seen, (walks[:, 0], walks[:, 1]), 1)
        np.testing.assert_allclose(seen / 20_000, expected, atol=0.02)
        assert (seen[dense == 0] == 0).all()


@pytest.mark.parametrize("options", [{}, {"p": 0.5, "q": 2.0}, {"restart": 0.3}])
def test_a_walk_depends_on_its_number_and_the_seed_alone(options):
    walker, starts = Walker(ten_nodes(), **options), np.arange(10_000) % 10
    once = walker.walks(starts, 12, seed=7, workers=1)
    assert (once == walker.walks(starts, 12, seed=7, workers=3)).all()
    some = np.array([9_000, 17, 4_096])
    assert (once[some] == walker.walks(starts[some], 12, seed=7, numbers=some)).all()
    assert (once[:, :6] == walker.walks(starts, 6, seed=7)).all()
    assert (once != walker.walks(starts, 12, seed=8)).any()
    assert len(np.unique(once[starts == 0], axis=0)) > 900


def test_walks_go_back_less_as_p_grows_and_farther_as_q_shrinks():
    side = 30  # on a grid no two neighbours are joined, so that q alone says how far walks get
    number = np.arange(side * side).reshape(side, side)
    edges = np.concatenate(
        [
            np.stack([number[:-1].ravel(), number[1:].ravel()]),
            np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()]),
        ],
        axis=1,
    )
    graph = CSR.from_edges(edges, undirected=True)
    starts = np.full(4_000, number[15, 15])

    def back(p):
        walks = Walker(graph, p=p).walks(starts, 3)
        return (walks[:, 2] == walks[:, 0]).mean()

    def distance(q):
        end = Walker(graph, q=q).walks(starts, 21)[:, -1]
        return (np.abs(end // side - 15) + np.abs(end % side - 15)).mean()

    assert back(0.25) > back(1.0) + 0.2 > back(4.0) + 0.3
    assert distance(0.25) > distance(1.0) + 1 > distance(4.0) + 2


def test_dead_ends_isolated_nodes_and_restarts():
    graph = CSR.from_edges(np.array([[0, 1], [1, 2]]), 4)  # 0 -> 1 -> 2, and 3 alone
    for options in ({}, {"p": 0.5, "q": 2.0}):
        walks = Walker(graph, **options).walks([0, 3, 2], 5)
        assert walks.tolist() == [[0, 1, 2, -1, -1], [3, -1, -1, -1, -1], [2, -1, -1, -1, -1]]
    home = Walker(graph, restart=0.25).walks([0, 3], 2_001)
    assert set(home[1]) == {3} and set(home[0]) == {0, 1, 2}
    after_two = home[0, 1:][home[0, :-1] == 2]
    assert (after_two == 0).all()
    after_zero = home[0, 1:][home[0, :-1] == 0]
    assert (after_zero == 0).mean() == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: Walker(g, p=0.0), "p > 0"),
        (lambda g: Walker(g, q=np.inf), "q > 0"),
        (lambda g: Walker(g, restart=1.0), r"restart in \[0, 1\)"),
        (lambda g: Walker(g, restart=0.5, q=2.0), "no memory"),
        (lambda g: Walker(g).walks([10], 3), "nodes 0 to 9"),
        (lambda g: Walker(g).walks([-1], 3), "nodes 0 to 9"),
        (lambda g: Walker(g).walks([0], 0), "length of 1"),
    ],
)
def test_wrong_numbers_are_told(call, message):
    with pytest.raises(BadInput, match=message):
        call(ten_nodes())
