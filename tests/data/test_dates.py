"""Dates that are no ISO 8601: the order is told by a day above 12, by the year in front, or not at all."""

import datetime

import pyarrow as pa
import pytest

from vergence.core import BadInput
from vergence.data.dates import date_order, iso_dates
from vergence.data.roles import role
from vergence.data.times import times_of


def column(*words):
    return pa.chunked_array([pa.array(words, pa.string())])


@pytest.mark.parametrize(
    ("words", "order"),
    [
        (["31/12/2024", "01/03/2024", None], "day"),
        (["12/31/2024", "1/3/2024"], "month"),
        (["01/03/2024", "02/03/2024"], "unknown"),
        (["05/05/2024", "06.06.2024"], "day"),  # the same either way
        (["31/12/2024", "12/31/2024"], "mixed"),
        (["2024/03/01", "2024.3.1 10:00"], "year"),
        (["2024-03-01"], None),
        (["31/12/24"], None),  # which century?
        (["31/12/2024", "soon"], None),
        (["10.0.0.1"], None),
        (["1.5", "2"], None),
        ([None, None], None),
        ([], None),
    ],
)
def test_the_order_of_a_column_is_told_by_all_of_its_dates(words, order):
    assert date_order(column(*words)) == order


@pytest.mark.parametrize("parts", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%m-%d-%Y", "%Y/%m/%d"])
@pytest.mark.parametrize("clock", ["", " %H:%M", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S.%f%p"])
def test_dates_are_read_as_python_reads_them(parts, clock):
    whole = "%S" in clock
    times = [
        datetime.datetime(
            2024, 1 + i % 12, 1 + i % 28, i % 24 if clock else 0, i if clock else 0, i if whole else 0
        )
        for i in range(0, 60, 7)
    ]
    words = column(*(time.strftime(parts + clock) for time in times))
    ticks, known, per_second = times_of(words, "ts", "log")
    expected = [time.replace(tzinfo=datetime.UTC).timestamp() for time in times]
    assert (ticks / per_second).tolist() == expected and known.all()


def test_a_zone_counts():
    words = column("31/12/2024 10:00 +02:00", "30/12/2024 23:30:00-05:00")
    ticks, _, per_second = times_of(words, "ts", "log")
    assert (ticks / per_second).tolist() == [1735632000.0, 1735619400.0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["01/03/2024", "02/03/2024"],
            "dates such as 01/03/2024: no value tells whether the day or the month",
        ),
        (["31/12/2024", "12/31/2024"], "in some the day comes first, in others the month"),
        (["31/02/2024"], "no ISO 8601 time"),
    ],
)
def test_what_cannot_be_told_is_one_line_that_says_what_to_write(words, said):
    with pytest.raises(BadInput, match=f"Column ts of log .*{said}") as error:
        times_of(column(*words), "ts", "log")
    assert "\n" not in str(error.value)
    assert "2024-01-31" in str(error.value) or "31/02" in str(error.value) or "2024-02-31" in str(error.value)


def test_twelve_hours_begin_with_twelve():
    words = column("12/31/2024 12:05 AM", "12/31/2024 12:05 PM", "12/31/2024 1:05 pm")
    assert [time[-5:] for time in iso_dates(words, "month").to_pylist()] == ["00:05", "12:05", "13:05"]


def test_dates_in_a_table_are_times_whatever_their_order():
    for words in (["01/03/2024", "01/03/2024"], ["31/12/2024", "30/12/2024"]):
        assert role("bought", column(*words)) == "a time"
    assert role("bought", column("red", "red", "blue")) == "categorical"
