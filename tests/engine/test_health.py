import math

import pytest
import torch

from vergence.engine.health import Health, alignment, feature_std, rankme, uniformity


def test_std_is_one_when_spread_evenly_and_zero_when_collapsed():
    torch.manual_seed(0)
    assert feature_std(torch.randn(2000, 64)) == pytest.approx(1.0, abs=0.03)
    assert feature_std(torch.ones(10, 4)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_rankme_counts_equally_strong_directions(rank):
    assert rankme(torch.eye(8)[:rank].repeat(5, 1)) == pytest.approx(rank, rel=1e-3)


def test_alignment_is_the_mean_squared_distance_of_unit_rows():
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert alignment(x, x) == 0
    assert alignment(x, -x) == pytest.approx(4.0)
    assert alignment(x, x.flip(0)) == pytest.approx(2.0)


def test_uniformity_by_hand():
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    expected = math.log((math.exp(-8) + 2 * math.exp(-4)) / 3)
    assert uniformity(x) == pytest.approx(expected)


def test_a_collapse_is_warned_of_in_words_and_nothing_else_is():
    fine = Health(std=0.8, rankme=30.0, alignment=0.5, uniformity=-2.0)
    assert fine.warning(fine, 64) == ""
    assert "nearly the same embedding" in Health(0.001, 1.0, 0.0, 0.0).warning(fine, 64)
    assert "1.2 of 64 directions (30.0 before" in Health(0.3, 1.2, 0.1, -0.1).warning(fine, 64)
    assert "NaN" in Health(math.nan, math.nan, math.nan, math.nan).warning(fine, 64)
