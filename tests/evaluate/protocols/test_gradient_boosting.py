"""Aggregates against pandas-like loops; AUC and folds against scikit-learn."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

import vergence
from vergence.engine import embed
from vergence.evaluate.protocols.gradient_boosting import auc, boosting, cross_validated, linear_auc
from vergence.methods.events.aggregates import Aggregates


def test_aggregates_equal_those_computed_by_hand(tmp_path):
    path = tmp_path / "log.parquet"
    columns = {
        "id": [1, 1, 1, 2],
        "ts": [0, 3, 4, 9],
        "shop": ["x", "y", "x", None],
        "paid": [2.0, None, 4.0, 5.0],
    }
    pq.write_table(pa.table(columns), path)
    source = vergence.open(f"events:{path}?id=id&time=ts&categorical=shop&numeric=paid")
    net = Aggregates(source)
    first, second = embed(net, source).vectors
    assert len(first) == net.out_dim
    gaps = np.log1p([0, 3, 1])
    expected = [np.log1p(3), np.log1p(4), gaps.mean(), gaps.std(), 0, gaps.max()]
    expected += [3, 1, 2, 4, 6, 1 / 3]  # paid: mean, deviation, least, most, sum, missing
    expected += [0, 2 / 3, 1 / 3, 0, 2]  # shop: missing, x, y, others; how many kinds
    expected += [0, 3, 0, 0]  # mean paid within each
    np.testing.assert_allclose(first, expected, rtol=1e-6)
    assert second[12] == 1 and second[6] == 5


def test_auc_is_scikit_learns_ties_included():
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 10, 200).astype(float), rng.random(200) < 0.3
    result = auc(scores, truth)
    assert result.value == pytest.approx(roc_auc_score(truth, scores))
    assert result.low < result.value < result.high


def test_delong_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    from scipy.stats import norm

    true = norm.cdf(1 / 2**0.5)
    inside = 0
    for _ in range(300):
        truth = np.arange(80) < 30
        result = auc(rng.normal(size=80) + truth, truth)
        inside += result.low <= true <= result.high
    assert 0.9 <= inside / 300 <= 0.99


@pytest.mark.parametrize("judge", [boosting, linear_auc])
def test_a_telling_feature_is_found_and_noise_is_not(judge):
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = np.stack([y + 0.1 * rng.normal(size=200), rng.normal(size=200)], 1)
    half = np.arange(200) < 100
    good = judge(x[half], y[half], x[~half], y[~half])
    blind = judge(x[half, 1:], y[half], x[~half, 1:], y[~half])
    assert good["auc"].value > 0.99 and good["accuracy"].value > 0.97
    assert blind["auc"].value < 0.7


def test_folds_judge_every_sample_and_several_classes_have_no_auc():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    result = cross_validated(rng.normal(size=(60, 2)), y, "linear", folds=3, seeds=(0, 1))
    assert set(result) == {"accuracy"} and result["accuracy"].n == 6
