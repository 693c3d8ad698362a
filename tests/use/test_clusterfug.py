"""Multicut on the complete graph against an explicit matrix of costs and against all partitions."""

import time

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.use.clusterfug import multicut, multicut_clusters, objective


def unit(n, d, seed=0, mean=0.0):
    x = np.random.default_rng(seed).standard_normal((n, d)) + mean
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def explicit_gaec(x, alpha):
    """The algorithm on a matrix of costs whose rows and columns are added at a merge."""
    cost = x.astype(np.float64) @ x.T.astype(np.float64) - alpha
    np.fill_diagonal(cost, -np.inf)
    members = [[i] for i in range(len(x))]
    while len(members) > 1:
        i, j = np.unravel_index(cost.argmax(), cost.shape)
        if cost[i, j] <= 0:
            break
        cost[i] += cost[j]
        cost[:, i] = cost[i]
        cost[i, i] = -np.inf
        cost = np.delete(np.delete(cost, j, 0), j, 1)
        members[i] += members.pop(j)
    of = np.empty(len(x), int)
    for cluster, rows in enumerate(members):
        of[rows] = cluster
    return of


def cut(x, of, alpha):
    cost = x.astype(np.float64) @ x.T.astype(np.float64) - alpha
    return cost[np.triu(of[:, None] != of[None], 1)].sum()


def partitions(n):
    """All partitions of n things, as labels in order of first appearance."""
    if n == 1:
        yield [0]
        return
    for first in partitions(n - 1):
        for label in range(max(first) + 2):
            yield [*first, label]


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("n", [2, 3, 20, 150])
def test_it_is_greedy_additive_edge_contraction(n, alpha):
    for seed in range(3):
        x = unit(n, 5, seed, mean=0.3)
        result, truth = multicut(x, alpha=alpha), explicit_gaec(x, alpha)
        assert adjusted_rand_score(truth, result.of) == 1
        assert result.objective == pytest.approx(cut(x, truth, alpha), abs=1e-4)


def test_the_objective_is_the_sum_over_cut_pairs():
    x, of = unit(40, 6), np.random.default_rng(1).integers(0, 5, 40)
    assert objective(x, of, 0.2) == pytest.approx(cut(x, of, 0.2), abs=1e-6)
    assert objective(x, np.zeros(40, int), 0.2) == pytest.approx(0, abs=1e-9)
    assert multicut(x, alpha=0.2).alone == pytest.approx(cut(x, np.arange(40), 0.2), abs=1e-6)


def test_exhaustive_search_finds_nothing_better_where_there_are_groups():
    """All 4,140 partitions of 8 rows around 3 directions. Without groups greedy merging need not be best."""
    every, hits = np.array(list(partitions(8))), 0
    assert len(every) == 4140
    for seed in range(20):
        random = np.random.default_rng(seed)
        x = unit(3, 4, seed)[random.integers(0, 3, 8)] + 0.15 * random.standard_normal((8, 4))
        x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
        best = min(objective(x, of, 0.5) for of in every)
        hits += multicut(x, alpha=0.5).objective <= best + 1e-6
    assert hits == 20


def test_exhaustive_search_gains_little_where_there_are_none():
    every = np.array(list(partitions(7)))
    gaps = []
    for seed in range(20):
        x = unit(7, 3, seed)
        best, result = min(objective(x, of, 0.2) for of in every), multicut(x, alpha=0.2)
        assert result.objective >= best - 1e-6
        gaps.append((result.objective - best) / abs(best - result.alone))
    assert np.mean(np.array(gaps) < 1e-6) >= 0.7 and np.mean(gaps) < 0.05


def test_more_alpha_gives_more_clusters_and_groups_are_found():
    random = np.random.default_rng(0)
    centres = np.linalg.qr(random.standard_normal((16, 5)))[0].T
    truth = np.repeat(np.arange(5), [80, 70, 60, 50, 40])
    x = centres[truth] + 0.08 * random.standard_normal((300, 16))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    result = multicut(x)
    assert result.sizes.tolist() == [80, 70, 60, 50, 40] and adjusted_rand_score(truth, result.of) == 1
    assert result.members(4).tolist() == list(range(260, 300))
    counts = [len(multicut(x, alpha=a)) for a in (0.0, 0.4, 0.95, 1.01)]
    assert counts == sorted(counts) and counts[-1] == 300


def test_digits_come_apart():
    x, y = load_digits(return_X_y=True)
    x = x - x.mean(0)
    result = multicut((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), alpha=0.35)
    assert adjusted_rand_score(y, result.of) > 0.5
    assert (result.sizes > 20).sum() < 20


def test_thousands_of_rows_take_seconds_and_memory_of_their_vectors():
    x = unit(3_000, 32, mean=0.1)
    multicut(x[:10])  # compile
    began = time.process_time()
    result = multicut(x, alpha=0.1)
    assert time.process_time() - began < 10
    assert result.objective < min(0, result.alone)


def test_stores_and_mistakes(tmp_path):
    x = unit(6, 3)
    store = Store.create(tmp_path / "s.lance", None, 5 * x, ids=list("abcdef"))
    centred = x - x.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_array_equal(multicut_clusters(store).of, multicut(centred).of)
    assert multicut(x[:1]).of.tolist() == [0]
    with pytest.raises(BadInput, match="alpha is at least 0"):
        multicut(x, alpha=-1)
    with pytest.raises(BadInput, match="not finite"):
        multicut(x * np.nan)
