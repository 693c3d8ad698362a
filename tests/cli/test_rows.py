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
    told = json.loads(capsys.readouterr().out)
    assert told["rated"] == 6 and told["best"][0][0] == "a" and told["worst"][0][0] == "c"
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
