"""Waves of pictures: what they do not mind, and crops against cutting the picture."""

import numpy as np
import pytest
from PIL import Image

from vergence.data import open as open_source
from vergence.store.table import Store
from vergence.use import picture_waves
from vergence.use.picture_waves import CROPS, ODD, SIDE, crops, grey_pictures, whole


@pytest.fixture
def pictures():
    return np.random.default_rng(0).uniform(0, 255, (5, SIDE, SIDE)).astype(np.float32)


def test_waves_are_of_length_one_and_do_not_mind_brightness_and_contrast(pictures):
    waves = whole(pictures)
    assert waves.shape == (5, 63)
    np.testing.assert_allclose(np.linalg.norm(waves, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(whole(0.3 * pictures + 40), waves, atol=1e-4)
    assert not whole(np.full((1, SIDE, SIDE), 7, np.float32)).any()


def test_a_mirror_image_has_its_odd_waves_negated(pictures):
    np.testing.assert_allclose(whole(pictures[:, :, ::-1]), whole(pictures) * ODD, atol=1e-5)


def test_waves_of_a_part_are_those_of_the_part_cut_out(pictures, monkeypatch):
    monkeypatch.setattr(picture_waves, "_SIDES", (1.0, 0.5))
    parts = crops(pictures)  # the whole, and nine places of a half
    np.testing.assert_allclose(parts[:, 0], whole(pictures), atol=1e-6)
    for place, (top, left) in enumerate((t, le) for t in (0, 8, 16) for le in (0, 8, 16)):
        cut = pictures[:, top : top + 16, left : left + 16].repeat(2, axis=1).repeat(2, axis=2)
        np.testing.assert_allclose(parts[:, 1 + place], whole(cut), atol=1e-4)


def test_there_are_as_many_parts_as_said(pictures):
    assert crops(pictures).shape == (5, CROPS, 63)


def test_rows_without_a_picture_are_nan(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.new("RGB", (40, 20), (80 * i, 80 * i, 80 * i)).save(tmp_path / "photos" / f"{i}.png")
    store = Store.create(
        tmp_path / "s.lance", open_source(str(tmp_path / "photos")), np.eye(3, dtype=np.float32)
    )
    store.append(None, np.ones((1, 3), np.float32), ids=["bare"])
    grey = grey_pictures(store)
    assert grey.shape == (4, SIDE, SIDE) and np.isnan(grey[3]).all()
    assert [set(grey[i].ravel()) for i in range(3)] == [{0}, {80}, {160}]
