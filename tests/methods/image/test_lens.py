"""Lens: an adversary that changes little, a network that answers with and without it, and both are kept."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import vergence
from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.lens import Lens, Lensed
from vergence.nets.unet import UNet

CONTRACT = {
    "encoder": {"name": "resnet-tiny", "width": 8},
    "options": {"width": 2, "depth": 1},
    "learn": {"batch_size": 16, "epochs": 2},
    "exempt": {"labels": "patterns of the example are turns of each other, as for rotnet"},
}


class Corners(nn.Module):
    """Sees the mean of each quadrant."""

    input_spec, out_dim = {"size": 8}, 4

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return self.scale * nn.functional.adaptive_avg_pool2d(images, 2).mean(1).flatten(1)


def made(**options):
    torch.manual_seed(0)
    method = Lens(Corners(), **{"width": 4, "depth": 2, "shift": 0.0, "flip": 0.0, **options})
    nn.init.normal_(method.encoder.change.last.weight, std=0.1)  # a lens that has learned something
    return method


def photos(count=5, size=8):
    pixels = torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(0))
    return ImageBatch(pixels.to(torch.uint8), torch.arange(count), torch.full((count,), -1))


@pytest.mark.parametrize("side", [8, 11])
def test_a_unet_gives_maps_of_the_same_size_and_starts_at_zero(side):
    net = UNet(3, width=4, depth=3)
    x = torch.rand(2, 3, side, side)
    assert torch.equal(net(x), torch.zeros_like(x))
    nn.init.normal_(net.last.weight)
    assert net(x).shape == x.shape and net(x).std() > 0
    with pytest.raises(ValueError, match="width and a depth of 1 or more; got 4 and 0"):
        UNet(width=4, depth=0)


def test_a_unet_has_one_map_for_each_half_and_hands_all_of_them_across():
    net = UNet(3, width=4, depth=2)
    assert [step.body[0].in_channels for step in (net.first, *net.down)] == [3, 4, 8]
    assert [step.body[0].in_channels for step in net.up] == [8 + 16, 4 + 8]
    nn.init.normal_(net.last.weight)
    net(torch.rand(2, 3, 8, 8)).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters() if p.ndim > 1)


def test_the_network_is_asked_with_and_without_the_lens_the_lens_only_with_it():
    method = made(penalty=3.0)
    images, turns = method.views(photos())
    lensed = images + method.encoder.change(images)
    answers, clean = (method.classify(method.encoder.backbone(seen)) for seen in (lensed, images))
    terms = method.loss((images, turns))
    torch.testing.assert_close(terms["lensed"], cross_entropy(answers, turns))
    torch.testing.assert_close(terms["clean"], cross_entropy(clean, turns))
    against = method.lens_loss((images, turns))
    least = -answers.log_softmax(1).amin(1).mean()  # CE towards the least likely: its -log p is the largest
    torch.testing.assert_close(against["against"], least)
    torch.testing.assert_close(against["change"], 3 * ((lensed - images) ** 2).mean())
    full = made(least_likely=False).lens_loss((images, turns))["against"]
    torch.testing.assert_close(full, -cross_entropy(answers, turns))


def test_a_lens_starts_as_the_identity():
    method = Lens(Corners(), width=4, depth=2)
    images, turns = method.views(photos())
    assert torch.equal(method.encoder.lens(images), images)
    assert method.lens_loss((images, turns))["change"] == 0


def test_each_turn_moves_its_own_part_and_both_together_move_all():
    method = made()
    turns = method.optimizers()
    assert list(turns) == ["task", "lens"] and turns["lens"].loss == "lens_loss"
    task, lens = ({id(p) for p in turn.parameters()} for turn in turns.values())
    assert not task & lens and task | lens == {id(p) for p in method.parameters()}
    assert turns["lens"].recipe.lr == 1e-4


def test_the_vector_is_that_of_the_photo_and_of_the_lensed_photo():
    encoder = made().encoder.eval()
    pixels = photos().pixels
    images = pixels / 255
    vectors = encoder(images)
    assert vectors.shape == (5, encoder.out_dim) == (5, 8)
    torch.testing.assert_close(vectors[:, :4], encoder.backbone(images))
    torch.testing.assert_close(vectors[:, 4:], encoder.backbone(encoder.lens(images)))
    torch.testing.assert_close(encoder(pixels), vectors)
    torch.testing.assert_close(encoder(photos()), vectors)


def test_against_a_network_that_stays_a_lens_takes_the_answer_away_at_a_small_price():
    torch.manual_seed(0)
    method = made(penalty=10.0, lens_lr=1e-2)
    nn.init.zeros_(method.encoder.change.last.weight)
    with torch.no_grad():  # the brightest pair of quadrants tells the turn
        bright = torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1], [0, 1, 0, 1]])
        method.classify.weight.copy_(20.0 * bright)
    pixels = torch.full((8, 3, 8, 8), 100, dtype=torch.uint8)
    pixels[:, :, :2] += 60
    batch = ImageBatch(pixels, torch.arange(8), torch.full((8,), -1))
    images, turns = method.views(batch)
    assert (method.answer(images).argmax(1) == turns).all()
    adam = torch.optim.Adam(method.encoder.change.parameters(), lr=1e-2)
    for _ in range(60):
        adam.zero_grad()
        sum(method.lens_loss((images, turns)).values()).backward()
        adam.step()
    change = method.encoder.change(images)
    assert (method.answer(images + change).argmax(1) == turns).float().mean() < 0.8  # of 1
    assert change.square().mean().sqrt() < 0.1


def test_a_run_keeps_the_lens(tmp_path):
    digits = vergence.open("digits").subset(np.arange(80))
    options = {"width": 2, "depth": 1, "size": 16, "encoder": "resnet-tiny", "encoder_options": {"width": 2}}
    run = vergence.learn("lens", digits, epochs=1, batch_size=40, out=tmp_path / "run", quiet=True, **options)
    encoder = vergence.load(tmp_path / "run")
    batch = next(digits.loader(80, spec={"size": 16}))
    assert isinstance(encoder, Lensed) and encoder.out_dim == 16
    with torch.no_grad():
        torch.testing.assert_close(encoder(batch), run.encoder.eval()(batch))


def test_mistakes_are_answered_in_one_line():
    with pytest.raises(BadInput, match="penalty and a lens_lr above 0; got 0 and 0.0001"):
        Lens(Corners(), penalty=0)
    with pytest.raises(BadInput, match="halves 4 times needs images of 16 pixels or more; got 8"):
        Lens(Corners())
