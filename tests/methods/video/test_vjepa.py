"""V-JEPA: a slow copy's tokens of hidden tubes are predicted from what is left of the clip."""

import pytest
import torch
from torch.nn.functional import layer_norm

from vergence.core import BadInput, Clock
from vergence.data.video.batch import VideoBatch
from vergence.methods.video.encoders import build
from vergence.methods.video.vjepa import VJEPA
from vergence.nets.patches import patchify
from vergence.nets.tubelet_vit import TubeletViT
from vergence.views.masks import union_of_blocks

SMALL = {"width": 12, "depth": 1, "heads": 2}

CONTRACT = {
    "encoder": {"name": "tubelet-micro", "frames": 4},
    "options": {"width": 48, "depth": 1},
    "learn": {"lr": 5e-4, "epochs": 4},
    "exempt": {"labels": "80 steps of predicting show little in frozen features; its record does"},
}


@pytest.fixture
def method():
    torch.manual_seed(0)
    return VJEPA(TubeletViT(size=16, frames=4, patch=2, tubelet=2, dim=12, depth=2, heads=2, read=4), **SMALL)


def batch_of(count=6):
    pixels = torch.randint(256, (count, 4, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    index = torch.arange(count)
    return VideoBatch(pixels.to(torch.uint8), index, torch.full((count,), -1), torch.zeros(count, 4))


@pytest.mark.parametrize(("blocks", "scale"), [(8, 0.15), (2, 0.7), (3, 1.0)])
def test_what_is_hidden_is_hidden_in_all_frames_and_nothing_of_it_is_shown(blocks, scale):
    shown, hidden = union_of_blocks(50, (3, 8, 8), blocks=blocks, scale=scale)
    assert shown.shape[1] % 3 == hidden.shape[1] % 3 == 0 and len(shown) == len(hidden) == 50
    for places in (shown, hidden):
        frames = places.view(50, 3, -1)
        assert (frames == frames[:, :1] + 64 * torch.arange(3)[:, None]).all()
        assert all(len(set(row.tolist())) == len(row) for row in places)
    for seen, unseen in zip(shown, hidden, strict=True):
        assert not set(seen.tolist()) & set(unseen.tolist())


def test_blocks_are_rectangles_of_their_scale():
    _, hidden = union_of_blocks(40, (1, 10, 10), blocks=1, scale=0.3, aspect=(1.2, 1.2))
    assert hidden.shape == (40, 30)
    rows, columns = hidden // 10, hidden % 10
    assert (rows.amax(1) - rows.amin(1) == 5).all() and (columns.amax(1) - columns.amin(1) == 4).all()


def test_many_small_blocks_show_more_than_two_large_ones(method):
    views = method.views(batch_of())
    assert views.clips.shape == (6, 4, 3, 16, 16)
    short, long = (places.shape[1] for places in views.shown)
    assert short > long
    assert method.crop.augments[0].pixels["scale"] == (0.3, 1.0)


def test_the_loss_is_the_mean_over_kinds_of_the_distance_to_the_teachers_tokens(method):
    views = method.views(batch_of())
    tokens = layer_norm(method.teacher(views.clips).tokens, (12,))
    costs = []
    for kind, (shown, hidden) in enumerate(zip(views.shown, views.hidden, strict=True)):
        context = method.encoder(views.clips, keep=shown).tokens
        answers = method.predictor(context, shown, hidden, kind=kind)
        targets = torch.stack([tokens[b, hidden[b]] for b in range(6)])
        costs.append((answers - targets).abs().mean())
    expected = (sum(costs) / 2).item()
    assert method.loss(views)["predict"].item() == pytest.approx(expected, rel=1e-5)


def test_each_kind_of_mask_has_a_token_of_its_own(method):
    views = method.views(batch_of())
    shown, hidden = views.shown[0], views.hidden[0]
    context = method.encoder(views.clips, keep=shown).tokens
    first, second = (method.predictor(context, shown, hidden, kind=kind) for kind in (0, 1))
    assert method.predictor.mask_token.shape == (2, 12) and not torch.allclose(first, second)


def test_hidden_tubes_do_not_reach_the_student_but_do_reach_the_teacher(method):
    views = method.views(batch_of())
    clips = views.clips.clone().requires_grad_()
    tokens = method.encoder(clips, keep=views.shown[1]).tokens
    (gradient,) = torch.autograd.grad(tokens.sin().sum(), clips)
    cells = patchify(gradient.transpose(1, 2), (2, 2, 2)).abs().amax(2)
    assert (cells.gather(1, views.hidden[1]) == 0).all()
    assert (cells.gather(1, views.shown[1]) > 0).any()
    changed = views.clips.clone()
    changed[0, 0] = 0.5
    assert not torch.allclose(method.teacher(changed).tokens[0], method.teacher(views.clips).tokens[0])


def test_only_the_student_learns_and_the_teacher_follows_in_a_straight_line(method):
    method.loss(method.views(batch_of()))["predict"].backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    assert all(p.grad.abs().sum() > 0 for p in method.parameters() if p.requires_grad)
    before = method.teacher.network.patch_embed.proj.weight.clone()
    with torch.no_grad():
        method.encoder.patch_embed.proj.weight.add_(1.0)
    method.step_end(Clock(step=5, total=10))
    moved = method.teacher.network.patch_embed.proj.weight - before
    torch.testing.assert_close(moved, torch.full_like(moved, 0.001))  # keeps (0.998 + 1) / 2


def test_options_that_cannot_be_are_answered_in_one_line(method):
    with pytest.raises(BadInput, match=r"1 or more blocks and a scale in \(0, 1\]; got \(8, 0\)"):
        VJEPA(method.encoder, blocks=(8, 0), **SMALL)
    with pytest.raises(BadInput, match=r"momentum in \[0, 1\]; got \(0.75, 1.5\) and 1.5"):
        VJEPA(method.encoder, momentum=1.5, **SMALL)
    with pytest.raises(BadInput, match="tubelets of a transformer, .*got c3d-small"):
        VJEPA(build("c3d-small", size=16, frames=4, width=2), **SMALL)
