"""``--background`` of search and duplicates, from the command line."""

import json

import numpy as np
import pytest

from vergence.cli.main import MISTAKE, main
from vergence.store.table import Store


@pytest.fixture
def stores(tmp_path):
    """Rows 0 and 1 lie where everything lies, 2 and 3 where nothing does; both pairs are as alike."""
    rows = np.array([[1, 0.3, 0, 0], [1, -0.3, 0, 0], [0, 0, 1, 0.3], [0, 0, 1, -0.3]], np.float32)
    ground = np.random.default_rng(0).normal([1, 0, 0, 0], 0.1, (30, 4)).astype(np.float32)
    for name, x in (("rows", rows), ("ground", ground)):
        Store.create(tmp_path / f"{name}.lance", None, x, ids=[f"{name}{i}" for i in range(len(x))])
    return tmp_path


def said(capsys, *words):
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_scores_are_taken_relative_to_the_background(stores, capsys):
    rows, ground = str(stores / "rows.lance"), str(stores / "ground.lance")
    plain = said(capsys, "search", rows, "rows0", "--k", "1")["hits"][0]
    normal = said(capsys, "search", rows, "rows0", "--k", "1", "--background", ground)["hits"][0]
    assert plain["id"] == normal["id"] == "rows1" and normal["score"] < plain["score"] - 0.5
    both = said(capsys, "duplicates", rows, "--threshold", "0.8")["pairs"]
    assert {(p["first"], p["second"]) for p in both} == {("rows0", "rows1"), ("rows2", "rows3")}
    result = said(capsys, "duplicates", rows, "--background", ground)["pairs"]
    assert [(p["first"], p["second"]) for p in result] == [("rows2", "rows3")]
    assert result[0]["score"] > 0.35 and "cosine" not in result[0]


def test_a_background_from_the_same_store_is_a_mistake(stores, capsys):
    rows = str(stores / "rows.lance")
    assert main(["duplicates", rows, "--background", rows]) == MISTAKE
    assert "from elsewhere" in capsys.readouterr().err
