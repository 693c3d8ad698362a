"""MAE: hidden patches never reach the encoder, and only they are painted."""

import pytest
import torch

from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.encoders import build
from vergence.methods.image.mae import MAE
from vergence.nets.patches import patchify
from vergence.nets.vit import ViT
from vergence.views.masks import shown_and_hidden

SMALL = {"width": 32, "depth": 1, "heads": 2}

CONTRACT = {
    "encoder": {"name": "vit-micro", "patch": 4},
    "options": SMALL,
    "exempt": {"labels": "80 steps of painting show little in frozen features; its record does"},
}


def vit(size=16, **options):
    return ViT(size=size, patch=4, dim=16, depth=2, heads=2, **options)


@pytest.fixture
def method():
    torch.manual_seed(0)
    return MAE(vit(), **SMALL)


def photos(count=6, size=16):
    pixels = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    return ImageBatch((pixels * 255).to(torch.uint8), torch.arange(count), torch.full((count,), -1))


def test_views_hide_three_quarters_of_the_patches_and_keep_colours(method):
    view = method.views(photos())
    assert view.pixels.shape == (6, 3, 16, 16)
    assert (view.mask.sum(1) == 12).all()
    method.configure_views({"flip": 0.0})
    assert method.crop.augment.flip == 0 and method.crop.augment.scale == (0.2, 1.0)
    assert method.crop.augment.jitter_p == method.crop.augment.grey == 0


def test_the_loss_is_the_squared_error_of_hidden_patches_computed_one_by_one(method):
    view = method.views(photos())
    visible, hidden = shown_and_hidden(view.mask)
    total = []
    for b in range(6):
        seen = method.encoder(view.pixels[b : b + 1], keep=visible[b : b + 1])
        answers = method.decoder(
            seen.tokens, visible[b : b + 1], hidden[b : b + 1], prefix=seen.pooled[:, None]
        )
        cells = patchify(method.encoder.pixels(view.pixels[b : b + 1]), (4, 4))[0]
        for answer, place in zip(answers[0], hidden[b].tolist(), strict=True):
            cell = cells[place]
            cell = (cell - cell.mean()) / (cell.var() + 1e-6).sqrt()
            total.append((answer - cell).square().mean().item())
    assert len(total) == 6 * 12
    assert method.loss(view)["repair"].item() == pytest.approx(sum(total) / len(total), rel=1e-4)


def test_hidden_pixels_do_not_reach_the_encoder_and_visible_ones_are_no_target(method):
    view = method.views(photos())
    visible, hidden = shown_and_hidden(view.mask)
    pixels = view.pixels.clone().requires_grad_()
    seen = method.encoder(pixels, keep=visible)
    (gradient,) = torch.autograd.grad(seen.tokens.sin().sum() + seen.pooled.sum(), pixels)
    cells = patchify(gradient, (4, 4)).abs().amax(2)
    assert (cells.gather(1, hidden) == 0).all() and (cells.gather(1, visible) > 0).all()

    values = method.encoder.pixels(view).requires_grad_()
    targets = method.target.at(values, hidden)
    (gradient,) = torch.autograd.grad(method.target.cost(torch.zeros_like(targets), targets), values)
    cells = patchify(gradient, (4, 4)).abs().amax(2)
    assert (cells.gather(1, visible) == 0).all()


def test_normalised_pixels_forget_brightness_and_contrast_of_a_patch_and_plain_ones_do_not():
    torch.manual_seed(0)
    losses = {}
    for target in ("normalised", "pixels"):
        method = MAE(vit(), target=target, **SMALL).eval()
        view = method.views(photos())
        _, hidden = shown_and_hidden(view.mask)
        values = method.encoder.pixels(view)
        targets = [method.target.at(v, hidden) for v in (values, 3 * values + 1)]
        losses[target] = method.target.cost(*targets).item()
    assert losses["normalised"] < 1e-6 < 1 < losses["pixels"]


def test_a_few_steps_paint_the_colour_of_what_is_seen():
    torch.manual_seed(0)
    method = MAE(vit(), target="pixels", **SMALL)
    step = torch.optim.AdamW(method.parameters(), lr=5e-3)
    for _ in range(60):
        colour = torch.randint(256, (16, 3, 1, 1), dtype=torch.uint8).expand(-1, -1, 16, 16)
        view = method.views(ImageBatch(colour, torch.arange(16), torch.full((16,), -1)))
        loss = method.loss(view)["repair"]
        step.zero_grad()
        loss.backward()
        step.step()
    assert loss.item() < 0.6 * method.encoder.pixels(view).var().item()


def test_options_that_cannot_be_are_answered_in_one_line():
    with pytest.raises(BadInput, match="hides some of the 16 patches and shows some; got 0.99"):
        MAE(vit(), ratio=0.99, **SMALL)
    with pytest.raises(BadInput, match="'normalised' or 'pixels'; got 'edges'"):
        MAE(vit(), target="edges", **SMALL)
    with pytest.raises(BadInput, match="MAE needs a vision transformer; got resnet-tiny"):
        MAE(build("resnet-tiny", size=16), **SMALL)
