import json

import pytest

from vergence.benchmarks import resuming
from vergence.benchmarks.resuming import Unfinished


@pytest.fixture
def begun(tmp_path):
    """A file with one job, and the clock's seconds it holds."""
    first = Unfinished(tmp_path / "a.part", "run")
    first.began -= 100
    first.add(2, "paper", 1, {"share": 0.5, "error": 1 / 3}, 7.5)
    return tmp_path / "a.part"


def test_what_was_found_is_there_again(begun):
    again = Unfinished(begun, "run")
    assert len(again) == 1
    assert again.get(2, "paper", 1) == ({"share": 0.5, "error": 1 / 3}, 7.5)
    assert again.get(0, "paper", 1) is None and again.get(2, "paper", 0) is None
    again.add(0, "other", 1, {"share": 0.25}, 2.0)
    assert len(Unfinished(begun, "run")) == 2


def test_time_between_the_parts_does_not_count(begun, monkeypatch):
    spent = json.loads(begun.read_text())["seconds"]
    assert 100 < spent < 110
    monkeypatch.setattr(resuming.time, "monotonic", lambda: 1e6)
    assert Unfinished(begun, "run").began == pytest.approx(1e6 - spent)


def test_another_run_or_other_code_begins_anew(begun, monkeypatch):
    assert len(Unfinished(begun, "other data")) == 0
    monkeypatch.setattr(resuming, "_code", lambda: "edited")
    assert len(Unfinished(begun, "run")) == 0


@pytest.mark.parametrize("content", ["", "[1]", '{"run": "run"}', "\x00"])
def test_a_file_that_is_none_of_ours_begins_anew(begun, content):
    begun.write_text(content)
    assert len(Unfinished(begun, "run")) == 0


def test_nothing_is_written_before_an_arm_ends_and_nothing_stays(tmp_path):
    path = tmp_path / "a.part"
    empty = Unfinished(path, "run")
    assert not path.exists()
    empty.end()
    empty.add(0, "paper", 0, {"share": 0.5}, 1.0)
    assert path.exists()
    empty.end()
    assert not path.exists()
