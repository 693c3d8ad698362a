"""``vergence track``: from a video and a mask to files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from vergence.cli.main import main

pytest.importorskip("av")


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for i in range(3):
        Image.fromarray(np.roll(pixels, 2 * i, 1)).save(folder / f"{i}.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 10:40] = 1
    Image.fromarray(mask).save(folder.parent / "mask.png")
    return folder


def test_track_writes_masks_or_points_and_a_video(frames, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(f"track {frames} --mask {frames.parent}/mask.png --out {out} --json".split()) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["frames"] == 3 and result["seconds"] == 0.08 and result["frames_a_second"] > 0
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["00000.png", "00001.png", "00002.png"]
    assert (out / "overlay.mp4").stat().st_size > 500
    assert main(f"track {frames} --points 20,20 32.5,40 --at 0.04 --out {out}".split()) == 0
    assert "2 frames" in capsys.readouterr().out
    assert len((out / "points.csv").read_text().splitlines()) == 1 + 2 * 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nowhere.mp4 --points 1,1", "needs a video that is there"),
        ("{frames}", "either --mask FILE.png or --points"),
        ("{frames} --points 1;2", "such as 320,180; got '1;2'"),
        ("{frames} --points 99,1", "Point 99,1 lies outside the frame, which has 64 x 48 pixels"),
        ("{frames} --points 1,1 --at 5", "has 0.12 seconds"),
        ("{frames} --points 1,1 --encoder vergence:none", "known: conv-tiny, vit-tiny"),
    ],
)
def test_track_says_in_one_line_what_it_lacks(frames, capsys, words, said):
    assert main(f"track {words.format(frames=frames)}".split()) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and "\n" not in error
