"""Scaling 4D: hidden tubelets are painted by the encoder's own last blocks."""

import pytest
import torch
from torch.nn.functional import layer_norm, mse_loss

from vergence.core import BadInput
from vergence.data.video.batch import VideoBatch
from vergence.methods.video.encoders import build
from vergence.methods.video.scaling4d import Scaling4D
from vergence.nets.patches import patchify
from vergence.nets.tubelet_vit import TubeletViT

CONTRACT = {
    "encoder": {"name": "tubelet-micro", "frames": 4},
    "options": {"ratio": 0.9},
    "learn": {"epochs": 8},
    "exempt": {"labels": "80 steps of painting show little in frozen features; its record does"},
}


@pytest.fixture
def method():
    torch.manual_seed(0)
    return Scaling4D(TubeletViT(size=16, frames=4, patch=4, tubelet=2, dim=12, depth=3, heads=2, read=4))


def batch_of(count=6):
    pixels = torch.randint(256, (count, 4, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    index = torch.arange(count)
    return VideoBatch(pixels.to(torch.uint8), index, torch.full((count,), -1), torch.zeros(count, 4))


def attended(x, block, keys):
    """Return what a block makes of all places, of which those in ``keys (B, N)`` alone are looked at."""
    attention, perceptron = block.children()
    b, n, d = x.shape
    q, k, v = attention.body.qkv(attention.norm(x)).view(b, n, 3, 2, d // 2).permute(2, 0, 3, 1, 4)
    scores = q @ k.mT / (d // 2) ** 0.5
    weights = scores.masked_fill(~keys[:, None, None], float("-inf")).softmax(-1)
    x = x + attention.body.proj((weights @ v).transpose(1, 2).reshape(b, n, d))
    return x + perceptron.body(perceptron.norm(x))


def test_the_loss_is_that_of_whole_clips_whose_hidden_tubelets_nobody_looks_at(method):
    views = method.views(batch_of())
    encoder, volume = method.encoder, method.encoder.volume(views.clips)
    cells = patchify(volume, encoder.cell)
    seen = torch.zeros(6, 32, dtype=torch.bool).scatter(1, views.shown, True)
    x = encoder.patch_embed.proj(cells) + encoder.positions
    for block in encoder.blocks[:2]:
        x = attended(x, block, seen)
    x = torch.where(seen[..., None], x, method.mask_token + encoder.positions)
    x = attended(x, encoder.blocks[2], torch.ones_like(seen))
    x = layer_norm(x, (12,), encoder.norm.weight, encoder.norm.bias, encoder.norm.eps)
    expected = mse_loss(method.head(x)[~seen], cells[~seen])
    assert method.late == 1
    assert method.loss(views)["repair"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_one_tubelet_in_twenty_is_shown_and_every_one_is_either(method):
    views = method.views(batch_of())
    assert views.shown.shape == (6, 2) and views.hidden.shape == (6, 30)
    every = torch.cat([views.shown, views.hidden], 1).sort(1).values
    assert (every == torch.arange(32)).all()


def test_hidden_tubelets_are_not_seen(method):
    views = method.views(batch_of())
    clips = views.clips.clone().requires_grad_()
    painted = method.paint(clips, views.shown, views.hidden)
    (gradient,) = torch.autograd.grad(painted.sin().sum(), clips)
    cells = patchify(gradient.transpose(1, 2), (2, 4, 4)).abs().amax(2)
    assert (cells.gather(1, views.hidden) == 0).all()
    assert (cells.gather(1, views.shown) > 0).all()


def test_everything_learns(method):
    method.loss(method.views(batch_of()))["repair"].backward()
    assert all(p.grad.abs().sum() > 0 for p in method.parameters() if p.requires_grad)


def test_options_that_cannot_be_are_answered_in_one_line(method):
    with pytest.raises(BadInput, match="late between 1 and the encoder's 3 blocks; got 4"):
        Scaling4D(method.encoder, late=4)
    with pytest.raises(BadInput, match="some of the 32 tubelets and shows some; got 0.99"):
        Scaling4D(method.encoder, ratio=0.99)
    with pytest.raises(BadInput, match="tubelets of a transformer, .*got c3d-small"):
        Scaling4D(build("c3d-small", size=16, frames=4, width=2))
