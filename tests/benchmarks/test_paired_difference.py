import pytest

from vergence.benchmarks.paired_difference import margin, not_beaten


def test_margin_by_hand_and_only_a_lead_beyond_the_spread_counts():
    clear = margin([0.60, 0.61, 0.62], [0.50, 0.52, 0.51])  # ahead by 0.10, 0.09, 0.11
    assert clear["mean"] == pytest.approx(0.10)
    slack = 2.920 * 0.01 / 3**0.5  # t of two degrees of freedom, one-sided 95 %
    assert clear["low"] == pytest.approx(0.10 - slack, abs=1e-4)
    assert clear["high"] == pytest.approx(0.10 + slack, abs=1e-4)
    assert margin([0.6, 0.5, 0.7], [0.5, 0.55, 0.6])["low"] < 0
    assert margin([0.6], [0.5])["low"] == margin([0.6], [0.5])["high"] == pytest.approx(0.1)


def test_a_lead_that_is_none_is_told_in_points_or_in_the_unit_of_an_error():
    margins = {"other": margin([0.60, 0.61], [0.70, 0.72]), "behind": margin([0.6, 0.6], [0.1, 0.1])}
    assert list(not_beaten(margins)) == ["Here the paper's arm falls behind 'other': -10.5 points, sd 0.7."]
    (said,) = not_beaten(margins, points=False)
    assert said == "Here the paper's arm falls behind 'other': -0.105, sd 0.007."
