"""Every view operation against torchvision's function of the same name, parameter by parameter."""

import math

import pytest
import torch
import torchvision.transforms.v2.functional as reference
from torchvision.transforms.v2 import InterpolationMode, RandomResizedCrop

from vergence.views.pixels import colour, geometry

BILINEAR = InterpolationMode.BILINEAR


@pytest.fixture
def images():
    x = torch.rand(6, 3, 40, 52, generator=torch.Generator().manual_seed(0))
    x[0, :, :10] = 0.5  # grey: no hue
    x[1, 1] = x[1, 2]  # ties between channels
    x[2, :, :, :5], x[2, :, :, -5:] = 0.0, 1.0
    return x


def one_by_one(function, images, *parameters):
    return torch.stack([function(x, *p) for x, *p in zip(images, *parameters, strict=True)])


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_factors_of_colour(name, images):
    factors = [0.0, 0.3, 0.6, 1.0, 1.4, 2.5]
    expected = one_by_one(getattr(reference, f"adjust_{name}"), images, factors)
    before = images.clone()
    assert torch.allclose(
        getattr(colour, f"adjust_{name}")(images, torch.tensor(factors)), expected, atol=1e-6
    )
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    "turns", [[-0.5, -0.4, -0.25, -1 / 6, -0.1, -0.01], [0.0, 0.05, 0.1, 0.2, 0.37, 0.5]]
)
def test_hue(turns, images):
    expected = one_by_one(reference.adjust_hue, images, turns)
    before = images.clone()
    assert torch.allclose(colour.adjust_hue(images, torch.tensor(turns)), expected, atol=1e-5)
    assert torch.equal(images, before)


@pytest.mark.parametrize("kernel", [3, 9, 23])
def test_gaussian_blur(kernel, images):
    sigma = [0.1, 0.5, 1.0, 2.0, 3.0, 0.7]
    expected = torch.stack(
        [reference.gaussian_blur(x, [kernel, kernel], [s]) for x, s in zip(images, sigma, strict=True)]
    )
    assert torch.allclose(colour.gaussian_blur(images, torch.tensor(sigma), kernel), expected, atol=1e-5)


def test_solarize_and_greyscale(images):
    assert torch.equal(colour.solarize(images, 0.4), reference.solarize(images, 0.4))
    assert torch.allclose(colour.greyscale(images), reference.rgb_to_grayscale(images, 3), atol=1e-6)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [8, 32, 64])
def test_resized_crop(size, antialias, images):
    boxes = torch.tensor(
        [[0, 0, 40, 52], [3, 5, 7, 9], [10, 20, 30, 30], [1, 1, 1, 1], [0, 12, 40, 40], [8, 0, 20, 52]]
    )
    flip = torch.tensor([False, True] * 3)
    expected = torch.stack(
        [
            reference.resized_crop(x, *box, [size, size], antialias=antialias)
            for x, box in zip(images, boxes.tolist(), strict=True)
        ]
    )
    assert torch.allclose(
        geometry.resized_crop(images, boxes, size, antialias=antialias), expected, atol=1e-5
    )
    expected = torch.where(flip[:, None, None, None], reference.horizontal_flip(expected), expected)
    ours = geometry.resized_crop(images, boxes, size, flip=flip, antialias=antialias)
    assert torch.allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("size", [8, 32, 64])
def test_bicubic_crops(size, images):
    boxes = [[0, 0, 40, 52], [3, 5, 7, 9], [10, 20, 30, 30], [0, 0, 5, 6], [0, 12, 40, 40], [8, 0, 20, 52]]
    options = {"interpolation": InterpolationMode.BICUBIC, "antialias": True}
    expected = torch.stack(
        [
            reference.resized_crop(x, *box, [size, size], **options)
            for x, box in zip(images, boxes, strict=True)
        ]
    )
    ours = geometry.resized_crop(images, torch.tensor(boxes), size, cubic=True)
    assert torch.allclose(ours, expected, atol=1e-5)


def test_resized_crop_of_bytes_agrees_within_their_rounding(images):
    photos = (images * 255).to(torch.uint8)
    boxes = torch.tensor([[2, 4, 36, 44]]).expand(6, 4)
    expected = reference.resized_crop(photos, 2, 4, 36, 44, [16, 16], antialias=True) / 255
    assert torch.allclose(geometry.resized_crop(photos, boxes, 16), expected, atol=1.01 / 255)


def test_resized_crop_takes_either_memory_layout_and_whole_images_unchanged(images):
    boxes = torch.tensor([[0.0, 0, 40, 40]]).expand(6, 4)
    last = images.contiguous(memory_format=torch.channels_last)
    assert torch.allclose(geometry.resized_crop(last, boxes, 40), images[..., :40], atol=1e-6)


def test_affine_and_rotate():
    x = torch.rand(4, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    sizes = torch.tensor([[40, 40]]).expand(4, 2)
    degrees, scale = [0.0, 30.0, -77.0, 181.0], [1.0, 0.8, 1.3, 1.1]
    shift, shear = [[0, 0], [3, -4], [0, 7], [1, 1]], [[0.0, 0.0], [10.0, 0.0], [0.0, 12.0], [-8.0, 15.0]]
    expected = torch.stack(
        [
            reference.affine(image, *rest, interpolation=BILINEAR)
            for image, *rest in zip(x, degrees, shift, scale, shear, strict=True)
        ]
    )
    matrix = geometry.affine_matrix(
        sizes,
        angle=torch.tensor(degrees).deg2rad(),
        translate=torch.tensor(shift).float(),
        scale=torch.tensor(scale),
        shear=torch.tensor(shear).deg2rad(),
    )
    assert torch.allclose(geometry.warp(x, matrix[:, :2], 40), expected, atol=1e-4)
    expected = torch.stack(
        [reference.rotate(image, d, interpolation=BILINEAR) for image, d in zip(x, degrees, strict=True)]
    )
    turn = geometry.affine_matrix(
        sizes, angle=-torch.tensor(degrees).deg2rad()
    )  # rotate() counts the other way
    assert torch.allclose(geometry.warp(x, turn[:, :2], 40), expected, atol=1e-4)


def test_warp_by_a_box_is_the_crop_where_nothing_is_outside():
    x = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[4.0, 6, 20, 24], [0, 0, 48, 48], [10, 3, 30, 16]])
    flip = torch.tensor([True, False, True])
    warped = geometry.warp(x, geometry.box_matrix(boxes, 40, flip), 40)
    cropped = geometry.resized_crop(x, boxes, 40, flip=flip, antialias=False)
    assert torch.allclose(warped[..., 3:-3, 3:-3], cropped[..., 3:-3, 3:-3], atol=1e-5)


def test_warp_averages_when_it_shrinks():
    checks = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    x = checks.float().expand(1, 3, -1, -1)
    whole = geometry.box_matrix(torch.tensor([[0.0, 0, 64, 64]]), 16)
    assert torch.allclose(geometry.warp(x, whole, 16)[..., 1:-1, 1:-1], torch.tensor(0.5), atol=0.02)


def test_quarter_turns_are_exact(images):
    square = images[..., :40]
    k = torch.tensor([0, 1, 2, 3, 4, -1])
    turned = geometry.quarter_turns(square, k)
    for image, turns, result in zip(square, k.tolist(), turned, strict=True):
        assert torch.equal(result, torch.rot90(image, turns, (1, 2)))
    assert torch.equal(geometry.quarter_turns(square, 3), torch.rot90(square, 3, (2, 3)))
    with pytest.raises(ValueError, match="square"):
        geometry.quarter_turns(images, k)


def test_boxes_are_drawn_as_random_resized_crop_does():
    torch.manual_seed(0)
    sizes = torch.tensor([[60, 80]]).expand(4000, 2)
    scale, ratio = (0.2, 1.0), (3 / 4, 4 / 3)
    boxes = geometry.random_boxes(sizes, scale=scale, ratio=ratio)
    photo = torch.empty(3, 60, 80)
    drawn = [RandomResizedCrop(8, scale, ratio).make_params([photo]) for _ in range(4000)]
    theirs = torch.tensor([[d["top"], d["left"], d["height"], d["width"]] for d in drawn]).float()
    assert torch.equal(boxes, boxes.round()) and (boxes[:, :2] >= 0).all() and (boxes[:, 2:] >= 1).all()
    assert (boxes[:, 0] + boxes[:, 2] <= 60).all() and (boxes[:, 1] + boxes[:, 3] <= 80).all()
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert torch.allclose(boxes.quantile(share, 0), theirs.quantile(share, 0), atol=2.5)
    area = boxes[:, 2] * boxes[:, 3] / 4800
    assert area.min() > 0.19 and area.max() <= 1.0
    aspect = (boxes[:, 3] / boxes[:, 2]).log()
    assert aspect.abs().max() < math.log(4 / 3) + 0.04


def test_boxes_that_cannot_fit_fall_back_to_the_centre():
    sizes = torch.tensor([[10, 100], [100, 10], [1, 1]])
    boxes = geometry.random_boxes(sizes, scale=(0.9, 1.0), ratio=(3 / 4, 4 / 3))
    assert boxes.tolist()[:2] == [
        [0, 44, 10, 13],
        [44, 0, 13, 10],
    ]  # torchvision: (100 - 13) // 2 = 43, here 43.5
    assert boxes[2].tolist() == [0, 0, 1, 1]
