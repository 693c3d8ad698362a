"""Replacing a store, and several writers of one: killed or not, each finds the old or the new, whole."""

import os
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from vergence.core.errors import BadInput
from vergence.store import placing
from vergence.store.table import Store

OLD, NEW = ["old"], ["new", "newer"]


def create(path, ids, **options):
    return Store.create(path, None, np.eye(len(ids), 4, dtype=np.float32), ids=ids, **options)


@pytest.fixture
def old(tmp_path):
    return create(tmp_path / "s.lance", OLD).path


def die_while_replacing(path, made, owner, name, nth, exchanged):
    """Put ``made`` in place in a process that dies at the nth call of a function; return how it ended."""
    child = os.fork()
    if not child:
        real, calls = getattr(owner, name), []  # nothing of Lance, which does not survive a fork

        def dying(*args, **options):
            calls.append(args)
            if len(calls) == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        made.rename(placing.aside(path))
        if not exchanged:
            placing.exchange = lambda *paths: False
        setattr(owner, name, dying)
        placing.put_in_place(placing.aside(path), path)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:lance is not fork-safe")
@pytest.mark.parametrize(
    ("owner", "name", "nth", "exchanged", "left"),
    [
        (placing, "exchange", 1, True, OLD),
        (shutil, "rmtree", 1, True, NEW),
        (Path, "rename", 1, False, OLD),
        (Path, "rename", 2, False, OLD),  # between the two renames nothing is at the path
        (shutil, "rmtree", 2, False, NEW),
    ],
)
def test_killed_while_it_replaces_a_store_the_old_or_the_new_is_there(old, owner, name, nth, exchanged, left):
    made = create(old.with_name("made"), NEW).path
    assert die_while_replacing(old, made, owner, name, nth, exchanged) == -signal.SIGKILL
    assert Store.open(old).names == left
    with pytest.raises(BadInput, match="exists already"):
        create(old, ["other"])
    assert create(old, ["last"], overwrite=True).names == ["last"]
    assert [path.name for path in old.parent.iterdir()] == [old.name], "what was left aside is gone"


def test_two_paths_change_places_in_one_step(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not placing.exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot exchange two folders")
    assert (tmp_path / "a" / "b").exists() and (tmp_path / "b" / "a").exists()
    assert not placing.exchange(tmp_path / "a", tmp_path / "none")


def test_an_old_copy_is_never_removed_while_it_is_the_only_one(old):
    old.rename(hidden := old.with_name(f".{old.name}.old"))  # as an earlier version of the library left it
    placing.tidy(old)
    assert not hidden.exists() and Store.open(old).names == OLD


def test_what_a_living_process_makes_is_left_alone(old):
    theirs = old.with_name(f".{old.name}.{os.getppid()}.part")
    theirs.mkdir()
    create(old, NEW, overwrite=True)
    assert theirs.exists()


def test_a_failing_rename_leaves_the_old_store(old, monkeypatch):
    monkeypatch.setattr(placing, "exchange", lambda *paths: False)
    with pytest.raises(OSError, match="none"):
        placing.put_in_place(old.with_name("none"), old)
    assert Store.open(old).names == OLD


def test_a_link_to_a_store_stays_one(old, tmp_path):
    link = tmp_path / "link.lance"
    link.symlink_to(old)
    create(link, NEW, overwrite=True)
    assert link.is_symlink() and Store.open(old).names == NEW


def test_two_who_append_the_same_ids_add_them_once(old):
    started, failed = threading.Barrier(4), []

    def append():
        store = Store.open(old)
        started.wait()
        try:
            store.append(None, np.ones((2, 4), np.float32), ids=["x", "y"])
        except BadInput as error:
            failed.append(str(error))

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(Store.open(old).names) == ["old", "x", "y"]
    assert len(failed) == 3 and all("2 ids are in" in line for line in failed)


def test_changes_of_several_writers_all_remain(old):
    first, second = Store.open(old), Store.open(old)
    first.append(None, np.ones((1, 4), np.float32), ids=["a"])
    second.set_info(seen=True)
    second.append(None, np.ones((1, 4), np.float32), ids=["b"])
    first.set_column("shot", [1, 2])  # of the rows that it knows
    first.set_info(other=1)
    store = Store.open(old)
    assert store.read(["id", "shot"]).to_pydict() == {"id": ["old", "a", "b"], "shot": [1, 2, None]}
    assert store.about["info"] == {"seen": True, "other": 1}


def test_a_writer_waits_for_another_and_then_sees_the_store_that_replaced_it(old):
    done = []
    store = Store.open(old)
    with placing.exclusive(old):
        waiting = threading.Thread(
            target=lambda: done.append(store.append(None, np.ones((1, 4)), ids=["late"]))
        )
        waiting.start()
        waiting.join(0.3)
        assert not done
        made = create(old.with_name("made"), NEW).path
        placing.exchange(made, old)
    waiting.join()
    assert Store.open(old).names == [*NEW, "late"]
