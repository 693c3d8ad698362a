"""Linked columns: bins count and select the rows that their conditions do, and the table has every order."""

from __future__ import annotations

import datetime
import json

import numpy as np
import pyarrow as pa
import pytest

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.studio.bins import bins, counted
from vergence.studio.colours import NONE, OTHER, columns
from vergence.studio.ordering import COPIES, OUTSIDE, SAMPLE, SELECTION, ordered, outlierness
from vergence.studio.selection import mask_text

pytest.importorskip("starlette")
from starlette.testclient import TestClient  # noqa: E402

from vergence.studio.app import serving  # noqa: E402
from vergence.studio.session import Session  # noqa: E402

HERE = "http://127.0.0.1:7860"
ROWS = 500
EVIL = "x' OR '1'='1"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    random = np.random.default_rng(0)
    x = random.standard_normal((ROWS, 8)).astype(np.float32)
    x[:50] += 4
    words = np.array([EVIL, "<b>n</b>", 'say "a"', "é"])[random.integers(0, 4, ROWS)].tolist()
    numbers = random.standard_normal(ROWS)
    gaps = [None if i % 9 == 0 else value for i, value in enumerate(numbers.tolist())]
    whole = random.integers(-200, 900, ROWS)
    times = [datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=float(abs(v)) * 999) for v in numbers]
    metadata = {
        "word": [None if i % 11 == 0 else word for i, word in enumerate(words)],
        "rare": [f"r{int(v)}" for v in random.exponential(40, ROWS)],
        "double": gaps,
        "single": pa.array(numbers, pa.float32()),
        "broken": np.where(np.arange(ROWS) % 7 == 0, [[np.nan], [np.inf]][0], numbers).tolist(),
        "endless": np.where(np.arange(ROWS) % 7 == 0, np.inf, numbers).tolist(),
        "same": [2.5] * ROWS,
        "empty": pa.nulls(ROWS, pa.float64()),
        "whole": whole.tolist(),
        "few": (whole % 3).tolist(),
        "flag": (whole % 2 == 0).tolist(),
        "time": pa.array(times, pa.timestamp("us")),
        "day": [time.date() for time in times],
    }
    ids = [f"i{i}" for i in range(ROWS)]
    return Store.create(tmp_path_factory.mktemp("linked") / "s.lance", None, x, ids=ids, metadata=metadata)


@pytest.fixture
def session(store):
    result = Session(Store.open(store.path))
    result.start = lambda patience: None
    result.groups.of = None
    return result


@pytest.fixture
def client(session):
    with TestClient(serving(session), base_url=HERE) as result:
        yield result


def test_every_bin_holds_the_rows_that_its_condition_selects(store):
    for column in columns(store):
        made = bins(store, column)
        for i in [*range(len(made.names)), OTHER, NONE]:
            rows = store.where(made.condition([i]))
            assert rows.tolist() == np.flatnonzero(made.of == i).tolist(), (column, i, made.condition([i]))
            assert made.counts[i] == len(rows)
    assert len(columns(store)) == 13


def test_ranges_go_from_one_end_to_the_other_and_values_are_named(store):
    assert bins(store, "word").names == sorted([EVIL, "<b>n</b>", 'say "a"', "é"])
    assert bins(store, "few").names == ["0", "1", "2"] and not bins(store, "few").ranges
    assert bins(store, "flag").names == ["False", "True"]
    assert bins(store, "rare").counts[OTHER] > 0
    ranges = bins(store, "double")
    assert ranges.ranges and len(ranges.names) == 32 and ranges.counts[NONE] == len(range(0, ROWS, 9))
    chosen = ranges.condition([0, 1, 31])
    assert len(store.where(chosen)) == ranges.counts[[0, 1, 31]].sum()
    assert len(bins(store, "same").names) == 1 and bins(store, "same").counts[0] == ROWS
    for places in ([], [99], [-1]):
        with pytest.raises(BadInput, match="bins"):
            ranges.condition(places)


def test_counts_are_those_of_a_selection(store):
    rows = np.arange(0, ROWS, 3)
    shown = counted(bins(store, "few"), rows)
    values = np.array(store.read(["few"])["few"])
    assert [bin["counts"] for bin in shown["bins"]] == [
        [int((values == v).sum()), int((values[rows] == v).sum())] for v in range(3)
    ]


def test_bins_of_several_columns_are_one_condition_and_nothing_that_is_sent_is_sql(client, store):
    few, word = bins(store, "few"), bins(store, "word")
    place = word.names.index(EVIL)
    answer = client.post("/studio/in-bins", json={"chosen": [["few", [0, 2]], ["word", [place]]]})
    words = int.from_bytes(answer.content[:4], "little")
    about = json.loads(answer.content[4 : 4 + words])
    bits = np.unpackbits(np.frombuffer(answer.content[4 + words :], np.uint8), bitorder="little")
    both = np.isin(few.of, [0, 2]) & (word.of == place)
    assert np.flatnonzero(bits).tolist() == np.flatnonzero(both).tolist() and about["count"] == both.sum()
    assert store.where(about["condition"]).tolist() == np.flatnonzero(both).tolist()
    for chosen, status in (
        ([[EVIL, [0]]], 400),
        ([["few", [7]]], 400),
        ([["vector", [0]]], 400),
        ([], 422),
        ([["few"]], 422),
        ([["few", "0"]], 422),
        ([["few", [True]]], 422),
        ({"few": [0]}, 422),
    ):
        assert client.post("/studio/in-bins", json={"chosen": chosen}).status_code == status, chosen


def test_the_columns_are_counted_for_all_rows_and_for_some(client):
    every = client.post("/studio/bins", json={"mask": None}).json()
    assert [one["column"] for one in every["columns"]][:2] == ["word", "rare"] and every["left"] == []
    assert all(bin["counts"][0] == bin["counts"][1] for one in every["columns"] for bin in one["bins"])
    some = client.post("/studio/bins", json={"mask": mask_text(np.arange(10), ROWS)}).json()
    assert all(sum(bin["counts"][1] for bin in one["bins"]) == 10 for one in some["columns"])
    assert client.post("/studio/bins", json={"mask": "7:AQ=="}).status_code == 400


def test_the_table_is_ordered_by_columns_likeness_and_how_far_outside(session):
    store, unit = session.store, session.store.directions()
    rows = np.arange(0, ROWS, 2)
    assert ordered(session, "", None)[0].tolist() == list(range(ROWS))
    order, measure = ordered(session, "double", rows)
    values = np.array(store.read(["double"])["double"].to_pylist(), float)
    assert measure is None and sorted(order.tolist()) == rows.tolist()
    ascending = values[order][np.isfinite(values[order])]
    assert (np.diff(ascending) >= 0).all() and np.isnan(
        values[order[len(ascending) :]]
    ).all()  # none comes last
    falling = values[ordered(session, "double", rows, back=True)[0]]
    assert (np.diff(falling[np.isfinite(falling)]) <= 0).all() and np.isnan(falling[-1])
    order, measure = ordered(session, SAMPLE, None, row=3)
    assert order[0] == 3 and measure == pytest.approx((unit @ unit[3])[order], abs=1e-5)
    order, measure = ordered(session, SELECTION, rows)
    mean = unit[rows].mean(0)
    assert measure == pytest.approx((unit @ mean / np.linalg.norm(mean))[order], abs=1e-5)
    order, measure = ordered(session, OUTSIDE, None)
    assert len(order) == ROWS and (np.diff(measure) <= 0).all()
    assert ordered(session, OUTSIDE, None, back=True)[0][-1] == order[0]
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -2)
    assert outlierness(session) == pytest.approx(1 - np.sort(cosine, 1)[:, -5], abs=1e-5)
    assert (outlierness(Session(store)) == outlierness(session)).all()  # kept
    for by, line in (
        (COPIES, "Find near-duplicates"),
        (SAMPLE, "Choose a sample"),
        (SELECTION, "Select some"),
        (EVIL, "Unknown order"),
    ):
        with pytest.raises(BadInput, match=line):
            ordered(session, by, None)
    session.review.find("cosine", 0.99)
    sizes = ordered(session, COPIES, None)[1]
    assert sizes[0] == max((len(group) - 1 for group in session.review.groups), default=0)


def test_the_table_has_lines_of_what_is_selected(client, store):
    body = {"mask": mask_text(np.arange(60), ROWS), "by": "whole", "back": True, "first": 50, "row": None}
    shown = client.post("/studio/table", json=body).json()
    whole = np.array(store.read(["whole"])["whole"])[:60]
    place = shown["columns"].index("whole")
    assert (
        shown["total"] == 60
        and [int(line["values"][place]) for line in shown["lines"]] == np.sort(whole)[:10][::-1].tolist()
    )
    for change, status in (
        ({"first": -1}, 422),
        ({"back": 1}, 422),
        ({"by": EVIL}, 400),
        ({"row": "0"}, 422),
        ({"mask": "1"}, 400),
    ):
        assert client.post("/studio/table", json={**body, **change}).status_code == status, change
    assert client.post("/studio/table", json={**body, "first": 10**9}).json()["lines"] == []
