"""Selections: masks, tags that can be taken back, exports; and nothing in them is SQL, HTML or a path."""

from __future__ import annotations

import csv
import io
import json
import shutil

import numpy as np
import pyarrow.parquet as parquet
import pytest

from vergence.core.errors import BadInput
from vergence.core.lists import read_cell, read_lines
from vergence.store.table import Store
from vergence.studio.selection import LONGEST, Tags, export, mask_text, read_mask

pytest.importorskip("starlette")
from starlette.testclient import TestClient  # noqa: E402

from vergence.studio.app import serving  # noqa: E402
from vergence.studio.session import Session  # noqa: E402

HERE = "http://127.0.0.1:7860"
NAMES = [
    "a",
    "<img src=x onerror=alert(1)>",
    "=1+1",
    "two\nlines",
    '"quoted"',
    "../../etc/passwd",
    "x' OR 1=1 --",
]
HOSTILE = [
    "x' OR '1'='1",
    "'; DROP TABLE t; --",
    "<script>alert(1)</script>",
    "../../../etc/passwd",
    "${7*7}",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("selection") / "s.lance"
    x = np.random.default_rng(0).standard_normal((len(NAMES), 4)).astype(np.float32)
    metadata = {"word": ["u", "v", None, "u", "v", "u", "v"], "number": list(range(7))}
    return Store.create(path, None, x, ids=NAMES, metadata=metadata).path


@pytest.fixture
def store(made, tmp_path):
    return Store.open(shutil.copytree(made, tmp_path / "s.lance"))


@pytest.fixture
def client(store):
    session = Session(store)
    session.start = lambda patience: None
    with TestClient(serving(session), base_url=HERE) as result:
        yield result


def masked(rows, count=7):
    return mask_text(np.array(rows, np.int64), count)


def words(store, column):
    return Store.open(store.path).read([column])[column].to_pylist()


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000])
def test_a_mask_comes_back(count):
    rows = np.flatnonzero(np.random.default_rng(count).random(count) < 0.4)
    assert (read_mask(masked(rows, count), count) == rows).all()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AQ==",
        "7:AA",
        "7:!!!!",
        "7:AAAA",
        "7:gA==",
        "7:\ud800",
        "' OR 1=1",
        "8:AQ==",
        "7:é",
        "7:AQ==\n",
        "07:AQ==",
    ],
)
def test_a_mask_that_is_none_of_these_rows_is_refused(text):
    with pytest.raises(BadInput, match="selection is a mask"):
        read_mask(text, 7)


def test_a_tag_is_put_into_a_column_and_taken_back_as_it_was(store):
    tags = Tags(store, lambda: None)
    before = store.table.schema.names
    tags.put(np.array([0, 2]), "seen", "  good   one ")
    assert words(store, "seen") == ["good one", None, "good one", None, None, None, None]
    tags.put(np.array([2, 3]), "seen", "bad")
    tags.put(np.array([0]), "seen", "")
    assert words(store, "seen") == [None, None, "bad", "bad", None, None, None]
    tags.put(np.array([1]), "word", "w")
    assert words(store, "word") == ["u", "w", None, "u", "v", "u", "v"]
    tags.undo()
    assert words(store, "word") == ["u", "v", None, "u", "v", "u", "v"]
    for expected in (
        ["good one", None, "bad", "bad", None, None, None],
        ["good one", None, "good one", None, None, None, None],
    ):
        tags.undo()
        assert words(store, "seen") == expected
    tags.undo()
    assert sorted(Store.open(store.path).table.schema.names) == sorted(before) and store.names == NAMES
    with pytest.raises(BadInput, match="no tag to take back"):
        tags.undo()


def test_a_tag_is_not_taken_back_over_another_change(store):
    tags = Tags(store, lambda: None)
    tags.put(np.array([0]), "seen", "x")
    store.set_column("other", [1] * len(NAMES))
    store.set_column("seen", ["y"] * len(NAMES))
    with pytest.raises(BadInput, match="changed since"):
        tags.undo()
    assert words(store, "seen")[0] == "y"
    store.set_column("seen", ["x"] + [None] * 6)
    tags.undo()
    assert "seen" not in store.table.schema.names and "other" in store.table.schema.names


@pytest.mark.parametrize(
    ("rows", "column", "tag", "line"),
    [
        ([], "seen", "x", "No sample"),
        ([0], "seen", "x" * (LONGEST + 1), "up to 60"),
        ([0], "seen", "a\x00b", "printed"),
        ([0], "seen", "\u202ereversed", "printed"),
        ([0], "number", "x", "holds no tags"),
        ([0], "vector", "x", "holds no tags"),
        ([0], "id", "x", "holds no tags"),
        ([0], "uri", "x", "holds no tags"),
        ([0], "class", "x", "holds no tags"),
        ([0], "thumbnail", "x", "holds no tags"),
        ([0], "none", "", "no column none"),
        ([0], "", "x", "cannot name"),
        ([0], "a.b", "x", "cannot name"),
        ([0], "_rowid", "x", "cannot name"),
        ([0], "a" * 101, "x", "cannot name"),
        *(([0], name, "x", "cannot name") for name in HOSTILE),
    ],
)
def test_what_cannot_be_tagged_is_one_line_and_changes_nothing(store, rows, column, tag, line):
    with pytest.raises(BadInput, match=line) as error:
        Tags(store, lambda: None).put(np.array(rows, np.int64), column, tag)
    assert "\n" not in str(error.value) and Store.open(store.path).version == store.version


@pytest.mark.parametrize("tag", HOSTILE)
def test_a_tag_is_only_text(client, store, tag):
    answer = client.post("/studio/tag", json={"mask": masked([1, 4]), "column": "seen", "tag": tag})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert words(store, "seen") == [None, tag, None, None, tag, None, None]
    assert Store.open(store.path).names == NAMES
    raw = client.get("/studio/colour", params={"by": "seen"}).content
    legend = json.loads(raw[4 : 4 + int.from_bytes(raw[:4], "little")])["legend"]
    assert legend["names"] == [tag] and legend["counts"] == [2] and legend["none"] == 5
    assert tag in json.dumps(client.get("/studio/point/1").json(), ensure_ascii=False)
    assert tag not in client.get("/").text
    assert client.post("/studio/untag", json={}).json()["undoable"] == 0
    assert "seen" not in Store.open(store.path).table.schema.names


@pytest.mark.parametrize("name", HOSTILE)
def test_a_column_s_name_reaches_neither_sql_nor_the_disk(client, store, name):
    before = sorted(path.name for path in store.path.parent.iterdir())
    answer = client.post("/studio/tag", json={"mask": masked([1]), "column": name, "tag": "x"})
    assert answer.status_code == 400 and "cannot name" in answer.json()["error"]
    assert Store.open(store.path).version == store.version
    assert sorted(path.name for path in store.path.parent.iterdir()) == before


def test_another_program_s_change_keeps_a_tag_out(client, store):
    Store.open(store.path).set_column("other", [1] * len(NAMES))
    answer = client.post("/studio/tag", json={"mask": masked([1]), "column": "seen", "tag": "x"})
    assert answer.status_code == 400 and "changed by another program" in answer.json()["error"]


def test_ids_are_exported_as_they_are_and_no_spreadsheet_reads_a_formula(store):
    rows = np.arange(len(NAMES))
    table = list(csv.reader(io.StringIO(export(store, rows, "csv").decode())))
    assert table[0] == ["id"] and [read_cell(line[0]) for line in table[1:]] == NAMES
    assert not any(line[0].startswith(("=", "+", "-", "@")) for line in table)
    assert json.loads(export(store, rows, "json")) == NAMES
    assert parquet.read_table(io.BytesIO(export(store, rows, "parquet")))["id"].to_pylist() == NAMES
    assert read_lines(export(store, rows, "txt").decode()) == NAMES
    assert json.loads(export(store, np.array([4, 2]), "json")) == [NAMES[4], NAMES[2]]


def test_an_export_has_a_name_of_ours_and_no_other_kind(client, store):
    for kind in ("csv", "json", "parquet", "txt"):
        answer = client.post("/studio/export", json={"mask": masked([2, 5]), "kind": kind})
        assert answer.headers["content-disposition"] == f'attachment; filename="selection.{kind}"'
        assert answer.headers["x-content-type-options"] == "nosniff"
    for kind in ("html", "../x", "csv/../../x", 'csv"; filename="x.html', "csv\r\nx: y", ""):
        answer = client.post("/studio/export", json={"mask": masked([2]), "kind": kind})
        assert answer.status_code == 400 and "Unknown kind" in answer.json()["error"]
    assert sorted(path.name for path in store.path.parent.iterdir()) == ["s.lance"]


def test_masks_may_be_large_and_other_bodies_may_not(client):
    assert client.post("/studio/export", json={"mask": "A" * 200_000, "kind": "csv"}).status_code == 413
    assert client.post("/studio/cards", json={"rows": list(range(7)) * 9}).status_code == 400
    assert client.post("/studio/cards", json={"rows": [0, 99]}).status_code == 400
    cards = client.post("/studio/cards", json={"rows": [3, 1]}).json()["cards"]
    assert [card["id"] for card in cards] == [NAMES[3], NAMES[1]]


def test_a_column_is_taken_out_of_a_store_and_none_that_every_store_has(store):
    store.set_column("seen", ["x"] * len(NAMES))
    store.drop_column("seen")
    assert "seen" not in Store.open(store.path).table.schema.names and store.names == NAMES
    for name in ("id", "vector", "thumbnail", "seen", "x' OR 1=1"):
        with pytest.raises(BadInput, match="metadata column"):
            store.drop_column(name)
