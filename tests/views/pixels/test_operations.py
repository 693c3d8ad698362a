"""Operations at their ends, and policies that do what they list as often as they say."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from vergence.core import BadInput
from vergence.views.pixels.operations import NAMES, OPERATIONS, Policy

MOVES = ("shear-x", "shear-y", "shift-x", "shift-y", "solarize", "cut-out")
FACTORS = ("contrast", "saturation", "brightness", "sharpness")
STILL = dict.fromkeys(MOVES, 0.0) | dict.fromkeys(FACTORS, 0.5)


@pytest.fixture
def photos():
    torch.manual_seed(0)
    return torch.randint(0, 256, (6, 3, 16, 16)) / 255


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_keeps_shape_and_range_and_leaves_its_input(name, photos):
    before = photos.clone()
    for m in (0.0, 0.5, 1.0):
        result = OPERATIONS[name](photos, torch.full((6,), m))
        assert result.shape == photos.shape and result.min() >= -1e-6 and result.max() <= 1 + 1e-6
    assert torch.equal(photos, before)


@pytest.mark.parametrize("name", STILL)
def test_some_magnitude_does_nothing(name, photos):
    torch.testing.assert_close(
        OPERATIONS[name](photos, torch.full((6,), STILL[name])), photos, atol=1e-5, rtol=0
    )


def as_pil(x):
    return Image.fromarray((x * 255).round().byte().permute(1, 2, 0).numpy())


def from_pil(image):
    return torch.from_numpy(np.asarray(image).astype(np.float32) / 255).permute(2, 0, 1)


def test_pixelwise_operations_agree_with_pil(photos):
    for name, m, of_pil in (
        ("invert", 0.5, ImageOps.invert),
        ("solarize", 1 - 99.5 / 256, lambda i: ImageOps.solarize(i, 100)),
        ("posterize", 1.0, lambda i: ImageOps.posterize(i, 4)),
        ("stretch", 0.0, ImageOps.autocontrast),
    ):
        dull = (photos * 128 + 50).round() / 255
        result = OPERATIONS[name](dull, torch.full((6,), m))
        for x, ours in zip(dull, result, strict=True):
            assert (from_pil(of_pil(as_pil(x))) - ours).abs().max() < 2.5 / 255, name


def test_equalized_planes_use_all_values_evenly(photos):
    result = OPERATIONS["equalize"](photos**3, torch.zeros(6))
    assert result.amin((2, 3)).max() == 0
    assert (result.mean((2, 3)) - 0.5).abs().max() < 0.02
    flat = torch.full((1, 3, 4, 4), 0.3)
    assert torch.equal(OPERATIONS["equalize"](flat, torch.zeros(1)), torch.zeros_like(flat))


def test_a_policy_draws_one_list_a_photo_and_each_step_with_its_probability():
    torch.manual_seed(0)
    x = torch.full((4000, 3, 4, 4), 0.2)
    policy = Policy(
        [[("invert", 0.5, 0), ("brightness", 0.0, 1)], [("brightness", 1.0, 1), ("invert", 1.0, 0)]]
    )
    result = policy(x)[:, 0, 0, 0]
    shares = {value: (result - value).abs().lt(1e-4).float().mean().item() for value in (0.2, 0.8, 0.62)}
    assert shares == pytest.approx({0.2: 0.25, 0.8: 0.25, 0.62: 0.5}, abs=0.03)  # 1 - 0.2 * 1.9 = 0.62
    assert torch.equal(x, torch.full_like(x, 0.2))
    torch.manual_seed(1)
    first = policy(x)
    torch.manual_seed(1)
    assert torch.equal(policy(x), first)


def test_mistakes_are_told():
    with pytest.raises(BadInput, match="did you mean 'invert'"):
        Policy([[("invrt", 1, 1)]])
    with pytest.raises(BadInput, match=r"in \[0, 1\]; got 2"):
        Policy([[("invert", 2, 1)]])
    with pytest.raises(BadInput, match="all of one length"):
        Policy([[("invert", 1, 1)], []])
