from __future__ import annotations

import pytest

from vergence.core.numbers import short, tick_labels, written


def test_numbers_are_short():
    assert [short(v) for v in (0.95, -1.234, 1234, 12_300, 0)] == ["0.95", "-1.23", "1234", "12.3k", "0"]


@pytest.mark.parametrize("code", [10_115, 99_501, 1999, 123_456_789, 7])
def test_a_value_that_may_be_a_code_keeps_its_digits(code):
    assert written(float(code)) == str(code)


def test_labels_of_one_axis_differ_wherever_values_do():
    assert tick_labels([0.0, 0.25, 0.5]) == ["0", "0.25", "0.5"]
    assert tick_labels([1.00001, 1.00002, 1.00003]) == ["1.00001", "1.00002", "1.00003"]
    assert tick_labels([10_000.0, 10_010.0]) == ["10000", "10010"]
    assert tick_labels([2.0]) == ["2"]
