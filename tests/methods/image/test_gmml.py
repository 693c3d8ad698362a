"""GMML: groups of connected pixels are spoilt, and only there the repair counts."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from torch import nn

from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.encoders import build
from vergence.methods.image.gmml import GMML, levels
from vergence.nets.vit import ViT
from vergence.views.pixels.corrupt import Corrupted, filler_of

CONTRACT = {
    "encoder": {"name": "vit-micro", "patch": 4},
    "learn": {"epochs": 5},
    "exempt": {"labels": "learns to paint, which frozen features do not show; its record fine-tunes"},
}


def vit(size=16):
    return ViT(size=size, patch=4, dim=16, depth=3, heads=2)


def images(count=64, size=16):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def photos(count=6, size=16):
    pixels = (images(count, size) * 255).to(torch.uint8)
    return ImageBatch(pixels, torch.arange(count), torch.full((count,), -1))


@pytest.fixture
def method():
    torch.manual_seed(0)
    return GMML(vit())


def test_holes_cover_the_stated_share_and_half_the_images_are_pasted_into():
    torch.manual_seed(0)
    method = GMML(vit(32), paste=0.2)
    clean = images(400, 32)
    seen = method.corrupt(clean)
    share = seen.mask.float().mean((1, 2))
    overshoot = 0.525**2  # of the last rectangle
    pasted = ((seen.pixels == clean.roll(1, 0)) | ~seen.mask[:, None]).flatten(1).all(1)
    assert pasted.float().mean().item() == pytest.approx(0.5, abs=0.08)
    assert (share[pasted] >= 0.2).all() and (share[pasted] < 0.2 + overshoot).all()
    assert (share[~pasted] >= 0.5).all() and (share[~pasted] < 0.75 + overshoot).all()
    assert share[~pasted].mean().item() == pytest.approx(0.635, abs=0.03)


def test_what_is_outside_the_holes_is_seen_as_it_was(method):
    clean = images()
    kept = clean.clone()
    seen = method.corrupt(clean)
    outside = ~seen.mask[:, None].expand_as(clean)
    assert torch.equal(seen.pixels[outside], clean[outside])
    assert (seen.pixels[~outside] != clean[~outside]).float().mean() > 0.99
    assert torch.equal(clean, kept) and torch.equal(seen.clean, kept)


@pytest.mark.parametrize(("align", "whole"), [(4, True), (1, False)])
def test_holes_are_groups_and_lie_on_the_patch_grid_only_when_asked(align, whole):
    torch.manual_seed(0)
    mask = GMML(vit(32), align=align).corrupt(images(32, 32)).mask
    share = nn.functional.avg_pool2d(mask[:, None].float(), 4)
    assert ((share == 0) | (share == 1)).all().item() is whole
    beside = mask[:, :, 1:][mask[:, :, :-1]].float().mean()  # a hole's right neighbour is a hole too
    assert beside > mask.float().mean() + 0.1


def to_what_is_seen(mask, patch):
    """Return the mean distance in patches from a hidden pixel to the nearest that is seen."""
    return np.mean([distance_transform_edt(one)[one].mean() for one in mask.numpy()]) / patch


def test_holes_are_as_wide_in_patches_whatever_the_side_of_a_photo():
    torch.manual_seed(0)
    budget = torch.linspace(0.5, 0.75, 40)
    paper = GMML(ViT(size=224, patch=16, dim=16, depth=1, heads=2))
    small = GMML(vit(32))
    assert (paper.holes.side, small.holes.side) == (0.3, 0.525)
    assert GMML(vit(16)).holes.side == 0.6 and GMML(vit(32), side=0.3).holes.side == 0.3
    apart = [to_what_is_seen(m.holes.groups(budget, m.encoder.size), m.encoder.patch) for m in (paper, small)]
    assert apart[1] == pytest.approx(apart[0], rel=0.25)
    cells = torch.rand(40, 64).argsort(1).argsort(1) < (budget * 64)[:, None]
    single = cells.view(40, 8, 8).repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert apart[1] > 1.05 * to_what_is_seen(single, 4)


def test_photos_are_blurred_as_rarely_as_in_the_paper_and_small_ones_never():
    assert GMML(ViT(size=96, patch=16, dim=16, depth=1, heads=2)).crop.blur == 0.1
    assert GMML(vit(32)).crop.blur == 0.0


def test_noise_is_standard_in_what_the_encoder_sees():
    torch.manual_seed(0)
    method = GMML(vit())
    flat = torch.full((200, 3, 16, 16), 0.5)
    seen = method.corrupt(flat)
    values = method.encoder.pixels(seen.pixels).permute(0, 2, 3, 1)[(seen.pixels != 0.5).all(1)]
    assert values.mean().item() == pytest.approx(0, abs=0.02)
    assert values.std().item() == pytest.approx(1, abs=0.02)


def test_zeros_are_the_mean_colour_and_elsewhere_is_the_same_image_moved():
    torch.manual_seed(0)
    method = GMML(vit(), fill=("zeros",))
    seen = method.corrupt(images())
    zero = method.encoder.pixels(seen.pixels).abs().amax(1) < 1e-6
    assert torch.equal(zero & seen.mask, zero) and 0.2 < zero.float().mean() < 0.5

    clean = torch.arange(64.0).view(64, 1, 1, 1).expand(64, 3, 16, 16) / 64  # each image has one colour
    seen = GMML(vit(), fill=("elsewhere",)).corrupt(clean)
    same = (seen.pixels == clean).flatten(1).all(1)
    assert same.float().mean().item() == pytest.approx(0.5, abs=0.2)  # pasting changes the others
    clean = images(2)
    moved = filler_of("elsewhere", clean, method.encoder.mean, method.encoder.std)
    assert not (moved == clean).any()
    assert torch.equal(moved.flatten(2).sort().values, clean.flatten(2).sort().values)


def test_loss_counts_the_holes_only(method, monkeypatch):
    views = method.corrupt(images(5))
    noise = torch.randn_like(views.clean)
    hole = views.mask[:, None]
    monkeypatch.setattr(method, "reconstruct", lambda _: torch.where(hole, views.clean, noise))
    assert method.loss(views)["repair"].item() == 0
    guess = views.clean + noise
    monkeypatch.setattr(method, "reconstruct", lambda _: guess)
    total, count = 0.0, 0
    for b, y, x in views.mask.nonzero().tolist():
        for channel in range(3):
            total += abs(noise[b, channel, y, x].item()) / method.encoder.std[0, channel].item()
            count += 1
    assert method.loss(views)["repair"].item() == pytest.approx(total / count, rel=1e-4)
    psnr = -10 * noise.square()[hole.expand_as(noise)].mean().log10().item()
    assert method.pop_logged()["hole_psnr"].item() == pytest.approx(psnr, rel=1e-4)


def test_reads_the_upper_half_of_the_blocks_and_paints_every_patch_in_its_place(method):
    assert levels(12) == [5, 7, 9, 11]  # blocks 6, 8, 10 and 12
    assert levels(6) == [2, 3, 4, 5] and levels(1) == [0]
    seen = images(2)
    blocks = method.encoder.layers(seen)
    tokens = method.encoder.norm((blocks[1] + blocks[2]) / 2)
    painted = torch.zeros(2, 3, 16, 16)
    for n in range(16):
        patch = torch.einsum(
            "bd,dcij->bcij", method.repainter.mlp(tokens[:, n]), method.repainter.paint.weight
        )
        y, x = 4 * (n // 4), 4 * (n % 4)
        painted[:, :, y : y + 4, x : x + 4] = patch + method.repainter.paint.bias[:, None, None]
    expected = painted * method.encoder.std + method.encoder.mean
    torch.testing.assert_close(method.reconstruct(seen), expected, rtol=1e-4, atol=1e-5)


def test_everything_gets_a_gradient_also_on_a_batch_of_two(method):
    loss = method.loss(method.views(photos(2)))["repair"]
    assert loss.isfinite()
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_repair_is_learned_and_beats_the_mean_colour_on_images_of_one_colour_each():
    torch.manual_seed(0)
    method = GMML(vit())
    step = torch.optim.AdamW(method.parameters(), lr=1e-2)
    for _ in range(40):
        colour = torch.rand(16, 3, 1, 1).expand(-1, -1, 16, 16)
        views = method.corrupt(colour)
        loss = method.loss(views)["repair"]
        step.zero_grad()
        loss.backward()
        step.step()
    mean = (colour - colour.mean((0, 2, 3), keepdim=True)).abs() / method.encoder.std
    assert loss.item() < 0.95 * mean.mean().item()


def test_vits_of_the_library_pool_their_mean_patch_afterwards_and_can_be_built_again():
    encoder = build("vit-micro", size=16)
    GMML(encoder)
    assert build(**encoder.spec).pool == encoder.pool == "mean"


def test_timm_transformers_work_too():
    encoder = build("vit_tiny_patch16_224", size=32)
    method = GMML(encoder)
    views = method.corrupt(images(2, 32))
    assert isinstance(views, Corrupted)
    assert method.reconstruct(views.pixels).shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fill": ("noises",)}, "one or more of noise, zeros, elsewhere"),
        ({"budget": (0.5, 1.0)}, r"in \(0, 1\)"),
        ({"align": 5}, "divide the size, 16 pixels; got 5"),
    ],
)
def test_options_that_cannot_be_are_answered_in_one_line(options, words):
    with pytest.raises(BadInput, match=words):
        GMML(vit(), **options)


def test_convolutions_and_single_images_are_refused(method):
    with pytest.raises(BadInput, match="GMML needs a vision transformer; got resnet-tiny"):
        GMML(build("resnet-tiny", size=16))
    with pytest.raises(ValueError, match="2 or more samples"):
        method.corrupt(images(1))
