"""RotNet: four exact turns in one batch, black before turning, cross-entropy over the turns."""

import math

import pytest
import torch
from torch import nn

from two_processes import few_digits
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.rotnet import RotNet

CONTRACT = {
    "encoder": {"name": "resnet-tiny", "width": 16},
    "two": {"": {"source": few_digits}},
    "exempt": {"labels": "patterns of the example are turns of each other; a test below has upright images"},
}


class Corners(nn.Module):
    """Sees the mean of each quadrant: enough to tell the turns of an image that is bright on top."""

    input_spec, out_dim = {"size": 8}, 4

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return self.scale * nn.functional.adaptive_avg_pool2d(images, 2).mean(1).flatten(1)


def photos(count=5, size=8, seed=0):
    pixels = torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(seed))
    return ImageBatch(pixels.to(torch.uint8), torch.arange(count), torch.full((count,), -1))


def test_all_four_turns_of_each_image_and_no_pixel_is_interpolated():
    batch = photos()
    images, turns = RotNet(Corners(), shift=0, flip=0).views(batch)
    assert images.shape == (20, 3, 8, 8)
    assert turns.tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    upright = batch.pixels.float() / 255
    for image, turn, source in zip(images, turns, upright.repeat(4, 1, 1, 1), strict=True):
        torch.testing.assert_close(image, torch.rot90(source, int(turn), (1, 2)), rtol=0, atol=1e-7)


def test_black_comes_in_before_turning():
    torch.manual_seed(0)
    batch = ImageBatch(
        torch.full((64, 3, 8, 8), 255, dtype=torch.uint8), torch.arange(64), torch.full((64,), -1)
    )
    images, _ = RotNet(Corners(), shift=0.25).views(batch)
    upright, *turned = images.chunk(4)
    assert (upright == 0).any() and (upright == 1).any()
    for turns, those in enumerate(turned, start=1):  # the black turns with the image
        assert torch.equal(those, torch.rot90(upright, turns, (2, 3)))
    shifted = (upright[:, 0].sum((1, 2)) < 64).float().mean()
    assert shifted.item() == pytest.approx(24 / 25, abs=0.1)  # 5 x 5 places, one is the middle


def test_mirrors_the_stated_share():
    torch.manual_seed(0)
    method = RotNet(Corners(), shift=0, flip=0.25)
    batch = photos(400)
    upright = method.views(batch)[0][:400]
    same = (upright - batch.pixels / 255).abs().flatten(1).amax(1) < 1e-6
    assert (~same).float().mean().item() == pytest.approx(0.25, abs=0.06)


def test_loss_is_the_mean_over_images_and_turns_of_minus_log_probability():
    torch.manual_seed(0)
    method = RotNet(Corners())
    images, turns = method.views(photos())
    logits = method.classify(method.encoder(images))
    total = 0.0
    for row, turn in zip(logits.tolist(), turns.tolist(), strict=True):
        total += math.log(sum(math.exp(z) for z in row)) - row[turn]
    assert method.loss((images, turns))["turn"].item() == pytest.approx(total / 20, rel=1e-5)


def test_chance_before_training_and_everything_learns():
    torch.manual_seed(0)
    method = RotNet(Corners())
    nn.init.zeros_(method.classify.weight)
    nn.init.zeros_(method.classify.bias)
    views = method.views(photos())
    assert method.loss(views)["turn"].item() == pytest.approx(math.log(4))
    assert method.pop_logged()["turn_accuracy"].item() == pytest.approx(0.25)
    nn.init.normal_(method.classify.weight)
    method.loss(views)["turn"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_images_that_are_bright_on_top_are_soon_told_apart_and_one_image_will_do():
    torch.manual_seed(0)
    pixels = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    pixels[:, :, :4] = 255
    method = RotNet(Corners(), shift=0)
    step = torch.optim.SGD(method.parameters(), lr=2.0)
    for _ in range(60):
        loss = method.loss(method.views(ImageBatch(pixels, torch.arange(1), torch.tensor([-1]))))["turn"]
        step.zero_grad()
        loss.backward()
        step.step()
    assert loss.item() < 0.5
    assert method.pop_logged()["turn_accuracy"].item() == 1.0


def test_an_impossible_option_is_answered_in_one_line():
    with pytest.raises(ValueError, match=r"RotNet needs shift >= 0 and flip in \[0, 1\]; got -0.1 and 0.5."):
        RotNet(Corners(), shift=-0.1)
