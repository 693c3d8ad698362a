"""I-JEPA: blocks of the teacher's tokens are predicted from a context that has none of them."""

import pytest
import torch
from torch.nn.functional import layer_norm, smooth_l1_loss

from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.encoders import build
from vergence.methods.image.ijepa import IJEPA
from vergence.nets.patches import patchify
from vergence.nets.vit import ViT

SMALL = {"width": 24, "depth": 1}

CONTRACT = {
    "encoder": {"name": "vit-micro", "patch": 2, "dim": 64, "depth": 2},
    "learn": {"epochs": 5},
    "options": {"width": 36, "depth": 1},
    "exempt": {"labels": "80 steps of predicting show little in frozen features; its record does"},
}


def vit(size=16, **options):
    return ViT(size=size, patch=2, dim=16, depth=2, heads=2, **options)


@pytest.fixture
def method():
    torch.manual_seed(0)
    return IJEPA(vit(), **SMALL)


def photos(count=6, size=16):
    pixels = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    return ImageBatch((pixels * 255).to(torch.uint8), torch.arange(count), torch.full((count,), -1))


def test_views_are_crops_with_four_blocks_and_a_context_without_them(method):
    views = method.views(photos())
    assert views.pixels.shape == (6, 3, 16, 16) and views.blocks.shape[:2] == (6, 4)
    for seen, hidden in zip(views.context, views.blocks, strict=True):
        assert not set(seen.tolist()) & set(hidden.flatten().tolist())
    assert method.crop.flip == method.crop.jitter_p == method.crop.grey == method.crop.blur == 0
    assert method.crop.scale == (0.3, 1.0)


def test_the_loss_is_smooth_l1_to_the_teachers_tokens_block_by_block(method):
    views = method.views(photos())
    features = layer_norm(method.teacher(views.pixels).tokens, (16,))
    context = method.encoder(views.pixels, keep=views.context).tokens
    costs = []
    for n in range(4):
        answers = method.predictor(context, views.context, views.blocks[:, n])
        targets = torch.stack([features[b, views.blocks[b, n]] for b in range(6)])
        costs.append(smooth_l1_loss(answers, targets))
    expected = torch.stack(costs).mean().item()
    assert method.loss(views)["predict"].item() == pytest.approx(expected, rel=1e-4)


def test_blocks_do_not_reach_the_student_but_do_reach_the_teacher(method):
    views = method.views(photos())
    pixels = views.pixels.clone().requires_grad_()
    tokens = method.encoder(pixels, keep=views.context).tokens
    (gradient,) = torch.autograd.grad(tokens.sin().sum(), pixels)
    cells = patchify(gradient, (2, 2)).abs().amax(2)
    assert (cells.gather(1, views.blocks.flatten(1)) == 0).all()
    changed = views.pixels.clone()
    row, column = divmod(int(views.blocks[0, 0, 0]), 8)
    changed[0, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 0.5
    assert not torch.allclose(method.teacher(changed).tokens[0], method.teacher(views.pixels).tokens[0])


def test_only_the_student_learns_and_the_teacher_follows_in_a_straight_line(method):
    views = method.views(photos())
    method.loss(views)["predict"].backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    assert all(
        p.grad.abs().sum() > 0 for n, p in method.named_parameters() if p.requires_grad and "cls" not in n
    )
    student = method.encoder.patch_embed.proj.weight
    before = method.teacher.network.patch_embed.proj.weight.clone()
    with torch.no_grad():
        student.add_(1.0)
    method.step_end(Clock(step=5, total=10))
    moved = method.teacher.network.patch_embed.proj.weight - before
    torch.testing.assert_close(moved, torch.full_like(moved, 0.002))  # keeps (0.996 + 1) / 2


def test_it_pools_the_mean_patch_and_is_built_again_so():
    encoder = build("vit-micro", size=16)
    method = IJEPA(encoder, **{**SMALL, "width": 36})
    assert encoder.pool == encoder.spec["pool"] == method.teacher.network.pool == "mean"


def test_options_that_cannot_be_are_answered_in_one_line():
    with pytest.raises(BadInput, match=r"1 or more blocks, .*got 0, \(0.15, 0.2\)"):
        IJEPA(vit(), blocks=0, **SMALL)
    with pytest.raises(BadInput, match=r"momentum in \[0, 1\]; got 1.5"):
        IJEPA(vit(), momentum=1.5, **SMALL)
    with pytest.raises(BadInput, match="IJEPA needs a vision transformer; got resnet-tiny"):
        IJEPA(build("resnet-tiny", size=16), **SMALL)
