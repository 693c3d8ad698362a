"""What is done with a selection: COCO, comparison with the rest, names, deletion and its taking back."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from scipy.stats import fisher_exact

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.studio.against_rest import against_rest
from vergence.studio.named import NamedSelections
from vergence.studio.removals import Removals
from vergence.studio.selection import mask_text

pytest.importorskip("starlette")
from starlette.testclient import TestClient  # noqa: E402

from vergence.studio.app import serving  # noqa: E402
from vergence.studio.session import Session  # noqa: E402

HERE = "http://127.0.0.1:7860"
ROWS = 3000
HOSTILE = ["x' OR '1'='1", "'; DROP TABLE t; --", "<script>alert(1)</script>", "../../../etc/passwd"]


def masked(rows, count):
    return mask_text(np.array(rows, np.int64), count)


@pytest.fixture
def captions(tmp_path):
    """Captions of which the first hundred speak of cats more often, and are brighter."""
    random = np.random.default_rng(0)
    inside = np.arange(ROWS) < 100
    cat = random.random(ROWS) < np.where(inside, 0.8, 0.1)
    words = [
        f"photo {i} of a {'Cat' if one else 'dog'}, a {'cat' if one else 'dog'}" for i, one in enumerate(cat)
    ]
    metadata = {
        "caption": words,
        "camera": np.where(
            random.random(ROWS) < np.where(inside, 0.9, 0.5), "north", "<b>south</b>"
        ).tolist(),
        "bright": (random.standard_normal(ROWS) + 2 * inside).tolist(),
        "even": random.standard_normal(ROWS).tolist(),
    }
    x = random.standard_normal((ROWS, 4)).astype(np.float32)
    store = Store.create(tmp_path / "s.lance", None, x, ids=[f"i{i}" for i in range(ROWS)], metadata=metadata)
    return store, cat, inside


def test_words_values_and_means_that_set_a_selection_apart_are_those_that_fisher_s_test_names(captions):
    store, cat, inside = captions
    answered = against_rest(store, np.flatnonzero(inside))
    assert answered["rows"] == [100, ROWS - 100]
    kinds = {about["column"]: about for about in answered["kinds"]}
    assert set(kinds) == {"caption", "camera"} and kinds["caption"]["words"]  # each row's own number is none
    words = {word["name"]: word["counts"] for word in kinds["caption"]["found"]}
    assert words == {"cat": [int(cat[:100].sum()), int(cat[100:].sum())]}  # once a row, in any case
    (a, b) = words["cat"]
    assert fisher_exact([[a, 100 - a], [b, ROWS - 100 - b]], "greater").pvalue < 1e-6
    assert [value["name"] for value in kinds["camera"]["found"]] == ["north"]
    numbers = {about["column"]: about for about in answered["numbers"]}
    bright = np.array(store.read(["bright"])["bright"])
    assert answered["numbers"][0]["column"] == "bright"
    assert numbers["bright"]["means"] == pytest.approx([bright[:100].mean(), bright[100:].mean()])
    assert numbers["bright"]["medians"][0] == pytest.approx(np.median(bright[:100]))
    assert numbers["bright"]["effect"] > 1 > 0.3 > abs(numbers["even"]["effect"])


def test_a_selection_at_random_is_not_set_apart(captions):
    store, *_ = captions
    random = np.random.default_rng(1)
    named = sum(
        len(against_rest(store, np.sort(random.choice(ROWS, 200, replace=False)))["kinds"]) for _ in range(10)
    )
    assert named <= 2  # of 30 columns compared, each at 1 in 100
    for rows in ([], range(ROWS)):
        with pytest.raises(BadInput, match="some not"):
            against_rest(store, np.arange(ROWS)[list(rows)])


def test_pictures_are_listed_as_coco_with_their_sizes_and_tags(filled, tmp_path):
    store = Store.open(shutil.copytree(filled / "s.lance", tmp_path / "s.lance"))
    session = Session(store)
    session.start = lambda patience: None
    session.tags.put(np.array([3]), "tag", HOSTILE[2])
    n = len(store)
    with TestClient(serving(session), base_url=HERE) as client:
        answer = client.post("/studio/coco", json={"mask": masked([3, 5], n), "column": "tag"})
        assert answer.headers["content-disposition"] == 'attachment; filename="selection.coco.json"'
        answered = answer.json()
        by_class = client.post("/studio/coco", json={"mask": masked([3, 5], n), "column": "x' OR 1=1"}).json()
        without = client.post("/studio/coco", json={"mask": masked([3, n - 1], n), "column": "tag"})
    assert [image["file_name"] for image in answered["images"]] == [store.names[3], store.names[5]]
    assert {(image["width"], image["height"]) for image in answered["images"]} == {(16, 16)}
    assert [kind["name"] for kind in answered["categories"]] == [HOSTILE[2]]
    (annotation,) = answered["annotations"]
    assert annotation["image_id"] == answered["images"][0]["id"] and annotation["bbox"] == [0, 0, 16, 16]
    assert annotation["category_id"] == answered["categories"][0]["id"] and annotation["area"] == 256
    assert len(by_class["annotations"]) == 2 and by_class["categories"][0]["name"] == store.classes[0]
    assert without.status_code == 400 and "sizes" in without.json()["error"]


def test_samples_are_deleted_after_their_count_is_confirmed_and_come_back(captions):
    store, *_ = captions
    removals, names = Removals(store, lambda: None), store.names
    vectors = store.vectors().copy()
    with pytest.raises(BadInput, match="look again"):
        removals.delete(np.array([1, 2]), 3)
    for rows in ([], range(ROWS)):
        with pytest.raises(BadInput, match="some have to go"):
            removals.delete(np.arange(ROWS)[list(rows)], len(rows))
    assert len(store) == ROWS and removals.deleted == 0
    kept = removals.delete(np.array([1, 5]), 2)
    assert store.names == [names[row] for row in kept] and len(store) == ROWS - 2
    removals.delete(np.array([0]), 1)
    assert store.names[0] == names[2] and removals.deleted == 1
    removals.undo()
    assert removals.deleted == 2
    removals.undo()
    again = Store.open(store.path)
    assert again.names == names and (again.vectors() == vectors).all()
    with pytest.raises(BadInput, match="nothing comes back"):
        removals.undo()


def test_a_deletion_is_not_taken_back_over_another_change(captions):
    store, *_ = captions
    removals = Removals(store, lambda: None)
    removals.delete(np.array([1]), 1)
    store.set_column("other", [1] * len(store))
    with pytest.raises(BadInput, match="changed since"):
        removals.undo()
    assert len(Store.open(store.path)) == ROWS - 1


def test_what_stays_keeps_its_place_its_cluster_and_its_name(captions):
    store, *_ = captions
    session = Session(store)
    session.start = lambda patience: None
    session.groups.find(3)
    session.projection.final = True
    points, of = session.projection.now[0].copy(), session.groups.of.copy()
    session.named.keep("some", np.array([2, 4, 6]))
    n = len(store)
    kept = np.delete(np.arange(n), [0, 4])
    with TestClient(serving(session), base_url=HERE) as client:
        assert client.post("/studio/delete", json={"mask": masked([0, 4], n), "count": 1}).status_code == 400
        for count in (2.0, "2", None, True):
            body = {"mask": masked([0, 4], n), "count": count}
            assert client.post("/studio/delete", json=body).status_code == 422
        assert len(Store.open(store.path)) == n
        done = client.post("/studio/delete", json={"mask": masked([0, 4], n), "count": 2})
        assert done.json()["line"] == "2 samples are deleted."
        assert client.get("/studio/state").json()["deleted"] == 2
        assert client.get("/studio/point/0").json()["point"]["id"] == "i1"
        assert (session.projection.now[0] == points[kept]).all() and session.projection.final
        assert (session.groups.of == of[kept]).all()
        assert session.named.rows("some").tolist() == [1, 4]  # i2 and i6
        old = client.post("/studio/delete", json={"mask": masked([0], n), "count": 1})
        assert old.status_code == 400 and "load the page again" in old.json()["error"]
        assert client.post("/studio/undelete", json={}).json()["line"] == "2 samples are back."
    assert session.store.names == [f"i{i}" for i in range(n)] and (session.groups.of == of).all()
    assert session.named.rows("some").tolist() == [2, 4, 6]


def test_nothing_is_deleted_while_the_map_is_worked_out_or_after_another_s_change(captions, monkeypatch):
    store, *_ = captions
    session = Session(store)
    session.groups.find(3)
    session.start = lambda patience: None
    with TestClient(serving(session), base_url=HERE) as client:
        monkeypatch.setattr(Session, "working", True)
        body = {"mask": masked([0], ROWS), "count": 1}
        busy = client.post("/studio/delete", json=body)
        assert busy.status_code == 400 and "being worked out" in busy.json()["error"]
        monkeypatch.setattr(Session, "working", False)
        Store.open(store.path).set_column("other", [1] * ROWS)
        other = client.post("/studio/delete", json=body)
        assert other.status_code == 400 and "another program" in other.json()["error"]
    assert len(Store.open(store.path)) == ROWS


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_only_text_and_is_there_again_the_next_time(captions, name):
    store, *_ = captions
    session = Session(store)
    session.start = lambda patience: None
    with TestClient(serving(session), base_url=HERE) as client:
        kept = client.post("/studio/keep", json={"mask": masked([1, 9], ROWS), "name": f" {name} "})
        assert kept.json()["named"] == [{"name": name, "count": 2}]
        raw = client.get("/studio/named-rows", params={"name": name}).content
        words = int.from_bytes(raw[:4], "little")
        assert json.loads(raw[4 : 4 + words]) == {"count": 2}
        assert np.flatnonzero(
            np.unpackbits(np.frombuffer(raw[4 + words :], np.uint8), bitorder="little")
        ).tolist() == [1, 9]
        assert client.get("/studio/named-rows", params={"name": "none"}).status_code == 400
    again = NamedSelections(Store.open(store.path), session.mark)
    assert again.listed() == [{"name": name, "count": 2}] and again.forget(name) == []
    assert NamedSelections(Store.open(store.path), session.mark).listed() == []


@pytest.mark.parametrize(
    ("name", "rows", "line"),
    [("", [1], "1 to 60"), ("a" * 61, [1], "1 to 60"), ("a\0", [1], "1 to 60"), ("a", [], "No sample")],
)
def test_names_that_cannot_be_used_are_one_line(captions, name, rows, line):
    store, *_ = captions
    with pytest.raises(BadInput, match=line):
        NamedSelections(store, "mark").keep(name, np.array(rows, np.int64))
