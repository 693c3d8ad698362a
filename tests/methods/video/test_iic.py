"""IIC: residual frames, clips without motion, three memories, and the two softmaxes over them."""

import math

import numpy as np
import pytest
import torch

from vergence.benchmarks.records.iic import FRAMES, WAYS, drifts, one_frame, shuffled
from vergence.core import BadInput, Clock
from vergence.data.video.example import example
from vergence.methods.video.encoders import build
from vergence.methods.video.iic import IIC, Views
from vergence.views.clips import frames_of, quarters_swapped, repeated, residual_clip

CONTRACT = {
    "encoder": {"width": 4},
    "options": {"negatives": 32},
    "exempt": {"labels": "80 steps see a clip twenty times, too few for memories that begin at random"},
}


@pytest.fixture
def method():
    torch.manual_seed(0)
    method = IIC(build("c3d-small", size=16, frames=4, width=2), negatives=6)
    method.setup(example().subset(range(12)))
    return method


@pytest.fixture
def batch():
    return next(example().subset(range(12)).loader(3, spec={"frames": 8}))


def test_both_terms_are_the_softmax_over_the_memories_written_as_a_loop(method, batch):
    views = method.views(batch)
    first, second = method.code(views.clips), method.code(views.changes)
    m = {name: memory.rows for name, memory in method.memories.items()}
    total = {"clips": 0.0, "changes": 0.0}
    for name, codes, other in (("clips", first, m["changes"]), ("changes", second, m["clips"])):
        for code, rows in zip(codes, views.rows, strict=True):
            mass = [math.exp(torch.dot(code, other[i]).item() / 0.07) for i in rows]
            mass += [math.exp(torch.dot(code, m["broken"][i]).item() / 0.07) for i in rows]
            total[name] -= math.log(mass[0] / sum(mass)) / len(codes)
    terms = method.loss(views)
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(total, rel=1e-4)


def test_without_intra_negatives_equal_keys_cost_the_logarithm_of_their_number(method):
    codes, rows = torch.eye(4)[:2], torch.arange(14).view(2, 7) % 5
    same = torch.ones(5, 4) / 2
    assert method.told_apart(codes, rows, same, same).item() == pytest.approx(math.log(14), rel=1e-6)
    method.intra = False
    assert method.told_apart(codes, rows, same, same).item() == pytest.approx(math.log(7), rel=1e-6)


def test_a_clip_is_told_from_its_own_still_and_never_from_itself(method, batch):
    rows = torch.cat([method.views(batch).rows for _ in range(20)])
    assert (rows[:, 1:] != rows[:, :1]).all() and rows.min() == 0 and rows.max() == 11
    code = torch.nn.functional.normalize(torch.randn(1, 16), dim=1)
    away = -code.expand(12, -1)
    own = away.clone()
    own[rows[0, 0]] = code
    alone = method.told_apart(code, rows[:1], own, away)
    still = method.told_apart(code, rows[:1], own, own)
    assert alone < 1e-6 and still.item() == pytest.approx(math.log(2), rel=1e-4)


def test_memories_move_after_the_step_and_the_still_clip_gets_no_gradient(method, batch):
    before = {name: memory.rows.clone() for name, memory in method.memories.items()}
    views = method.views(batch)
    views = Views(views.clips, views.changes, views.broken.requires_grad_(), views.rows)
    method.eval()
    still = method.code(views.broken).detach()
    terms = method.loss(views)
    assert all(torch.equal(memory.rows, before[name]) for name, memory in method.memories.items())
    method.step_end(Clock(1, 2, 1))
    index = views.rows[:, 0]
    moved = torch.nn.functional.normalize(before["broken"][index] + still, dim=1)
    torch.testing.assert_close(method.memories["broken"].rows[index], moved)
    sum(terms.values()).backward()
    assert views.broken.grad is None


def test_what_stands_still_is_grey_and_a_repeated_frame_has_no_change():
    clips = torch.rand(3, 8, 3, 4, 4)
    seen = residual_clip(clips)
    assert (seen[:, 0] == 0.5).all() and seen.min() >= 0 and seen.max() <= 1
    torch.testing.assert_close(seen[:, 1:], (clips[:, 1:] - clips[:, :-1] + 1) / 2)
    assert (residual_clip(frames_of(clips, repeated(3, 8))) == 0.5).all()


@pytest.mark.parametrize("frames", [4, 8, 11, 16])
def test_two_quarters_change_places_and_the_others_stay(frames):
    order = quarters_swapped(200, frames)
    assert (order.sort(1).values == torch.arange(frames)).all()
    assert not (order == torch.arange(frames)).all(1).any()
    quarter = 4 * torch.arange(frames) // frames
    seen = {tuple(torch.unique_consecutive(quarter[row]).tolist()) for row in order}
    assert seen == {(1, 0, 2, 3), (2, 1, 0, 3), (3, 1, 2, 0), (0, 2, 1, 3), (0, 3, 2, 1), (0, 1, 3, 2)}


def test_mistakes_are_answered_in_one_line():
    encoder = build("c3d-small", size=16, frames=3, width=2)
    with pytest.raises(ValueError, match="quarters of clips of 4 frames or more; got 3"):
        IIC(encoder, broken="shuffle")
    with pytest.raises(BadInput, match="did you mean 'shuffle'"):
        IIC(encoder, broken="shufle")
    with pytest.raises(ValueError, match="1 or more negatives and a temperature above 0; got 0"):
        IIC(encoder, negatives=0)
    with pytest.raises(ValueError, match=r"call setup\(source\)"):
        IIC(encoder).loss(None)


def test_the_clips_of_its_record_drift_and_what_judges_them_has_lost_time_alone():
    learned, judged = drifts(None, 100)
    frames = next(judged.loader(40, spec={"size": 12, "frames": FRAMES})).pixels.float()
    assert frames.shape == (40, FRAMES, 3, 12, 12) and learned.classes == sorted(WAYS)
    assert np.bincount(judged.labels).tolist() == [300] * 4
    for change, still in ((one_frame, True), (shuffled, False)):
        same, changed = drifts(None, 100, change=change)
        broken = next(changed.loader(40, spec={"size": 12, "frames": FRAMES})).pixels.float()
        assert (broken[:, 1:] == broken[:, :-1]).all() == still
        if not still:
            torch.testing.assert_close(broken.sort(1).values, frames.sort(1).values)
        again = next(same.loader(20, spec={"size": 12, "frames": FRAMES})).pixels
        assert torch.equal(again, next(learned.loader(20, spec={"size": 12, "frames": FRAMES})).pixels)
