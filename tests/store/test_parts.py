"""Stores that are written in parts, by processes that may die."""

import json
import shutil

import numpy as np
import pytest

import vergence
from vergence.core import BadInput, VergenceError
from vergence.store.parts import Parts, part_rows
from vergence.store.rows import Rows

WHAT = {"source": "digits", "model": "one"}
COUNT, ROWS = 4, 10


@pytest.fixture
def digits():
    return vergence.open("digits").subset(np.arange(COUNT * ROWS - 3))  # the last part is not full


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(COUNT * ROWS - 3, 5)).astype(np.float32)


def fill(parts, source, vectors, numbers):
    for number in numbers:
        rows = np.arange(number * ROWS, min((number + 1) * ROWS, len(source)))
        parts.write(number, Rows(source.subset(rows), vectors[rows]), {})


@pytest.mark.parametrize("samples", [1, 511, 512, 513, 131_073, 10_000_000, 1_000_000_000])
def test_parts_are_whole_batches_and_not_too_many(samples):
    rows = part_rows(samples, 512)
    assert rows % 512 == 0 and -(-samples // rows) <= 10_000
    assert rows <= 8192 or samples > 8192 * 9_000


def test_parts_in_any_order_make_the_table_that_one_process_makes(digits, vectors, tmp_path):
    parts = Parts.begin(tmp_path / "a.lance", WHAT, COUNT)
    fill(parts, digits, vectors, [2, 0, 3, 1])
    with pytest.raises(BadInput, match="is not finished: run the same"):
        vergence.Store.open(tmp_path / "a.lance")
    parts.commit(digits, model="one")
    parts.tidy()
    ours = vergence.Store.open(tmp_path / "a.lance")
    plain = vergence.Store.create(tmp_path / "b.lance", digits, vectors, model="one")
    assert ours.read().equals(plain.read())
    assert {k: v for k, v in ours.about.items() if k != "job"} == plain.about
    assert sorted(p.name for p in ours.path.iterdir()) == sorted(p.name for p in plain.path.iterdir())
    assert ours.where("label = 3").tolist() == plain.where("label = 3").tolist()  # rows by lasting ids
    ours.append(digits.subset([0]), vectors[:1], ids=["new"])
    assert len(ours) == len(plain) + 1 == len(set(ours.names))


def test_a_part_counts_once_however_often_it_was_written(digits, vectors, tmp_path):
    parts = Parts.begin(tmp_path / "a.lance", WHAT, COUNT)
    fill(parts, digits, vectors, [0, 1, 2, 3, 1, 1])
    parts.commit(digits, model="one")
    assert vergence.Store.open(tmp_path / "a.lance").names == list(digits.names)
    assert len(list((tmp_path / "a.lance" / "data").iterdir())) == 6
    parts.tidy()
    assert len(list((tmp_path / "a.lance" / "data").iterdir())) == COUNT
    assert vergence.Store.open(tmp_path / "a.lance").names == list(digits.names)


def test_beginning_again_finds_what_is_done_and_nothing_half_written(digits, vectors, tmp_path):
    parts = Parts.begin(tmp_path / "a.lance", WHAT, COUNT)
    fill(parts, digits, vectors, [1, 3])
    (parts.folder / "0.json").write_text('{"number": 0, "rows"')  # a record that a power cut has shortened
    again = Parts.begin(tmp_path / "a.lance", WHAT, COUNT)
    assert again.job == parts.job and set(again.done()) == {1, 3}
    assert again.find(0) is None and again.find(2) is None and again.find(3).rows == 7
    with pytest.raises(VergenceError, match=r"2 of 4 parts of .*a\.lance are gone"):
        again.commit(digits, model="one")


@pytest.mark.parametrize("left", ["", "_parts", "_parts/.job.json.0"])
def test_a_process_killed_while_it_began_is_no_hindrance(left, digits, vectors, tmp_path):
    (tmp_path / "a.lance" / left).mkdir(parents=True)
    parts = Parts.begin(tmp_path / "a.lance", WHAT, COUNT)
    fill(parts, digits, vectors, range(COUNT))
    parts.commit(digits, model="one")
    parts.tidy()
    assert len(vergence.Store.open(tmp_path / "a.lance")) == len(digits)


def test_killed_after_the_commit_only_the_tidying_is_repeated(digits, vectors, tmp_path):
    parts = Parts.begin(tmp_path / "a.lance", WHAT, COUNT)
    assert not parts.committed
    fill(parts, digits, vectors, range(COUNT))
    parts.commit(digits, model="one")
    again = Parts.begin(tmp_path / "a.lance", WHAT, COUNT)
    assert again.committed
    shutil.rmtree(again.folder)  # as if killed while tidying
    again = Parts.begin(tmp_path / "a.lance", WHAT, COUNT)
    assert again.committed
    again.tidy()
    with pytest.raises(BadInput, match="exists already"):
        Parts.begin(tmp_path / "a.lance", WHAT, COUNT)


def test_a_table_is_replaced_in_one_step(digits, vectors, tmp_path):
    path = tmp_path / "a.lance"
    vergence.Store.create(path, digits, vectors[:, :3], model="old")
    with pytest.raises(BadInput, match="exists already"):
        Parts.begin(path, WHAT, COUNT)
    parts = Parts.begin(path, WHAT, COUNT, overwrite=True)
    fill(parts, digits, vectors, range(COUNT))
    assert vergence.Store.open(path).width() == 3
    assert Parts.begin(path, WHAT, COUNT, overwrite=True).job == parts.job
    parts.commit(digits, model="one")
    parts.tidy()
    assert vergence.Store.open(path).width() == 5
    assert len(list((path / "data").iterdir())) == COUNT


def test_other_work_is_not_mixed_in(digits, vectors, tmp_path):
    path = tmp_path / "a.lance"
    parts = Parts.begin(path, WHAT, COUNT)
    fill(parts, digits, vectors, [0])
    with pytest.raises(BadInput, match="begun embeddings of digits by one"):
        Parts.begin(path, {**WHAT, "model": "two"}, COUNT)
    other = Parts.begin(path, {**WHAT, "model": "two"}, COUNT, overwrite=True)
    assert other.job != parts.job and not other.done()
    (tmp_path / "b.lance").mkdir()
    (tmp_path / "b.lance" / "letter.txt").touch()
    with pytest.raises(BadInput, match="exists already: choose another path"):
        Parts.begin(tmp_path / "b.lance", WHAT, COUNT, overwrite=True)


def test_unreadable_samples_are_named_beside_the_table_and_a_part_may_hold_nothing_else(
    digits, vectors, tmp_path
):
    parts = Parts.begin(tmp_path / "a.lance", WHAT, COUNT)
    fill(parts, digits, vectors, [0, 1, 3])
    parts.write(2, None, dict.fromkeys(digits.names[20:30], "torn, so to say"))
    for name, reason in parts.find(2).skipped.items():
        digits.skipped.add(name, reason)
    parts.commit(digits, model="one")
    store = vergence.Store.open(tmp_path / "a.lance")
    assert store.names == [*digits.names[:20], *digits.names[30:]]
    assert store.skipped == dict.fromkeys(digits.names[20:30], "torn, so to say")
    plain = vergence.Store.create(
        tmp_path / "b.lance", digits, vectors[:20], ids=list(digits.names[:20]), labels=digits.labels[:20]
    )
    assert plain.skipped == store.skipped


def test_work_on_a_part_is_counted_until_it_is_forgotten(tmp_path):
    parts = Parts.begin(tmp_path / "a.lance", WHAT, COUNT)
    assert [parts.attempt(1), parts.attempt(1), parts.attempt(2)] == [1, 2, 1]
    parts.forget_attempts()
    assert parts.attempt(1) == 1
    assert json.loads((tmp_path / "a.lance" / "_parts" / "job.json").read_text())["what"] == WHAT
