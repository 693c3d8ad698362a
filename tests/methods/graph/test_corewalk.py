"""CoreWalk: numbers of walks from core numbers, and propagation as a harmonic extension."""

from __future__ import annotations

import numpy as np
import pytest

from vergence.core import BadInput
from vergence.data.graph.csr import CSR
from vergence.methods.graph import corewalk
from vergence.methods.graph.corewalk import CoreWalk, propagate

SMALL = {"dim": 8, "walks": 6, "length": 10, "window": 2}
CONTRACT = {"options": SMALL}


def clique_with_tail():
    """Nodes 0..4 all joined (core 4), a tail 4-5-6 (core 1), a self-loop at 6, and 7 alone (core 0)."""
    clique = np.stack(np.triu_indices(5, 1))
    return CSR.from_edges(np.concatenate([clique, [[4, 5, 6], [5, 6, 6]]], 1), 8, undirected=True)


def sparse_graph(n=80, seed=0):
    rng = np.random.default_rng(seed)
    return CSR.from_edges(rng.integers(0, n, (2, 3 * n)), n, undirected=True).without_loops()


def test_core_numbers_ignore_the_self_loop():
    assert CoreWalk(**SMALL).fit(clique_with_tail()).cores_.tolist() == [4] * 5 + [1, 1, 0]


def test_walks_a_node_as_the_formulas_say():
    cores = np.array([0, 1, 2, 3, 4])
    assert CoreWalk(walks=15).walks_from(cores).tolist() == [1, 3, 7, 11, 15]
    assert CoreWalk(walks=15, schedule="power", exponent=2.0).walks_from(cores).tolist() == [1, 1, 3, 8, 15]
    # 15 σ(-5, -2.5, 0, 2.5, 5) = 0.1, 1.1, 7.5, 13.9, 14.9
    assert CoreWalk(walks=15, schedule="sigmoid").walks_from(cores).tolist() == [1, 1, 7, 13, 14]
    assert CoreWalk(walks=7).walks_from(np.arange(1, 8)).tolist() == [1, 2, 3, 4, 5, 6, 7]  # no 2.9999
    assert CoreWalk(walks=5).walks_from(np.zeros(3, int)).tolist() == [1, 1, 1]


def test_one_wave_converges_to_the_harmonic_extension():
    graph = sparse_graph()
    rng = np.random.default_rng(1)
    dense = graph.scipy().toarray()
    known = np.sort(rng.permutation(80)[:30])
    z1 = rng.normal(size=(30, 5)).astype(np.float32)
    wave = np.setdiff1d(np.flatnonzero(dense[:, known].any(1)), known)
    rows = dense[np.ix_(wave, known)]
    inner = dense[np.ix_(wave, wave)]
    exact = np.linalg.solve(np.diag(rows.sum(1) + inner.sum(1)) - inner, rows @ z1)
    result = propagate(graph, known, z1, sweeps=300)
    np.testing.assert_allclose(result[wave], exact, atol=1e-4)
    assert (result[wave] <= z1.max(0) + 1e-4).all() and (result[wave] >= z1.min(0) - 1e-4).all()
    np.testing.assert_array_equal(result[known], z1)


def test_rows_belong_to_the_nodes_they_are_named_for():
    graph = sparse_graph()
    known = np.random.default_rng(2).permutation(80)[:40]  # in no order
    z1 = np.random.default_rng(3).normal(size=(40, 4)).astype(np.float32)
    order = np.argsort(known)
    np.testing.assert_allclose(
        propagate(graph, known, z1), propagate(graph, known[order], z1[order]), rtol=1e-6, atol=1e-6
    )


def test_later_waves_do_not_pull_and_unreachable_nodes_are_zero():
    path = CSR.from_edges(np.array([[0, 1, 2, 4], [1, 2, 3, 5]]), 6, undirected=True)
    result = propagate(path, np.array([0]), np.array([[2.0, -3.0]], np.float32))
    np.testing.assert_array_equal(result, [[2, -3]] * 4 + [[0, 0]] * 2)  # each wave copies the last


def test_only_the_core_is_walked_on_and_the_rest_lies_in_its_range(monkeypatch):
    seen = {}
    whole = corewalk.skip_gram

    def spy(walker, starts, *args, **options):
        seen.update(graph=walker.graph, starts=starts)
        return whole(walker, starts, *args, **options)

    monkeypatch.setattr(corewalk, "skip_gram", spy)
    model = CoreWalk(core=2, **SMALL).fit(clique_with_tail())
    assert seen["graph"].nodes == 5 and seen["graph"].edges == 20
    assert np.bincount(seen["starts"]).tolist() == [6] * 5 and model.walked_ == 30
    x = model.encoder.vectors.numpy()
    np.testing.assert_array_equal(x[5], x[4])
    np.testing.assert_array_equal(x[6], x[4])
    assert (x[7] == 0).all() and np.abs(x[:5]).min() > 0


def test_a_seed_repeats_and_directions_do_not_matter():
    arrows = CSR.from_edges(np.random.default_rng(0).integers(0, 40, (2, 150)), 40)
    first = CoreWalk(core=3, **SMALL).fit(arrows, seed=1).encoder.vectors.numpy()
    again = CoreWalk(core=3, **SMALL).fit(arrows.undirected().without_loops(), seed=1).encoder.vectors.numpy()
    np.testing.assert_array_equal(first, again)


def test_wrong_options_are_told():
    with pytest.raises(BadInput, match="did you mean 'power'"):
        CoreWalk(schedule="powr")
    with pytest.raises(BadInput, match="CoreWalk needs"):
        CoreWalk(core=-1)
    with pytest.raises(BadInput, match="no 9-core; its deepest is 4"):
        CoreWalk(core=9).fit(clique_with_tail())
