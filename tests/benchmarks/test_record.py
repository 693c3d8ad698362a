import dataclasses
from types import SimpleNamespace

import pytest

from vergence.benchmarks import record
from vergence.benchmarks.record import Record, find_record, open_data, record_keys
from vergence.core import BadInput
from vergence.methods.pairs.simclr import SimCLR

SMALL = Record(
    key="simclr",
    claim="Training changes the number.",
    arms={"paper": SimCLR},
    source="digits",
    train=60,
    test=40,
)


def test_the_same_images_are_used_every_time_and_never_for_both():
    train, test = open_data(SMALL)
    again, _ = open_data(SMALL)
    assert list(train.names) == list(again.names)
    assert not set(train.names) & set(test.names)


def test_missing_data_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setenv("VERGENCE_DATA", str(tmp_path))
    with pytest.raises(BadInput, match=r"needs cifar10/train.parquet.*set VERGENCE_DATA"):
        open_data(dataclasses.replace(SMALL, source="cifar10"))


def test_missing_graphs_are_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setenv("VERGENCE_DATA", str(tmp_path))
    with pytest.raises(
        BadInput, match=r"osm-G.json; set VERGENCE_DATA to where the data of gain lies.$"
    ) as error:
        open_data(find_record("gain"))
    assert "\n" not in str(error.value)


def test_a_paper_without_a_record_says_which_have_one(monkeypatch):
    monkeypatch.setattr(record.catalog, "find", lambda key: SimpleNamespace(title="A Paper"))
    with pytest.raises(BadInput, match="'moon' .* has no run of record yet; there are: .*simclr"):
        find_record("moon")


@pytest.mark.parametrize("key", record_keys())
def test_every_record_says_what_it_claims(key):
    found = find_record(key)
    assert found.key == key
    assert len(set(found.seeds)) >= 3
    assert any(len(one.arms) > 1 for one in (found, *found.also))
    assert found.claim.endswith(".")
    assert isinstance(found.protocol, str) or found.metric


def test_a_record_needs_the_paper_and_a_known_protocol():
    with pytest.raises(ValueError, match="A record needs the arm 'paper', got"):
        dataclasses.replace(SMALL, arms={"other": SimCLR})
    with pytest.raises(BadInput, match="Unknown protocol of a record 'kn'"):
        dataclasses.replace(SMALL, protocol="kn")
