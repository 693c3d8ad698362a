"""Clips: by group or folder, in the order of rows; partners, triplets, pictures that cannot be read."""

import numpy as np
import pytest
import torch
from PIL import Image

import vergence as vg
from vergence.data.image.clips import Clips


def numbered(groups, **targets):
    """Pictures whose colour is their row."""
    pixels = (
        np.zeros((len(groups), 8, 8, 3), np.uint8)
        + np.arange(len(groups), dtype=np.uint8)[:, None, None, None]
    )
    return vg.open(pixels, targets={"group": groups, **targets})


def test_clips_are_groups_wherever_their_rows_lie():
    clips = Clips(numbered([7, 3, 7, 7, 3]), "X")
    assert clips.of.tolist() == [1, 0, 1, 1, 0]
    assert clips.place.tolist() == [0, 0, 1, 2, 1]
    assert clips.length.tolist() == [2, 3]
    assert clips.rows(torch.tensor([1, 1, 0, 0]), torch.tensor([0, 9, 1, -1])).tolist() == [0, 3, 4, 1]


def test_partners_are_of_the_same_clip_and_all_alike():
    clips = Clips(numbered([0, 0, 0, 1, 1]), "X")
    index = torch.tensor([0, 3]).repeat(3000)
    partners = clips.partners(index)
    assert torch.equal(clips.of[partners], clips.of[index])
    share = torch.bincount(partners) / 3000
    torch.testing.assert_close(share, torch.tensor([1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2]), atol=0.04, rtol=0)


def test_triplets_have_a_picture_on_both_sides_where_the_clip_is_long_enough():
    clips = Clips(numbered([0] * 5 + [1] * 2), "X", least=3)
    left, centre, right = clips.triplets(torch.arange(7)).tolist()
    assert centre[:5] == [1, 1, 2, 3, 3]
    assert (left[:5], right[:5]) == ([0, 0, 1, 2, 2], [2, 2, 3, 4, 4])
    assert {*left[5:], *centre[5:], *right[5:]} <= {5, 6}
    left, centre, right = clips.triplets(torch.tensor([0, 2]), step=2).tolist()
    assert (left, centre, right) == ([0, 0], [2, 2], [4, 4])


def test_reads_pictures_with_their_targets_and_their_rows():
    source = numbered([0, 0, 1, 1], pose=[0.0, 0.1, 0.2, 0.3]).with_targets(["pose"], "X")
    batch = next(source.loader(2, spec={"size": 8}))
    read = Clips(source, "X").read(torch.tensor([3, 1]), batch, {"size": 8})
    assert read.pixels[:, 0, 0, 0].tolist() == read.index.tolist() == [3, 1]
    torch.testing.assert_close(read.targets["pose"].values, torch.tensor([0.3, 0.1]))


def test_folders_are_clips_and_what_cannot_be_read_is_replaced(tmp_path):
    for clip in "ab":
        (tmp_path / clip).mkdir()
        for i in range(3):
            Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / clip / f"{i}.png")
    (tmp_path / "a" / "1.png").write_bytes(b"no picture")
    source = vg.open(tmp_path)
    clips = Clips(source, "X")
    assert clips.of.tolist() == [0, 0, 0, 1, 1, 1]
    batch = next(source.subset([0, 4]).loader(2))
    batch.index.copy_(torch.tensor([0, 4]))
    read = clips.read(torch.tensor([1, 5]), batch)
    assert read.index.tolist() == [0, 5]
    assert "a/1.png" in source.skipped.reasons


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            lambda: vg.open(np.zeros((4, 8, 8, 3), np.uint8)),
            "X learns from clips, and memory:images does not say",
        ),
        (
            lambda: numbered([0, 1, 2]),
            "X needs clips of 2 pictures or more; the longest of memory:images has 1",
        ),
    ],
)
def test_what_is_missing_is_said_in_one_line(source, message):
    with pytest.raises(vg.BadInput, match=message):
        Clips(source(), "X")


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"grup": [0]}, "Unknown target of images in memory 'grup'; did you mean 'group'"),
        ({"group": [0, 1]}, r"group has one entry an image; got \(2,\) for 1 images"),
        ({"pose": ["left"]}, "pose of images is numbers, one an image"),
        ({"masks": [0]}, "Unknown target of images in memory 'masks'"),
    ],
)
def test_targets_in_memory_are_numbers_one_an_image(targets, message):
    with pytest.raises(vg.BadInput, match=message):
        vg.open(np.zeros((1, 8, 8, 3), np.uint8), targets=targets)


def test_pictures_apart_are_all_that_are_far_enough_else_the_farther_end():
    clips = Clips(numbered([0] * 6 + [1] * 2), "X")
    far = clips.apart(torch.tensor([1, 4, 6, 7]).repeat(300), 3).view(300, 4)
    assert [far[:, k].unique().tolist() for k in range(4)] == [[4, 5], [0, 1], [7], [6]]
