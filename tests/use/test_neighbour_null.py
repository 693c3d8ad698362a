"""The null distribution of neighbours on points whose dimension is known."""

import numpy as np
import pytest

from vergence.use.neighbour_null import NeighbourNull, discovered


def nearest(unit, k):
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    return np.sort(cosines, axis=1)[:, -k:]


@pytest.mark.parametrize("dimension", [5, 9, 20])
def test_strangers_are_as_many_as_expected(dimension):
    random = np.random.default_rng(0)
    x = random.standard_normal((2000, dimension + 1))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosines = nearest(unit, 32)
    null = NeighbourNull.fit(cosines)
    assert np.median(null.dimension) == pytest.approx(dimension, rel=0.35) and null.spread
    rows, other = np.arange(2000), (unit @ unit.T - 2 * np.eye(2000)).argmax(1)
    seen = null.log_strangers(cosines[:, -1], rows)
    for count in (0.05, 0.2, 0.7):  # a row has a stranger within that number with odds of 1 - exp(-count)
        odds = 1 - np.exp(-count)
        assert (seen < np.log(count)).mean() == pytest.approx(odds, rel=0.4)
        both = np.maximum(seen, null.log_strangers(cosines[:, -1], other)) < np.log(count)
        assert 0.25 * odds < both.mean() < odds, "seen from both, no more than said"


def test_copies_around_a_row_do_not_change_what_is_expected_of_strangers():
    random = np.random.default_rng(1)
    x = random.standard_normal((1000, 7))
    x[-6:] = x[0] + 1e-2 * random.standard_normal((6, 7))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosines = nearest(unit, 32)
    null = NeighbourNull.fit(cosines)
    log_strangers = null.log_strangers(cosines[0, -6:], np.zeros(6, np.int64))
    assert log_strangers.max() < np.log(1e-6)


def test_points_on_top_of_each_other_have_no_spread():
    assert not NeighbourNull.fit(np.ones((50, 16), np.float32)).spread


def test_discoveries_are_those_of_benjamini_and_hochberg():
    random = np.random.default_rng(0)
    for _ in range(20):
        values = np.log(np.r_[random.random(80), 1e-4 * random.random(random.integers(0, 20))])
        values[:5] = np.inf
        expected, n = -np.inf, len(values)
        for value in values:
            if n * np.exp(value) <= 0.05 * (values <= value).sum():
                expected = max(expected, value)
        assert discovered(values, 0.05) == expected
    assert discovered(np.full(10, np.inf), 0.05) == -np.inf
