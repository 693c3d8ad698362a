"""Masks and points that are carried through frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vergence as vg
from vergence.methods.image.encoders import build
from vergence.use.tracking import first_mask, follow, track

SIDE, STEP = 64, 4
SQUARE = slice(16, 32)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return build("resnet-tiny", size=SIDE, width=16).eval()


@pytest.fixture(scope="module")
def moving() -> np.ndarray:
    """A textured square that goes right by 4 pixels a frame, over a ground of another texture."""
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 80, (1, SIDE, SIDE, 3), dtype=np.uint8), 5, 0)
    thing = rng.integers(150, 256, (16, 16, 3), dtype=np.uint8)
    for t in range(5):
        frames[t, SQUARE, 16 + STEP * t : 32 + STEP * t] = thing
    return frames


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[SQUARE, SQUARE] = 7
    return mask


def test_a_mask_follows_its_thing(net, moving, mask):
    tracks = track(moving, masks=mask, encoder=net)
    assert tracks.masks.shape == (5, SIDE, SIDE) and set(np.unique(tracks.masks)) == {0, 7}
    np.testing.assert_array_equal(tracks.masks[0], mask)
    truth = np.roll(mask, 4 * STEP, 1) > 0
    last, still = tracks.masks[-1] > 0, mask > 0
    assert (last & truth).sum() / (last | truth).sum() > 0.6 > (still & truth).sum() / (still | truth).sum()
    np.testing.assert_allclose(tracks.seconds, np.arange(5) / 25)
    assert tracks.points.shape == (5, 0, 2)


def test_points_follow_their_thing_and_rest_on_the_ground(net, moving):
    tracks = track(moving, points=[(24.0, 24.0), (52.0, 56.0)], encoder=net)
    assert tracks.points.shape == (5, 2, 2) and tracks.visible.shape == (5, 2) and tracks.masks.size == 0
    np.testing.assert_allclose(tracks.points[-1, 0], (24 + 4 * STEP, 24), atol=3)
    np.testing.assert_allclose(tracks.points[:, 1], np.tile((52, 56), (5, 1)), atol=1.5)
    assert tracks.visible[:, 1].all()


def test_nothing_moves_where_nothing_moves(net, moving, mask):
    still = np.repeat(moving[:1], 3, 0)
    tracks = track(still, masks=mask, encoder=net, k=1)
    assert (tracks.masks == mask).mean() > 0.99
    points = np.array([(20.0, 40.0), (33.3, 17.9)])
    np.testing.assert_allclose(track(still, points=points, encoder=net, k=1).points[2], points, atol=1e-3)


def test_results_come_at_full_size_however_small_frames_are_looked_at(net, moving):
    large = moving.repeat(2, 1).repeat(2, 2)
    small = np.zeros((32, 32), np.uint8)
    small[8:16, 8:16] = 1
    tracks = track(large, masks=small, encoder=net, lines=SIDE)
    assert tracks.masks.shape == (5, 32, 32)
    points = track(large, points=[(48.0, 48.0)], encoder=net, lines=SIDE).points
    np.testing.assert_allclose(points[-1, 0], (48 + 8 * STEP, 48), atol=6)


def test_following_begins_where_it_is_told(net, moving, mask):
    seen = []
    tracks = track(
        moving, masks=np.roll(mask, STEP, 1), encoder=net, at=0.05, watch=lambda i, one: seen.append((i, one))
    )
    assert len(tracks) == len(seen) == 4
    np.testing.assert_array_equal(seen[0][1].frame, moving[1])
    np.testing.assert_allclose(tracks.seconds, np.arange(1, 5) / 25)


def test_a_transformer_is_read_by_its_keys(moving, mask):
    torch.manual_seed(0)
    net = build("vit-micro", size=32)
    whole = next(follow(moving, masks=mask, encoder=net))
    np.testing.assert_array_equal(whole.mask, mask)
    assert track(moving[:2], masks=mask, encoder=net).masks[1].any()


def test_masks_are_read_from_palette_and_grey_files(tmp_path):
    numbers = np.array([[0, 3], [3, 0]], np.uint8)
    picture = Image.fromarray(numbers, mode="P")
    picture.putpalette([0, 0, 0, 255, 0, 0] * 128)
    picture.save(tmp_path / "palette.png")
    Image.fromarray(numbers).save(tmp_path / "grey.png")
    for name in ("palette.png", "grey.png"):
        np.testing.assert_array_equal(first_mask(tmp_path / name, 20, 20), numbers)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "either masks or points"),
        ({"masks": np.zeros((SIDE, SIDE), np.uint8)}, "empty"),
        ({"masks": np.ones((SIDE, SIDE, 3), np.uint8)}, "colour picture"),
        ({"masks": np.ones((SIDE, 2 * SIDE), np.uint8)}, "not the shape of frames of 64 x 64"),
        ({"masks": np.full((SIDE, SIDE), 300)}, "1 to 255"),
        ({"masks": "nowhere.png"}, "cannot be read as a picture"),
        ({"points": [(70, 10)]}, "Point 70,10 lies outside the frame, which has 64 x 64"),
        ({"points": [1, 2, 3]}, "pairs of x and y"),
        ({"points": [(1, 1)], "at": 3}, "has 0.20 seconds; it cannot be followed from 3"),
        ({"points": [(1, 1)], "encoder": nn.Identity()}, "needs an image encoder with tokens"),
    ],
)
def test_what_cannot_be_followed_is_said(net, moving, given, words):
    with pytest.raises(vg.BadInput, match=words):
        track(moving, **{"encoder": net, **given})
