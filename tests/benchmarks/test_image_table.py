"""The table of image methods at one budget: what it trains, and how its rows are read."""

from __future__ import annotations

import json

import pytest

from vergence import catalog
from vergence.benchmarks import image_table as module
from vergence.benchmarks.image_table import (
    ENCODERS,
    ENTRANTS,
    NEEDS,
    RESNET,
    UNTRAINED,
    as_text,
    image_table,
    rows,
    times,
    written,
)
from vergence.core import BadInput
from vergence.methods import method_class
from vergence.methods.image.encoders import build

WRITTEN = {
    "scores": {
        "untrained": {"0": {"knn": 0.3, "linear": 0.35, "seconds": 0.0}},
        "simclr": {
            "0": {"knn": 0.4, "linear": 0.5, "seconds": 10.0},
            "1": {"knn": 0.42, "linear": 0.5, "seconds": 30.0},
        },
        "byol": {"0": {"knn": 0.5, "linear": 0.4, "seconds": 50.0}},
    }
}


def test_rows_come_by_accuracy_and_time_is_a_ratio_to_simclr():
    table = rows(WRITTEN)
    assert [row.key for row in table] == ["byol", "simclr", "untrained"]
    assert times(table) == {"byol": 2.5, "simclr": 1.0}
    assert [line.split() for line in as_text(table).splitlines()[1:]] == [
        ["byol", "50.0", "40.0", "2.50"],
        ["simclr", "41.0", "±", "1.4", "50.0", "±", "0.0", "1.00"],
        ["untrained", "30.0", "35.0"],
    ]


def test_without_simclr_there_is_no_yardstick():
    assert times([row for row in rows(WRITTEN) if row.key != "simclr"]) == {}


@pytest.mark.parametrize("key", [key for key in ENTRANTS if catalog.find(key).code])
def test_every_entrant_has_the_options_that_the_table_gives_it(key):
    name, options = ENCODERS[NEEDS.get(key, RESNET)]
    method_class(key)(build(name, size=32, **options), **ENTRANTS[key])


def test_each_method_is_compared_with_the_untrained_encoder_of_its_own_by_the_seeds_of_both():
    def scores(*values):
        return {str(seed): {"knn": knn, "linear": 0.0, "seconds": 1.0} for seed, knn in enumerate(values)}

    table = written(
        {
            "untrained": scores(0.3, 0.32),
            "byol": scores(0.25, 0.26, 0.9),
            "mae": scores(0.36, 0.37),
            "untrained vit-micro, mean": scores(0.35, 0.36),
            "amdim": scores(0.5),
        }
    )
    compared = table["comparisons"]
    assert {key: one["encoder"] for key, one in compared.items()} == {"byol": RESNET, "mae": NEEDS["mae"]}
    assert [one["shared"] for one in compared.values()] == ["image table"] * 2
    assert compared["byol"]["seeds"] == [0, 1] and compared["byol"]["arms"]["paper"]["mean"] == 0.255
    assert compared["byol"]["margins"]["untrained"]["mean"] == pytest.approx(-0.055)
    assert "falls behind 'untrained': -5.5 points" in compared["byol"]["note"]
    assert compared["mae"]["untrained"]["mean"] == 0.355 and compared["mae"]["note"] == ""
    assert list(times(rows({"scores": {**table["scores"], "simclr": scores(0.4)}}))) == [
        "amdim",
        "byol",
        "simclr",
        "mae",
    ]


def test_one_seed_says_nothing_of_its_spread():
    one = {"0": {"knn": 0.3, "linear": 0.0, "seconds": 1.0}}
    compared = written({"untrained": one, "byol": {"0": {**one["0"], "knn": 0.25}}})["comparisons"]
    assert compared["byol"]["note"] == "One seed: -5.0 points on 'untrained', of unknown spread."


def test_what_is_no_entrant_is_said(tmp_path):
    with pytest.raises(BadInput, match="has no 'grace'; it has simclr"):
        image_table(["grace"], out=tmp_path / "table.json")


def test_what_is_written_is_not_trained_again(data_root, tmp_path, monkeypatch):
    for name, value in {"LEARNED": 64, "JUDGED": 64, "EPOCHS": 1, "BATCH": 32, "WIDTH": 4}.items():
        monkeypatch.setattr(module, name, value)
    path = tmp_path / "table.json"
    image_table(["simclr"], seeds=1, out=path, quiet=True)
    before = json.loads(path.read_text())["scores"]
    assert before.keys() == {UNTRAINED, "simclr"}
    assert before["simclr"]["0"]["seconds"] > 0
    image_table(["simclr"], seeds=2, out=path, quiet=True)
    after = json.loads(path.read_text())["scores"]
    assert {key: by_seed["0"] for key, by_seed in after.items()} == {k: v["0"] for k, v in before.items()}
    assert after["simclr"].keys() == {"0", "1"}
