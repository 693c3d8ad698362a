"""What is published of a paper: its own run, and its row in the image table where it has none."""

from __future__ import annotations

import json

import pytest

from vergence.benchmarks import published as module
from vergence.benchmarks.published import IMAGE_TABLE, published, with_real_data
from vergence.cli.catalog import marks

ROW = {
    "shared": "image table",
    "seeds": [0, 1, 2],
    "source": "cifar10",
    "metric": "accuracy",
    "less_is_better": False,
    "arms": {"paper": {"mean": 0.239, "std": 0.0101, "values": [0.229, 0.239, 0.249]}},
    "untrained": {"mean": 0.322, "std": 0.004, "values": [0.318, 0.322, 0.326]},
}
GENERATED = {**ROW, "source": "generated"}
OWN = {**ROW, "source": "stl10"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PUBLISHED", tmp_path)
    (tmp_path / IMAGE_TABLE).write_text(json.dumps({"comparisons": {"mls": ROW}, "scores": {}}))
    return tmp_path


def test_the_row_stands_in_where_there_is_no_result(folder):
    assert published("mls") == {"also": [ROW]}
    assert published("simclr") is None
    assert marks(published("mls"))["real data"] == "cifar10 23.9 ± 1.0 (untrained 32.2), image table"


def test_the_row_follows_what_is_generated_and_leaves_the_rest_as_it_is(folder):
    result = {"mechanism": {"clear": True}, **GENERATED, "also": [GENERATED]}
    (folder / "mls.json").write_text(json.dumps(result))
    assert published("mls") == {**result, "also": [GENERATED, ROW]}


@pytest.mark.parametrize("result", [OWN, {**GENERATED, "also": [OWN]}])
def test_a_run_of_its_own_stands_alone(folder, result):
    (folder / "mls.json").write_text(json.dumps(result))
    assert published("mls") == result
    assert list(with_real_data(published("mls"))) == [OWN]
