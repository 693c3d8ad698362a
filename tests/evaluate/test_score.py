import numpy as np
import pytest

from vergence.evaluate.score import Score, mean_score


def test_interval_of_a_share_is_that_of_the_normal_approximation():
    outcomes = np.arange(4000) < 2400  # 0.6 right
    score = mean_score(outcomes)
    half = 1.96 * np.sqrt(0.6 * 0.4 / 4000)
    assert score.value == pytest.approx(0.6)
    assert score.low == pytest.approx(0.6 - half, abs=0.003)
    assert score.high == pytest.approx(0.6 + half, abs=0.003)
    assert score.n == 4000


def test_interval_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    scores = [mean_score(rng.exponential(0.3, 100).clip(0, 1), repeats=400, seed=i) for i in range(300)]
    truth = np.mean(rng.exponential(0.3, 10**6).clip(0, 1))
    covered = np.mean([s.low <= truth <= s.high for s in scores])
    assert 0.90 <= covered <= 0.98


def test_certain_outcomes_leave_no_width_and_the_value_is_never_outside():
    assert (mean_score(np.ones(7)).low, mean_score(np.ones(7)).high) == (1.0, 1.0)
    one = mean_score(np.array([0.3]))
    assert one.low <= one.value <= one.high


def test_score_prints_percent_and_compares_intervals():
    better, worse = Score(0.632, 0.623, 0.641, 100), Score(0.6, 0.59, 0.61, 100)
    assert str(better) == "63.2 [62.3, 64.1]"
    assert better.above(worse) and not worse.above(better)
    assert not better.above(Score(0.62, 0.61, 0.63, 100))


def test_mean_score_needs_a_value():
    with pytest.raises(ValueError, match=r"one value a sample \(n,\).*got \(0,\)"):
        mean_score(np.array([]))
