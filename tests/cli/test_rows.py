"""``vergence rate``: a column of ratings, and what is said of them."""

import json

import numpy as np
import pytest

from vergence.cli import main
from vergence.store.table import Store


@pytest.fixture
def store(tmp_path):
    x = np.array([[1, 0.1], [1, 0.2], [0.1, 1], [0.2, 1], [0.9, 0.5], [0.4, 1]], np.float32)
    return Store.create(
        tmp_path / "s.lance",
        None,
        x,
        ids=list("abcdef"),
        metadata={"eye": ["yes", "yes", "no", "no", None, None]},
    )


def test_rows_are_rated_by_examples_and_the_column_is_kept(store, capsys):
    words = ["rate", str(store.path), "--good", "eye = 'yes'", "--bad", "eye = 'no'", "--into", "sharp"]
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["rated"] == 6 and printed["best"][0][0] == "a" and printed["worst"][0][0] == "c"
    kept = Store.open(store.path).read(["id", "sharp"]).to_pydict()
    rating = dict(zip(kept["id"], kept["sharp"], strict=True))
    assert rating["e"] > 0.5 > rating["f"]
    assert main(words) == 0  # again, in place of the first
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("  a") and "6 rows are rated in the column sharp" in said[-1]


def test_a_condition_without_rows_is_one_line(store, capsys):
    assert main(["rate", str(store.path), "--good", "eye = 'both'", "--bad", "eye = 'no'"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "nothing fulfils eye = 'both'" in said


def test_a_delete_says_of_how_many_and_asks_beyond_a_quarter(store, capsys):
    assert main(["delete", str(store.path), "--where", "eye = 'yes'"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "takes 2 of the 6 rows" in said and "--yes" in said
    assert len(Store.open(store.path)) == 6
    assert main(["delete", str(store.path), "--where", "id = 'a'"]) == 0
    assert "1 of 6 rows deleted, 5 left" in capsys.readouterr().out
    assert main(["delete", str(store.path), "--ids", "b,c,zz", "--yes", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["deleted"], printed["of"], printed["left"], printed["missing"]) == (2, 5, 3, 1)
    assert main(["delete", "--help"]) == 0 and "More than a quarter" in capsys.readouterr().out


def test_a_condition_that_is_not_understood_deletes_nothing(store, capsys):
    assert main(["delete", str(store.path), "--where", "id = 'a'; id = 'b'", "--yes"]) == 2
    assert "not understood from ';'" in capsys.readouterr().err
    assert len(Store.open(store.path)) == 6


def test_a_list_of_odd_ids_deletes_these_rows_and_no_others(tmp_path, capsys):
    names = ["a", "b", "a\nb", "c,d", "c", '"q"', "e\r", "e", "f", "g", "h"]
    store = Store.create(tmp_path / "s.lance", None, np.eye(11, dtype=np.float32), ids=names)
    chosen = tmp_path / "keep.txt"
    assert main(["curate", str(store.path), "--keep", "10", "--out", str(chosen)]) == 0
    assert len(chosen.read_text().splitlines()) == 10
    assert main(["delete", str(store.path), "--ids", f"@{chosen}", "--yes"]) == 0
    assert len(Store.open(store.path)) == 1
    store = Store.create(store.path, None, np.eye(11, dtype=np.float32), ids=names, overwrite=True)
    assert main(["delete", str(store.path), "--ids", '"c,d",f']) == 0
    assert Store.open(store.path).names == [name for name in names if name not in ("c,d", "f")]
    capsys.readouterr()
    assert main(["search", str(store.path), "a\nb", "--k", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
