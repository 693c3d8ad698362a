"""Video files: frames by time, the same whichever way a decoder comes to them; damaged ones are refused."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from numbered_videos import number_of, write
from vergence.data.image.decode import DecodeError

av = pytest.importorskip("av", reason="needs the extra video")

from vergence.data.video.file import DECODERS, FileVideo  # noqa: E402
from vergence.data.video.opening import open_video  # noqa: E402

B_FRAMES = {"g": "12", "bf": "3", "preset": "ultrafast", "x264-params": "bframes=3:b-adapt=0:scenecut=0"}
KINDS = {
    "h264.mp4": ("libx264", B_FRAMES),
    "open-gop.mkv": ("libx264", {**B_FRAMES, "x264-params": "bframes=3:b-adapt=0:open-gop=1:keyint=12"}),
    "vp8.webm": ("libvpx", {"g": "12", "deadline": "realtime", "cpu-used": "8"}),
    "mpeg4.avi": ("mpeg4", {"g": "12", "bf": "2"}),
    "mpeg4.mp4": ("mpeg4", {"g": "12", "bf": "2"}),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_is_read_exactly_in_any_order(name, tmp_path):
    codec, options = KINDS[name]
    video = FileVideo(write(tmp_path / name, 60, codec=codec, options=options))
    assert len(video) == 60
    assert video.seconds == pytest.approx(np.arange(60) / 25, abs=2e-3)
    assert video.duration == pytest.approx(60 / 25, abs=0.05)
    straight = video.read(np.arange(60))
    assert [number_of(frame) for frame in straight] == list(range(60))
    for place in np.random.default_rng(0).permutation(60)[:20].tolist():
        DECODERS.clear() if place % 3 == 0 else None
        np.testing.assert_array_equal(video.read([place])[0], straight[place])
    np.testing.assert_array_equal(video.read([41, 7, 41, 8]), straight[[41, 7, 41, 8]])


def test_a_variable_frame_rate_shows_each_frame_from_its_own_time_on(tmp_path):
    times = np.cumsum(np.random.default_rng(1).integers(5, 200, 40))
    video = FileVideo(write(tmp_path / "vfr.mp4", 40, times=times, options=B_FRAMES))
    own = (times - times[0]) / 1000
    assert video.seconds == pytest.approx(own, abs=1e-3)
    moments = np.random.default_rng(2).uniform(0, own[-1], 15)
    expected = [int((own <= moment).sum()) - 1 for moment in moments]
    assert [number_of(f) for f in video.read(video.shown_at(moments))] == expected
    assert [number_of(f) for _, f in video.frames(*video.seconds[[10, 13]])] == [10, 11, 12]


def test_frames_of_a_time_are_yielded_one_by_one(tmp_path):
    video = open_video(write(tmp_path / "a.mp4", 30, options=B_FRAMES))
    got = [(round(second, 3), number_of(frame)) for second, frame in video.frames(0.41, 0.6)]
    assert got == [(0.4, 10), (0.44, 11), (0.48, 12), (0.52, 13), (0.56, 14)]


@pytest.mark.parametrize(("degrees", "turned"), [(90, 3), (180, 2), (270, 1)])
def test_a_phones_rotation_is_applied(degrees, turned, tmp_path):
    path = write(tmp_path / "upright.mp4", 4, options=B_FRAMES)
    upright, raw = FileVideo(path).read([1])[0], bytearray(path.read_bytes())
    matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    at = raw.index(b"tkhd") + 44
    for place, value in zip((0, 4, 12, 16), matrix, strict=True):
        raw[at + place : at + place + 4] = (value << 16).to_bytes(4, "big", signed=True)
    (tmp_path / "turned.mp4").write_bytes(raw)
    np.testing.assert_array_equal(FileVideo(tmp_path / "turned.mp4").read([1])[0], np.rot90(upright, turned))


def test_sound_changes_nothing_and_alone_is_no_video(tmp_path):
    silent = FileVideo(write(tmp_path / "silent.mp4", 20, options=B_FRAMES))
    loud = FileVideo(write(tmp_path / "loud.mp4", 20, options=B_FRAMES, sound=True))
    np.testing.assert_array_equal(silent.read(np.arange(20)), loud.read(np.arange(20)))
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        voice = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.rate = 16_000
        container.mux([*voice.encode(frame), *voice.encode(None)])
    with pytest.raises(DecodeError, match="holds no video"):
        FileVideo(tmp_path / "sound.mp4")


def test_a_file_that_breaks_off_is_read_up_to_there(tmp_path):
    path = write(tmp_path / "whole.mp4", 60, options=B_FRAMES, mux={"movflags": "faststart"})
    raw = path.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(raw[: len(raw) * 2 // 3])
    video = FileVideo(tmp_path / "cut.mp4")
    assert 12 < len(video) < 60
    known = len(video) // 12 * 12 - 6
    assert [number_of(f) for f in video.read(np.arange(known))] == list(range(known))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "empty"),
        (b"no video at all" * 99, "not a video in a known format"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://example.org/a.ts\n", "not a video in a known format"),
        (b"ffconcat version 1.0\nfile '/etc/hostname'\n", "not a video in a known format"),
    ],
)
def test_what_is_no_video_is_refused(raw, said, tmp_path):
    (tmp_path / "a.mp4").write_bytes(raw)
    with pytest.raises(DecodeError, match=said):
        FileVideo(tmp_path / "a.mp4")


def test_damage_inside_is_refused_where_it_is_and_nowhere_else(tmp_path):
    path = write(tmp_path / "whole.avi", 72, codec="mpeg4", options={"g": "12"})
    whole, raw = FileVideo(path), bytearray(path.read_bytes())
    straight = whole.read(np.arange(72))
    middle = len(raw) // 2
    raw[middle : middle + 60] = b"\xff" * 60
    (tmp_path / "hurt.avi").write_bytes(raw)
    hurt, wrong = FileVideo(tmp_path / "hurt.avi"), []
    for place in range(len(hurt)):
        number = round(hurt.seconds[place] * 25)
        try:
            frame = hurt.read([place])[0]
        except DecodeError:
            wrong.append(number)
        else:
            if not np.array_equal(frame, straight[number]):  # parts that are missing are filled in
                wrong.append(number)
    assert 0 < len(wrong) <= 24
    assert max(wrong) // 12 - min(wrong) // 12 <= 1  # no further than the next key frame


def test_real_clips_are_read_as_they_are_decoded_in_turn(data_root):
    for name in ("apply_eye_makeup.avi", "arm_wrestling.mp4"):
        path = data_root / "clips" / name
        video, wanted = FileVideo(path), {}
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "NONE"
            for place, frame in zip(range(120), container.decode(video=0), strict=False):
                if place % 17 == 3:
                    wanted[place] = frame.reformat(
                        width=video.width, height=video.height, format="rgb24", interpolation="BICUBIC"
                    ).to_ndarray()
        for place in (105, 3, 20, 88, 37):
            np.testing.assert_array_equal(video.read([place])[0], wanted[place])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_thirty_damaged_files_are_read_or_refused(tmp_path):
    out = tmp_path / "found.json"
    words = f"-m vergence.benchmarks.stress.fuzz --cases 15 --seed 11 --out {out} --kinds mp4 avi"
    done = subprocess.run([sys.executable, *words.split()], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    result = json.loads(out.read_text())["kinds"]
    assert set(result) == {"mp4", "avi"}
    assert all(kind["refused"] > 0 and kind["read"] > 0 and kind["cases"] == 15 for kind in result.values())
