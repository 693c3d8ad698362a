"""Lists of names: whatever the names are, what is written is what is read."""

import csv
import io

import pytest

from vergence.core.errors import BadInput
from vergence.core.lists import cell, read_cell, read_lines, write_lines

ODD = [
    "a.png",
    "two\nlines",
    "a.png\r",
    "b\x85c",
    "b\u2028c",
    '"quoted"',
    '"',
    " lead",
    "end ",
    "back\\slash",
    "é",
    "=1",
]


def test_names_with_line_breaks_come_back_as_one_name_each():
    text = write_lines(ODD)
    assert text.count("\n") == len(text.splitlines()) == len(ODD)
    assert read_lines(text) == ODD


def test_ordinary_names_stand_as_they_are():
    assert write_lines(["cat/1.png", "C:\\photos\\2.png", "ein Bild.jpg"]) == (
        "cat/1.png\nC:\\photos\\2.png\nein Bild.jpg\n"
    )


def test_a_list_of_another_editor_is_read():
    assert read_lines("\ufeffa.png\r\nb.png\r\n\r\nc.png") == ["a.png", "b.png", "c.png"]


def test_a_half_quoted_name_is_refused():
    with pytest.raises(BadInput, match=r'Line 2 begins with a double quote .* written "\\"b'):
        read_lines('a\n"b\n')


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "'=1", "''=1", "'plain", "plain", ""])
def test_no_cell_begins_a_formula_and_each_comes_back(text):
    file = io.StringIO()
    csv.writer(file).writerow([cell(text)])
    (row,) = csv.reader(io.StringIO(file.getvalue()))
    read = row[0] if row else ""
    assert not read.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert read_cell(read) == text
