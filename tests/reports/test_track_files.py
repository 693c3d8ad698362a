"""Files of what was tracked."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from vergence.reports.track_files import PALETTE, STRENGTH, TrackFiles, drawn
from vergence.use.tracking import Tracked

av = pytest.importorskip("av")
GREY = np.full((33, 46, 3), 100, np.uint8)
MASK = np.zeros((33, 46), np.uint8)
MASK[4:20, 6:30] = 2


def of_mask(seconds: float) -> Tracked:
    return Tracked(GREY, seconds, MASK, np.zeros((0, 2), np.float32), np.zeros(0, bool))


def of_points(seconds: float) -> Tracked:
    places = np.array([(10.5, 20.25), (30, 5)], np.float32)
    return Tracked(GREY, seconds, np.zeros((0, 0), np.uint8), places, np.array([True, False]))


def test_masks_keep_their_numbers_and_the_video_its_times(tmp_path):
    times = (1.0, 1.04, 1.5)
    with TrackFiles(tmp_path / "out") as files:
        for seconds in times:
            files.add(of_mask(seconds))
    for i in range(3):
        with Image.open(tmp_path / "out" / "masks" / f"{i:05}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), MASK)
            assert tuple(picture.getpalette()[6:9]) == PALETTE[2]
    with av.open(str(tmp_path / "out" / "overlay.mp4")) as video:
        frames = list(video.decode(video=0))
    assert [round(float(frame.time), 2) for frame in frames] == [0, 0.04, 0.5]
    seen = frames[0].to_ndarray(format="rgb24")
    assert seen.shape == (34, 46, 3)
    np.testing.assert_allclose(seen[12, 18], 100 * (1 - STRENGTH) + np.array(PALETTE[2]) * STRENGTH, atol=12)


def test_points_are_rows_and_marks(tmp_path):
    with TrackFiles(tmp_path) as files:
        files.add(of_points(0.0))
        files.add(of_points(0.04))
    with (tmp_path / "points.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["point"], row["x"], row["visible"]) for row in rows] == [
        ("0", "0", "10.50", "1"),
        ("0", "1", "30.00", "0"),
        ("1", "0", "10.50", "1"),
        ("1", "1", "30.00", "0"),
    ]
    assert not (tmp_path / "masks").exists()
    marked = drawn(of_points(0.0))
    assert tuple(marked[20, 10]) == PALETTE[1] and tuple(marked[5, 30]) == (100, 100, 100)
