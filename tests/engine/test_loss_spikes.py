from __future__ import annotations

import pytest

from vergence.engine.loss_spikes import LossSpikes


def after(losses):
    """Return loss spikes that have seen ``losses``, none of them a jump."""
    spikes = LossSpikes()
    assert [spikes.note(loss) for loss in losses] == [""] * len(losses)
    return spikes


def test_a_jump_is_ten_deviations_and_a_tenth_above_the_median():
    steady = [1.0, 1.2] * 5  # median 1.1, median absolute deviation 0.1: a jump is above 1.1 + 1 + 0.11
    assert after(steady).note(2.2) == ""
    assert after(steady).note(2.22) == "the loss jumped to 2.22 from 1.1."


def test_a_fall_is_no_jump_and_neither_is_anything_before_ten_losses():
    assert after([1.0] * 10).note(-50.0) == ""
    assert after([1.0] * 9).note(50.0) == ""
    assert after([1.0] * 10).note(50.0) != ""


def test_only_the_last_fifty_losses_count():
    spikes = after([100.0] * 50)
    assert all(spikes.note(1.0) == "" for _ in range(25))
    assert spikes.note(99.0) == ""  # the median is 50.5, halfway
    assert [spikes.note(1.0) for _ in range(2)] == ["", ""]
    assert spikes.note(99.0) == "the loss jumped to 99 from 1."


@pytest.mark.parametrize("loss", [-3.0, 0.0, 3.0])
def test_a_loss_that_stays_is_none(loss):
    assert after([loss] * 60).note(loss) == ""
