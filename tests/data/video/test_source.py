"""Windows of videos as a source: names, times, labels, what is left out, and what a store keeps of them."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import vergence
from numbered_videos import number_of, picture, write
from vergence.core import BadInput
from vergence.data.video.source import VideoSource
from vergence.data.video.video import ArrayVideo
from vergence.data.video.windows import Windows

FAST = {"g": "12", "bf": "2", "preset": "ultrafast"}


@pytest.fixture
def videos(tmp_path):
    for folder, name, count in (
        ("a", "x.mp4", 60),
        ("a", "y.mp4", 110),
        ("b", "z.mkv", 80),
        ("b", "short.mp4", 10),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        write(tmp_path / folder / name, count, options=FAST)
    (tmp_path / "b" / "broken.mp4").write_bytes(b"\0" * 999)
    return tmp_path


def test_a_folder_of_videos_is_windows_with_names_that_players_know(videos):
    source = vergence.open(videos, seconds=1)
    assert source.names == [
        "a/x.mp4#t=0,1", "a/x.mp4#t=1,2", *(f"a/y.mp4#t={i},{i + 1}" for i in range(4)),
        *(f"b/z.mkv#t={i},{i + 1}" for i in range(3)),
    ]  # fmt: skip
    assert source.classes == ["a", "b"] and source.labels.tolist() == [0] * 6 + [1] * 3
    assert source.label_name == "folder" and source.modality == "video"
    assert "1 of 4 videos, such as b/short.mp4, left out: shorter than a window of 1 s" in source.notes[0]
    assert "not a video" in source.skipped.reasons["b/broken.mp4"]
    assert source.uri == f"video:{videos}?seconds=1"
    assert vergence.open(source.uri).names == source.names
    overlapping = vergence.open(videos / "a" / "x.mp4", seconds=2, stride=0.4)
    assert overlapping.names == ["x.mp4#t=0,2", "x.mp4#t=0.4,2.4"]
    with pytest.raises(
        BadInput, match=r"No video of .* lasts 9 s, as long as a window; the longest has 4.40 s"
    ):
        vergence.open(videos, seconds=9)


def test_a_batch_holds_the_frames_of_its_moments_whatever_the_order(videos):
    source = vergence.open(videos, seconds=1)
    straight = next(source.loader(9, spec={"size": 16, "frames": 5}))
    assert straight.pixels.shape == (9, 5, 3, 16, 24) and straight.pixels.dtype == torch.uint8
    assert straight.seconds[1].tolist() == pytest.approx([1.1, 1.3, 1.5, 1.7, 1.9])
    shown = [[number_of(f.permute(1, 2, 0).numpy()) for f in clip] for clip in straight.pixels]
    assert shown[1] == [27, 32, 37, 42, 47]
    mixed = list(source.loader(2, spec={"size": 16, "frames": 5}, shuffle=True, seed=3, workers=2))
    assert sorted(set(torch.cat([batch.index for batch in mixed]).tolist())) == list(range(9))
    for batch in mixed:
        assert torch.equal(batch.pixels, straight.pixels[batch.index])
        assert torch.equal(batch.label, straight.label[batch.index])
    assert source.sample(1).shape == (8, 64, 96, 3)


def test_a_window_that_cannot_be_read_is_skipped_with_the_reason(tmp_path):
    path = write(tmp_path / "a.avi", 100, codec="mpeg4", options={"g": "12"})
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 :][:0] = b""
    middle = len(raw) // 2
    raw[middle : middle + 600] = b"\xff" * 600
    path.write_bytes(raw)
    source = vergence.open(path, seconds=0.4)
    index = torch.cat([batch.index for batch in source.loader(4)])
    assert 0 < len(source.skipped.reasons) <= 4 and len(index) == len(source) - len(source.skipped.reasons)
    assert all("#t=" in name for name in source.skipped.reasons)


def test_a_store_knows_when_windows_begin_and_shows_them(videos, tmp_path):
    source = vergence.open(videos, seconds=1)
    encoder = vergence.encoder("c3d-small", source, width=4, size=16)
    store = vergence.embed(encoder, source, tmp_path / "s.lance")
    rows = store.read(["id", "uri", "start", "end", "thumbnail"]).to_pylist()
    assert [(row["start"], row["end"]) for row in rows[:3]] == [(0, 1), (1, 2), (0, 1)]
    assert rows[1]["uri"] == f"{videos}/a/x.mp4#t=1,2"
    assert len(store.where("start >= 2")) == 3
    strip = np.asarray(Image.open(io.BytesIO(rows[1]["thumbnail"])).convert("RGB"))
    assert [number_of(part) for part in np.split(strip, 3, 1)] == [29, 37, 45]


def test_pictures_win_in_a_mixed_folder_unless_videos_are_asked_for(videos):
    for number in range(3):
        Image.fromarray(picture(number)).save(videos / f"{number}.png")
    mixed = vergence.open(videos)
    assert (mixed.modality, len(mixed)) == ("image", 3)
    assert "4 x .mp4 left out beside the pictures: --modality video reads them" in mixed.notes
    videos_only = vergence.open(videos, modality="video", seconds=1)
    assert (videos_only.modality, len(videos_only)) == ("video", 9)
    with pytest.raises(BadInput, match="is read as images; it cannot be read as graphs"):
        vergence.open("digits", modality="graph")


def test_folders_of_frames_are_videos_in_the_order_of_their_numbers(tmp_path):
    for clip, count in (("one", 12), ("two", 9)):
        (tmp_path / clip).mkdir()
        for number in range(count):
            Image.fromarray(picture(number)).save(tmp_path / clip / f"f{number}.png")
    assert vergence.open(tmp_path).modality == "image"
    for source in (
        vergence.open(f"frames:{tmp_path}?fps=4&seconds=1"),
        vergence.open(tmp_path, fps=4, seconds=1),
    ):
        assert source.names[:3] == ["one#t=0,1", "one#t=1,2", "one#t=2,3"] and len(source) == 5
        assert [number_of(frame) for frame in source.read_window(2, 4, None)] == [8, 9, 10, 11]
        assert source.target("group").values.tolist() == [0, 0, 0, 1, 1]


def test_clips_in_memory_and_joined_sources():
    clips = np.random.default_rng(0).integers(0, 255, (6, 4, 10, 12, 3), np.uint8)
    source = vergence.open(clips, labels=list("abcabc"))
    assert torch.equal(
        next(source.loader(6, spec={"frames": 4})).pixels, torch.from_numpy(clips).movedim(-1, 2)
    )
    as_torch = vergence.open(torch.from_numpy(clips).movedim(-1, 2) / 255)
    np.testing.assert_array_equal(as_torch.sample(3)[::2], clips[3])
    both = vergence.open([source, as_torch])
    assert both.labels.tolist() == [0, 1, 2, 0, 1, 2] + [-1] * 6 and both.classes == ["a", "b", "c"]
    np.testing.assert_array_equal(both.sample(8)[::2], clips[2])
    with pytest.raises(BadInput, match="got 2 labels for 6 clips"):
        vergence.open(clips, labels=["a", "b"])


def test_clips_of_scenes_are_the_frames_of_their_pictures():
    source = vergence.open("video:scenes:video?count=5&size=16&frames=4&label=action")
    stills = vergence.open("scenes:video?count=5&size=16&frames=4")
    batch = next(source.loader(5, spec={"frames": 4}))
    assert batch.pixels.shape == (5, 4, 3, 16, 16)
    np.testing.assert_array_equal(batch.pixels[3, 2].permute(1, 2, 0).numpy(), stills.sample(14))
    assert source.labels.tolist() == stills.target("action").values[::4].tolist()
    assert source.frame_rows(np.array([1, 3])).tolist() == [[4, 5, 6, 7], [12, 13, 14, 15]]
    assert source.target("audio", np.array([2])).values.shape[:2] == (1, 4)
    tracks, places = source.target("tracks", np.array([2, 0])), stills.target("keypoints", np.array([9, 1]))
    assert tracks.xy.shape[1:] == (4, 2) and tracks.of.unique().tolist() == [0, 1]
    for clip in (0, 1):
        seen = places.xy[places.of == clip][places.visibility[places.of == clip] == 2]
        here = tracks.xy[tracks.of == clip, 1][tracks.visibility[tracks.of == clip, 1] == 2]
        assert len(seen) and (torch.cdist(seen.double(), here.double()).min(1).values < 1e-3).all()
    carried = source.with_targets(["action"], "a method")
    assert next(carried.loader(2)).targets["action"].values.tolist() == source.labels[:2].tolist()


def test_windows_are_as_many_as_fit_whole():
    pixels = np.zeros((10, 2, 2, 3), np.uint8)
    video = ArrayVideo(pixels, fps=10, name="a")
    assert Windows.of([video], seconds=0.4).start == pytest.approx([0, 0.4])
    assert Windows.of([video], seconds=0.5).start == pytest.approx([0, 0.5])
    assert Windows.of([video], seconds=0.5, stride=0.25).start == pytest.approx([0, 0.25, 0.5])
    assert Windows.of([video], seconds=1.2).short == ("a",)
    with pytest.raises(BadInput, match="seconds and stride above 0"):
        Windows.of([video], seconds=0.0)


def test_measure_keeps_the_windows_of_a_video_together(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (8, 20, 8, 8, 3), np.uint8)
    videos = [ArrayVideo(clip, fps=25, name=str(i)) for i, clip in enumerate(pixels)]
    labels = np.array([0, 1, 0, 1, 0, 0, 1, 1])
    source = VideoSource(
        videos, Windows.of(videos, seconds=0.2), "memory:", labels=labels, classes=["a", "b"]
    )

    class Mean(torch.nn.Module):
        out_dim, input_spec = 3, {"size": 8, "frames": 2}

        def forward(self, batch):
            return batch.pixels.float().mean((1, 3, 4))

    table = vergence.measure(Mean(), source, protocols=["knn"], quiet=True)
    assert table.about["test"] % 4 == 0 and table.about["train"] % 4 == 0  # whole videos of four windows
    assert table.about["train"] + table.about["test"] == 32


def test_files_that_were_skipped_do_not_count_as_windows(tmp_path):
    for name in ("a", "b", "c"):
        write(tmp_path / f"{name}.mp4", 30, options=FAST)
        (tmp_path / f"broken-{name}.mp4").write_bytes(b"none")
    source = vergence.open(tmp_path, seconds=1, limit=0.5)
    assert len(source) == 3 and len(source.skipped.reasons) == 3
    source.skipped.check(3, source.uri)
    source.skipped.add("a.mp4#t=0,1", "damaged")
    source.skipped.check(3, source.uri)
    source.skipped.add("b.mp4#t=0,1", "damaged")
    with pytest.raises(
        BadInput, match=r"2 of 3 samples of .* cannot be read, for instance a.mp4#t=0,1: damaged"
    ):
        source.skipped.check(3, source.uri)
    with pytest.raises(BadInput, match="3 of 6 samples"):
        vergence.open(tmp_path, seconds=1, limit=0.4)
