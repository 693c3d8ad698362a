"""The pictures behind the small ones: where they lie, how large they are, and what is sent of them."""

from __future__ import annotations

import io
import os
import tarfile

import numpy as np
import pytest
from PIL import Image

import vergence
from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.studio import originals
from vergence.studio.originals import Originals


def photo(path, width, height, value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path)


def stored(source, path):
    vectors = np.random.default_rng(0).standard_normal((len(source), 4)).astype(np.float32)
    return Store.create(path, source, vectors)


@pytest.fixture
def store(tmp_path):
    """Two photos in folders named by year, wider than the small pictures of the store."""
    photo(tmp_path / "photos" / "2023" / "a.jpg", 640, 200)
    photo(tmp_path / "photos" / "2024" / "b.png", 120, 160)
    return stored(vergence.open(tmp_path / "photos"), tmp_path / "s.lance")


def size(raw):
    return Image.open(io.BytesIO(raw)).size


def test_a_photo_is_shown_with_its_path_resolution_and_bytes(store, tmp_path):
    about = Originals(store).describe(store.find("2023/a.jpg"))
    path = tmp_path / "photos" / "2023" / "a.jpg"
    assert about == {
        "path": str(path),
        "width": 640,
        "height": 200,
        "bytes": path.stat().st_size,
        "note": "",
        "exif": [],
    }
    assert size(Originals(store).encoded(store.find("2023/a.jpg"))) == (640, 200)
    small = Originals(store).encoded(store.find("2024/b.png"))
    assert small.startswith(b"\x89PNG") and (np.asarray(Image.open(io.BytesIO(small))) == 90).all()


def test_a_giant_is_sent_smaller_and_says_so(store, monkeypatch):
    monkeypatch.setattr(originals, "LONGEST", 320)
    monkeypatch.setattr(originals, "_LOSSLESS", 100)
    row = store.find("2023/a.jpg")
    about = Originals(store).describe(row)
    assert (about["width"], about["note"]) == (640, "Shown with 320 pixels on its longer side.")
    assert size(Originals(store).encoded(row)) == (320, 100)


def test_a_photo_that_is_gone_leaves_the_small_picture_and_says_so(store, tmp_path):
    (tmp_path / "photos" / "2023" / "a.jpg").unlink()
    about = Originals(store).describe(store.find("2023/a.jpg"))
    assert (about["width"], about["height"], about["bytes"]) == (96, 30, None)
    assert about["note"] == "There is no picture to read there now; this is the store's small one."


def test_a_picture_in_a_tar_file_is_read_through_the_source(tmp_path):
    photo(tmp_path / "a.png", 300, 100, value=17)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(tmp_path / "a.png", "a.png")
    store = stored(vergence.open(tmp_path / "x.tar"), tmp_path / "s.lance")
    shown = Originals(store)
    assert (shown.describe(0)["width"], shown.describe(0)["note"]) == (300, "")
    assert (np.asarray(Image.open(io.BytesIO(shown.encoded(0)))) == 17).all()


@pytest.mark.parametrize("kind", ["text", "pipe", "half"])
def test_what_lies_there_now_and_is_no_picture_is_never_sent(store, tmp_path, kind):
    path = tmp_path / "photos" / "2024" / "b.png"
    whole = path.read_bytes()
    path.unlink()
    if kind == "text":
        path.write_text("a secret")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(whole[:60])
    row = store.find("2024/b.png")
    assert Originals(store).describe(row)["note"].startswith("There is no picture to read there now")
    assert b"secret" not in Originals(store).encoded(row)


def test_a_photo_whose_end_is_missing_is_one_line(store, tmp_path):
    path = tmp_path / "photos" / "2023" / "a.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(BadInput, match=r"a\.jpg cannot be read: "):
        Originals(store).encoded(store.find("2023/a.jpg"))


def test_rows_without_any_picture_and_rows_that_are_not_there_are_one_line(tmp_path):
    store = Store.create(tmp_path / "s.lance", None, np.ones((2, 3), np.float32), ids=["a", "b"])
    with pytest.raises(BadInput, match="a has no picture"):
        Originals(store).describe(0)
    with pytest.raises(BadInput, match="rows 0 to 1; row 2"):
        Originals(store).encoded(2)
