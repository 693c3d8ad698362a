"""Audits: a planted gap is found, drawn groups have none, and outcomes are those of slow loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vergence as vg
from vergence.core import BadInput
from vergence.data.tables import from_vectors
from vergence.engine import embed
from vergence.evaluate.inputs import stratified
from vergence.evaluate.seeraudit import FEW, JUDGED, audit, group_gap, groups_of, kilometres, placed
from vergence.reports.audit_page import as_text, verdict, write_audit

N = 600


def things(seed: int = 0, second: float = 1.0):
    """Two classes, which noise hides in the second group ``second`` times as much as in the first."""
    rng = np.random.default_rng(seed)
    y, group = rng.integers(0, 2, N), rng.integers(0, 2, N)
    x = rng.normal(size=(N, 4)) * np.where(group, second, 1.0)[:, None]
    x[:, 0] += np.where(y, 1.5, -1.5)
    source = from_vectors(x.astype(np.float32), y, classes=["no", "yes"])
    return source, [("first", "second")[one] for one in group]


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return vg.encoder("linear", things()[0], dim=4)


def test_a_planted_gap_is_found_and_drawn_groups_have_none(encoder):
    source, groups = things(second=5.0)
    result = audit(encoder, source, groups)
    right = result.gaps[0]
    assert (right.measure, right.highest, right.lowest) == ("right", "first", "second")
    assert right.found
    assert right.gap.low > 0.05
    drawn = np.random.default_rng(1).permutation(groups).tolist()
    assert not any(gap.found for gap in audit(encoder, source, drawn).gaps)
    assert result.sizes["first"] + result.sizes["second"] == result.overall["right"].n


def test_the_gap_of_many_drawn_groups_is_around_zero_where_the_largest_difference_is_not():
    rng = np.random.default_rng(0)
    gaps, naive = [], []
    for seed in range(20):
        outcomes, groups = rng.random(1000).round(), rng.integers(0, 10, 1000)
        gap = group_gap("", outcomes, groups, [str(i) for i in range(10)], repeats=200, seed=seed)
        gaps.append(gap.gap)
        shares = [score.value for score in gap.by_group.values()]
        naive.append(max(shares) - min(shares))
    assert np.mean(naive) > 0.1
    assert abs(np.mean([gap.value for gap in gaps])) < 0.02
    assert sum(gap.low > 0 for gap in gaps) <= 1


def test_a_gap_between_two_groups_is_their_difference():
    outcomes = np.r_[np.ones(100), np.zeros(100)]
    gap = group_gap("", outcomes, np.repeat([0, 1], 100), ["a", "b"])
    assert (gap.highest, gap.lowest, gap.gap.value) == ("a", "b", 1.0)
    assert gap.gap.low == gap.gap.high == 1.0


def test_small_groups_are_shown_and_not_compared():
    outcomes = np.r_[np.zeros(FEW), np.ones(FEW), np.ones(3)]
    gap = group_gap("", outcomes, np.repeat([0, 1, 2], [FEW, FEW, 3]), ["a", "b", "few"])
    assert gap.by_group["few"].n == 3
    assert gap.highest == "b"
    alone = group_gap("", outcomes[:40], np.repeat([0, 1], [35, 5]), ["a", "b"])
    assert alone.gap is None
    assert not alone.found


def test_unknown_outcomes_and_groups_do_not_count():
    outcomes = np.r_[np.ones(50), np.zeros(50), np.full(50, np.nan), np.ones(50)]
    groups = np.repeat([0, 1, 0, -1], 50)
    gap = group_gap("", outcomes, groups, ["a", "b"])
    assert {name: score.n for name, score in gap.by_group.items()} == {"a": 50, "b": 50}


def test_watched_mistakes_are_counted_where_they_are_sure(encoder):
    source, groups = things(second=5.0)
    rates = [
        audit(encoder, source, groups, watched=["yes"], confidence=at).overall["wrongly called yes"].value
        for at in (0.0, 0.6, 1.0)
    ]
    assert rates[0] >= rates[1] >= rates[2] == 0
    result = audit(encoder, source, groups, watched=["yes"], confidence=0.0).overall
    others = result["wrongly called yes"].n  # those of the class itself cannot be called so wrongly
    assert others == (source.labels[stratified(source.labels, JUDGED)[1]] == 0).sum()
    assert 0 < rates[0] * others < (1 - result["right"].value) * result["right"].n


def test_distances_on_the_globe():
    paris, new_york, pole = (48.8566, 2.3522), (40.7128, -74.0060), (90.0, 0.0)
    result = kilometres(np.array([paris, paris, pole]), np.array([new_york, paris, (-90.0, 7.0)]))
    np.testing.assert_allclose(result, [5837, 0, np.pi * 6371], atol=1)


def test_places_are_guessed_from_the_nearest_that_is_known():
    vectors = np.array([[1, 0], [0, 1], [0.9, 0.1], [0.1, 0.9], [1, 0.1]], np.float32)
    places = np.array([[0, 0], [10, 0], [0, 0.1], [30, 0], [np.nan, np.nan]])
    result = placed(vectors, places, np.array([0, 1, 4]), np.array([2, 3]))
    assert {measure: values.tolist() for measure, values in result.items()} == {
        "placed within 25 km": [1, 0], "placed within 200 km": [1, 0],
        "placed within 750 km": [1, 0], "placed within 2,500 km": [1, 1],
    }  # fmt: skip


def test_groups_come_from_a_csv_by_name(tmp_path):
    source, groups = things()
    lines = [f"{name},{group}" for name, group in zip(source.names, groups, strict=True)]
    (tmp_path / "people.csv").write_text("\n".join(["name,kind", *lines[1:]]))
    codes, names = groups_of(source, f"{tmp_path}/people.csv:kind")
    assert names == ["first", "second"]
    assert codes[0] == -1
    assert [names[code] for code in codes[1:]] == groups[1:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"groups": "kind"}, "has labels"),
        ({"groups": ["first"] * 3}, "a group for each of 600 samples; got 3"),
        ({"groups": ["first"] * N}, "2 groups of 30 or more judged samples; got first: 180"),
        ({"watched": ["yess"]}, "did you mean 'yes'"),
        ({"k": 0}, "k of 1 or more"),
        ({"places": np.zeros((3, 2))}, "for each of 600 samples"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(encoder, change, words):
    source, groups = things()
    with pytest.raises(BadInput, match=words):
        audit(encoder, source, **{"groups": groups, **change})


def test_pictures_are_corrupted_and_copied_too(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (240, 16, 16, 3), dtype=np.uint8)
    source = vg.open(pixels, labels=np.arange(240) % 2)
    torch.manual_seed(0)
    encoder = vg.encoder("resnet-tiny", size=16, width=8)
    result = audit(encoder, source, ["a", "a", "b", "b"] * 60)
    assert {"right when corrupted", "edited copy found"} <= result.overall.keys()
    page = write_audit(
        tmp_path / "audit.html", result, encoder="<b>", data="noise", groups="a & b"
    ).read_text()
    assert "<b>" not in page.split("<body>")[1].split("<section>")[0]
    assert page.count("<article") == len(result.gaps)
    text = as_text(result)
    assert text.endswith(result.limits)
    assert all(verdict(gap) for gap in result.gaps)


def test_the_share_of_alike_neighbours_is_that_of_a_loop(encoder):
    source, groups = things()
    result = audit(encoder, source, groups, k=3).overall["neighbours of its class among 3"]
    vectors = embed(encoder, source).vectors
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    shares = []
    for row in stratified(source.labels, JUDGED)[1]:
        cosine = unit @ unit[row]
        cosine[row] = -np.inf
        shares.append((source.labels[cosine.argsort()[-3:]] == source.labels[row]).mean())
    assert result.value == pytest.approx(np.mean(shares), abs=1e-9)
    assert result.n == len(shares)
