"""The cut, its gain and its greedy order against their definitions."""

import numpy as np
import pytest

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.use.sas import even_shares, greedy, select, subset

RANDOM = np.random.default_rng(0)


def unit(n, d=4, mean=0.3):
    x = RANDOM.standard_normal((n, d)) + mean
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def cut(x, chosen):
    s = np.maximum(x.astype(np.float64) @ x.T, 0)
    inside = np.isin(np.arange(len(x)), chosen)
    return s[~inside][:, inside].sum()


def test_a_gain_is_the_growth_of_the_cut():
    x = unit(30)
    order, gains = greedy(x, 30)
    grown = np.diff([cut(x, order[:m]) for m in range(31)])
    np.testing.assert_allclose(gains, grown, atol=1e-4)
    assert (np.diff(gains) <= 1e-4).all()  # submodular
    assert cut(x, order) == 0 and sorted(order) == list(range(30))


@pytest.mark.parametrize("mean", [0.0, 0.3, 3.0])
def test_lazy_and_naive_greedy_choose_the_same(mean):
    x = unit(60, mean=mean)
    naive = []
    for _ in range(40):
        rest = [e for e in range(60) if e not in naive]
        naive.append(max(rest, key=lambda e: cut(x, [*naive, e])))
    assert greedy(x, 40)[0].tolist() == naive


def test_redundancy_counts():
    """Three copies in the dense part: by row sums alone all would come first."""
    x = np.float32([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]])
    order, gains = greedy(x, 3)
    assert gains.tolist() == [2, 1, 0] and sorted(order[:1]) == [0] and 3 in order[:2]


def test_every_class_keeps_its_share():
    assert even_shares(np.array([10, 20, 3]), 11).tolist() == [3, 7, 1]
    x, classes = unit(100), RANDOM.integers(0, 4, 100)
    result = subset(x, 60, classes=classes)
    assert len(result) == 60 == len(set(result.rows)) and (abs(result.after - 0.6 * result.before) < 1).all()
    own = np.flatnonzero(classes == 2)
    expected = own[greedy(x[own], result.after[2])[0]]
    np.testing.assert_array_equal(result.rows[classes[result.rows] == 2], expected)


def test_length_says_nothing_and_below_the_peak_no_outlier_is_chosen(tmp_path):
    centre = np.eye(3)[np.repeat([0, 1], 50)]
    x = centre + 0.1 * RANDOM.standard_normal((100, 3))
    x[[7, 70]] = [0, 0, 1], [0, 0, -1]
    stretched = (x * RANDOM.uniform(0.1, 9, (100, 1))).astype(np.float32)
    store = Store.create(tmp_path / "s.lance", None, stretched, ids=list(map(str, range(100))))
    result = select(store, 40, classes=np.repeat([0, 1], 50))
    assert not {7, 70} & set(result.rows.tolist())
    np.testing.assert_array_equal(result.rows, subset(x, 40, classes=np.repeat([0, 1], 50)).rows)
    assert len(select(store, 60, classes=2).before) == 2


def test_mistakes_are_told():
    with pytest.raises(BadInput, match="Of 5 rows 1 to 5 can be kept; 0"):
        subset(unit(5), 0)
    with pytest.raises(BadInput, match="a number from 0 for each of 5 rows"):
        subset(unit(5), 2, classes=np.zeros(4, int))
