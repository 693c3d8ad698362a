import numpy as np
import pyarrow as pa
import pytest

from vergence.data.written import parsed, style, written_as


def column(*values):
    return pa.chunked_array([list(values)], pa.string())


@pytest.mark.parametrize(
    ("words", "decimal", "numbers"),
    [
        (["1,50", "2,25"], ".", [1.5, 2.25]),
        (["1,500.00", "12.5"], ".", [1500, 12.5]),
        (["1,500", "2,000"], ".", [1500, 2000]),
        (["1,500", "2,000"], ",", [1.5, 2]),
        (["1.500", "950"], ",", [1500, 950]),
        (["1.500,50", "-2,5"], ".", [1500.5, -2.5]),
        (["1 500,5", "2\u00a0000"], ".", [1500.5, 2000]),
        (["1'500.5", "20"], ".", [1500.5, 20]),
        (["3%", "12.5 %"], ".", [3, 12.5]),
        (["$5", "-$1,000.50"], ".", [5, -1000.5]),
        (["5 €", "1,5 €"], ".", [5, 1.5]),
        (["?", "7", "NA", "-", " 8 "], ".", [np.nan, 7, np.nan, np.nan, 8]),
        (["1e3", ".5", None], ".", [1000, 0.5, np.nan]),
    ],
)
def test_words_that_are_numbers_are_read_as_these(words, decimal, numbers):
    values = column(*words)
    mark = style(values, decimal)
    assert mark is not None
    np.testing.assert_array_equal(parsed(values, mark), numbers)


@pytest.mark.parametrize(
    "words",
    [
        ["01067", "80331"], ["3%", "5"], ["1-2", "3"], ["red", "5"], ["?", "NA"], [None, None],
        ["2024-01-01", "2024-01-02"], ["1,50", "1.50.00"], ["1,5,0"], ["%"], ["12:30"],
    ],
)  # fmt: skip
def test_other_words_are_none(words):
    assert style(column(*words)) is None


def test_how_words_were_read_is_said_by_an_example():
    assert written_as(column("1,50", "?", "?")) == "1,50 is 1.5, '?' is missing in 2 rows"
    assert written_as(column("red")) == "" == written_as(pa.chunked_array([[1, 2]]))
