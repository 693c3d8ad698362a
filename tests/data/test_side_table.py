"""Columns of a csv beside the data."""

from __future__ import annotations

import pytest

from vergence.core import BadInput
from vergence.data.side_table import side_columns


def table(tmp_path, text):
    path = tmp_path / "side.csv"
    path.write_text(text)
    return path


def test_columns_come_in_the_order_of_the_samples(tmp_path):
    path = table(tmp_path, "\ufeffname,age,town\na.png,old,Rome\n\ndeep/b.png,young\n'=c.png,old,\n")
    names = ["x/a.png", "deep/b.png", "unknown.png", "=c.png"]
    assert side_columns(path, ["town", "age"], names) == [["Rome", "", "", ""], ["old", "young", "", "old"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("name,age\na,1\na,2\n", "names 'a' twice"),
        ("name,age\nz,1\n", "none of the 1 samples: its first column has 'z', the source 'a'"),
        ("name,size\na,1\n", "no column 'age'; it has name, size"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(tmp_path, text, words):
    with pytest.raises(BadInput, match=words):
        side_columns(table(tmp_path, text), ["age"], ["a"])


def test_a_last_part_that_several_samples_share_names_none_of_them(tmp_path):
    path = table(tmp_path, "name,age\n1.jpg,5\n")
    with pytest.raises(BadInput, match="'1.jpg', which 2 samples are called"):
        side_columns(path, ["age"], ["a/1.jpg", "b/1.jpg"])
    path = table(tmp_path, "name,age\na/1.jpg,5\nb/1.jpg,6\n")
    assert side_columns(path, ["age"], ["a/1.jpg", "b/1.jpg"]) == [["5", "6"]]
