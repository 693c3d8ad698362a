"""Views of clips: which frames, one geometry a clip, colour once a clip or a frame."""

import numpy as np
import pytest
import torch

from vergence.core import BadInput
from vergence.data.video.batch import VideoBatch
from vergence.data.video.example import example
from vergence.methods.video.views import pair, two_crops
from vergence.views.clips import (
    ClipAugment,
    at_speed,
    evenly,
    plain_clips,
    residual_frames,
    shuffled,
    temporal_crop,
)


def batch_of(pixels):
    b, t = pixels.shape[:2]
    return VideoBatch(pixels, torch.arange(b), torch.full((b,), -1), torch.zeros(b, t))


@pytest.fixture
def still():
    """Clips of 8 equal frames."""
    one = torch.randint(
        0, 256, (6, 1, 3, 20, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return batch_of(one.expand(-1, 8, -1, -1, -1).contiguous())


def test_what_stands_still_stands_still_in_a_view(still):
    view = ClipAugment(16, 8)(still)
    assert view.pixels.shape == (6, 8, 3, 16, 16)
    assert (view.pixels == view.pixels[:, :1]).all()
    assert not torch.equal(view.pixels[0], view.pixels[1])


def test_colour_once_a_frame_leaves_the_geometry_of_the_clip(still):
    jitter = {"jitter": (0.4, 0.0, 0.0, 0.0), "jitter_p": 1.0, "grey": 0.0, "blur": 0.0}
    dim = batch_of(still.pixels // 2)  # so that none becomes brighter than white
    view = ClipAugment(16, 8, colour="frame", pixels=jitter)(dim)
    same = view.pixels / view.pixels.amax((2, 3, 4), keepdim=True)
    assert not torch.equal(view.pixels[:, 0], view.pixels[:, 1])
    torch.testing.assert_close(same, same[:, :1].expand_as(same))  # the same picture, brighter or darker


def test_a_view_is_each_frame_cut_by_the_clips_box():
    batch = next(example().loader(5, spec={"frames": 8}))
    plainly = {"jitter_p": 0.0, "grey": 0.0, "blur": 0.0, "flip": 0.5}
    view = ClipAugment(16, 4, pixels=plainly)(batch)
    taken = batch.take(view.frames)
    for clip in range(5):
        for t in range(4):
            top, left, tall, wide = view.box[clip].int().tolist()
            cut = taken.pixels[clip, t, :, top : top + tall, left : left + wide].float() / 255
            cut = torch.nn.functional.interpolate(cut[None], (16, 16), mode="bilinear", antialias=True)[0]
            cut = cut.flip(-1) if view.flip[clip] else cut
            torch.testing.assert_close(view.pixels[clip, t], cut, atol=1e-3, rtol=0)


def test_a_temporal_crop_is_a_stretch_at_one_speed():
    frames = temporal_crop(2000, 16, 8, span=(0.5, 1.0), generator=torch.Generator().manual_seed(0))
    step = (frames[:, -1] - frames[:, 0]) / 7
    assert frames.min() == 0 and frames.max() == 15
    assert (frames.diff(dim=1) >= 1).all() and (frames.diff(dim=1) <= 2).all()  # none twice at a span of 1/2
    assert step.min() < 1.05 and step.max() > 1.9 and 1.4 < step.mean() < 1.6
    assert torch.equal(temporal_crop(3, 8, 4), evenly(8, 4).expand(3, -1))


def test_frames_at_a_speed_in_any_order_and_what_changes_between_them():
    clips = torch.arange(12.0).view(1, 12, 1, 1, 1).expand(2, 12, 3, 2, 2)
    batch = batch_of(clips)
    fast = batch.take(at_speed(torch.tensor([0, 11]), torch.tensor([3.0, -2.0]), 4, 12))
    assert fast.pixels[:, :, 0, 0, 0].tolist() == [[0, 3, 6, 9], [11, 9, 7, 5]]
    with pytest.raises(ValueError, match="at_speed leaves clips of 12 frames: 0 to 15"):
        at_speed(torch.tensor([0]), torch.tensor([5.0]), 4, 12)
    assert (residual_frames(fast.pixels)[:, :, 0, 0, 0] == torch.tensor([[3.0] * 3, [-2.0] * 3])).all()
    order = shuffled(50, 12)
    assert (order.sort(1).values == torch.arange(12)).all() and len(
        {tuple(row) for row in order.tolist()}
    ) > 40


def test_taking_frames_keeps_clips_apart_and_leaves_the_batch():
    batch = next(example().loader(4, spec={"frames": 8}))
    before, frames = batch.pixels.clone(), torch.randint(0, 8, (4, 5))
    taken = batch.take(frames)
    for clip in range(4):
        assert torch.equal(taken.pixels[clip], batch.pixels[clip, frames[clip]])
        assert torch.equal(taken.seconds[clip], batch.seconds[clip, frames[clip]])
    pair(12, 4)(batch)
    assert torch.equal(batch.pixels, before)


def test_the_kinds_repeat_under_a_seed_and_take_options():
    batch = next(example().loader(4, spec={"frames": 8}))
    first, second = (pair(16, 4, 8, flip=0.0)(batch, torch.Generator().manual_seed(5)) for _ in range(2))
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0].pixels, first[1].pixels)
    assert two_crops(16, 4, solarize=(0.0, 1.0)).augments[1].augment.solarize == 1.0
    changed = pair(16, 4).with_options({"span": (1.0, 1.0), "grey": 0.0})
    assert changed.augments[0].span == (1.0, 1.0) and changed.augments[0].augment.grey == 0.0
    mistakes = {
        "option of views of clips 'gray'; did you mean 'grey'": {"gray": 0.1},
        "span needs": {"span": (0, 1)},
        "colour of clips": {"colour": "video"},
    }
    for said, options in mistakes.items():
        with pytest.raises(BadInput, match=said):
            pair(16, 4, **options)
    with pytest.raises(BadInput, match="need a size and frames"):
        pair(16)


def test_the_central_square_of_clips_of_several_sizes():
    pixels = torch.zeros(2, 3, 3, 8, 12, dtype=torch.uint8)
    pixels[0, :, :, :, 2:10] = 255
    pixels[1, :, :, :4, :4] = 255
    batch = VideoBatch(
        pixels,
        torch.arange(2),
        torch.full((2,), -1),
        torch.zeros(2, 3),
        sizes=torch.tensor([[8, 12], [4, 4]]),
    )
    assert (plain_clips(batch, 4) == 1).all()
    assert plain_clips(batch, 4, 2).shape == (2, 2, 3, 4, 4)
    assert np.isfinite(plain_clips(batch, 6).numpy()).all()
