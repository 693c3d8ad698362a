"""IVF against looking at every row."""

import numpy as np
import pytest

from vergence.use.ivf import IVF, neighbour_recall


def unit(n, d=8, groups=20, seed=0):
    generator = np.random.default_rng(seed)
    x = 2 * generator.standard_normal((groups, d))[np.arange(n) % groups] + generator.standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_all_cells_together_give_the_exact_answer():
    x, queries = unit(700), unit(9, seed=1)
    cells = IVF.of(x)
    scores, rows = cells.nearest(queries, 6, probes=len(cells.centres))
    similarity = queries @ x.T
    np.testing.assert_array_equal(rows, np.argsort(-similarity, axis=1)[:, :6])
    np.testing.assert_allclose(scores, -np.sort(-similarity, axis=1)[:, :6], rtol=1e-5)


def test_more_cells_find_more_and_the_recall_that_is_told_holds_for_others():
    x, queries = np.split(unit(4300), [4000])
    cells = IVF.of(x, wanted=0.95)
    truth = np.argsort(-(queries @ x.T), axis=1)[:, :10]
    shares = [neighbour_recall(truth, cells.nearest(queries, 10, probes=p)[1]) for p in (1, 4, 16)]
    assert shares[0] < shares[1] < shares[2]
    assert cells.recall >= 0.95 and neighbour_recall(truth, cells.nearest(queries, 10)[1]) >= 0.9


def test_only_allowed_rows_are_found_and_the_rest_is_empty():
    x = unit(400)
    among = np.zeros(400, bool)
    among[[5, 7]] = True
    scores, rows = IVF.of(x).nearest(x[:3], 4, among=among, probes=400)
    assert [set(line) for line in rows] == [{5, 7, -1}] * 3
    assert np.isnan(scores[:, 2:]).all() and (scores[:, 0] >= scores[:, 1]).all()


def test_recall_counts_neither_the_row_that_asks_nor_empty_places():
    truth = np.array([[0, 4, 5], [1, 6, -1]])
    result = np.array([[0, 5], [7, 1]])
    assert neighbour_recall(truth, result, own=np.array([0, 1])) == pytest.approx(1 / 3)  # 5 of 4, 5 and 6
    assert neighbour_recall(truth, result) == pytest.approx(3 / 5)


def test_a_handful_of_rows_is_one_cell():
    x = unit(5)
    assert len(IVF.of(x).centres) == 1 and IVF.of(x).nearest(x, 1)[1][:, 0].tolist() == [0, 1, 2, 3, 4]
