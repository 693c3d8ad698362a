"""The calibrated rule on real measurements, with and without copies among them."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris

from vergence.use.calibrated import calibrated_pairs


def standardised(load):
    x = load().data
    return ((x - x.mean(0)) / np.maximum(x.std(0), 1e-6)).astype(np.float32)


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer])
def test_real_rows_are_not_copies_of_each_other_but_planted_ones_are(load):
    x = load().data.astype(np.float32) if load is load_digits else standardised(load)
    assert calibrated_pairs(x).total == 0
    random = np.random.default_rng(0)
    rows = random.permutation(len(x))[:15]
    noise = 0.02 * x.std(0) * random.standard_normal((15, x.shape[1]))
    result = calibrated_pairs(np.concatenate([x, x[rows] + noise.astype(np.float32)]))
    wanted = {(int(row), len(x) + i) for i, row in enumerate(rows)}
    assert wanted <= {tuple(pair) for pair in result.pairs.tolist()} and result.total <= 18
    assert result.chance < 1


def test_the_flower_that_was_measured_twice_is_found():
    result = calibrated_pairs(standardised(load_iris))
    assert result.pairs.tolist() == [[101, 142]] and result.similarity[0] == pytest.approx(1)
    assert [group.tolist() for group in result.groups] == [[101, 142]]


def test_only_the_surest_are_listed_but_all_are_counted():
    x = standardised(load_breast_cancer)
    x = np.concatenate([x, x[:20]])
    whole, some = calibrated_pairs(x), calibrated_pairs(x, limit=5)
    assert whole.total == some.total >= 20 and len(some.pairs) == 5
    assert some.pairs.tolist() == whole.pairs[:5].tolist() and len(some.groups) == len(whole.groups)
