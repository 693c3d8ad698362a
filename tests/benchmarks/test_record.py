import dataclasses

import numpy as np
import pytest

from vergence import catalog
from vergence.benchmarks.record import Mechanism, Parity, Record, find_record, record_keys
from vergence.benchmarks.tasks import Metric, generated
from vergence.core import BadInput

TASK = generated(lambda source, seed: ([seed], [seed]), Metric("share"))
ARMS = {"paper": lambda task, seed: 0.5, "off": lambda task, seed: 0.4, "untrained": lambda task, seed: 0.1}
SMALL = Record(key="simclr", claim="A half is more than two fifths.", task=TASK, arms=ARMS)


def test_a_paper_without_a_record_says_which_have_one():
    planned = next(paper.key for paper in catalog.PAPERS if not paper.code)
    with pytest.raises(BadInput, match=f"'{planned}' .* has no run of record yet; there are: .*simclr"):
        find_record(planned)
    with pytest.raises(BadInput, match="Unknown run of record 'rotnett'; did you mean 'rotnet'\\?"):
        find_record("rotnett")


@pytest.mark.parametrize("key", record_keys())
def test_every_record_says_what_it_claims_and_whom_it_must_beat(key):
    result = find_record(key)
    assert any(one.all_rivals for one in result.family)
    for one in result.family:
        assert one.key == key
        assert len(set(one.seeds)) >= 3
        assert one.claim.endswith(".")
        assert set(one.all_rivals) <= set(one.arms) - {"paper", "untrained", "raw"}
        names = [metric.name for metric in one.task.metrics]
        assert all(names) and len(set(names)) == len(names)


def test_rivals_are_the_ablations_and_baselines_unless_they_are_named():
    assert SMALL.all_rivals == ("off",)
    more = {**ARMS, "another form of the paper's": ARMS["paper"]}
    assert dataclasses.replace(SMALL, arms=more, rivals=("off",)).all_rivals == ("off",)


def test_a_comparison_needs_the_paper_and_rivals_among_its_arms():
    with pytest.raises(ValueError, match="A comparison needs the arm 'paper', got"):
        dataclasses.replace(SMALL, arms={"other": ARMS["off"]})
    with pytest.raises(BadInput, match="Unknown rival of a comparison 'of'; did you mean 'off'"):
        dataclasses.replace(SMALL, rivals=("of",))
    with pytest.raises(ValueError, match="A mechanism needs a rival"):
        Mechanism("A world.", task=TASK, arms={"paper": ARMS["paper"]})


def test_parity_is_the_largest_difference_and_its_share_of_the_largest_value():
    def compare():
        yield np.array([1.0, -3.0]), np.array([1.0, -4.0])
        yield 0.5, 0.25

    result = Parity("second", "a loop", compare=compare).measure()
    assert result == {"kind": "second", "against": "a loop", "commit": "", "max_abs": 1.0, "max_rel": 1.0}
    equal = Parity("second", "a loop", compare=lambda: [(np.zeros(2), np.zeros(2))]).measure()
    assert (equal["max_abs"], equal["max_rel"]) == (0, 0)
    broken = Parity("second", "a loop", compare=lambda: [(0.0, 0.0), (np.nan, 1.0)]).measure()
    assert np.isnan(broken["max_abs"]) and np.isnan(broken["max_rel"])


def test_parity_that_was_measured_elsewhere_is_told_as_it_is():
    known = Parity("official", "github.com/a/b", commit="abc", max_abs=2e-7, max_rel=3e-7)
    assert known.measure() == {
        "kind": "official",
        "against": "github.com/a/b",
        "commit": "abc",
        "max_abs": 2e-7,
        "max_rel": 3e-7,
    }
    with pytest.raises(ValueError, match="Parity needs max_abs, measured elsewhere, or a function"):
        Parity("official", "github.com/a/b")
    with pytest.raises(ValueError, match="Parity needs max_abs"):
        Parity("official", "github.com/a/b", max_abs=0.1, compare=list)
