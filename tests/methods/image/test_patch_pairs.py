"""Patches of photos: what they show, one vector for each, and which encoders take them."""

import pytest
import torch
from torch import nn

from vergence.core import BadInput, Features, Method
from vergence.methods.image.patch_pairs import check_patches, cut_patches, encode_patches, patch_side
from vergence.nets.vit import ViT


class Mean(nn.Module):
    """The mean colour, ``(B, 3)``, of images of a stated size."""

    out_dim = 3

    def __init__(self, size=32):
        super().__init__()
        self.input_spec = {"size": size}

    def forward(self, pixels):
        return Features(pooled=pixels.mean((2, 3)))


class Colours(Method):
    """Reads patches by their mean colour."""

    def views(self, batch):
        raise NotImplementedError

    def loss(self, views):
        raise NotImplementedError


def ramp(side=8):
    """Return one photo ``(1, 3, side, side)`` of [0, 1) whose every pixel is its place in reading order."""
    return torch.arange(side * side).view(1, 1, side, side).expand(-1, 3, -1, -1) / side**2


def test_a_box_on_the_grid_is_cut_out_pixel_by_pixel():
    photos = torch.cat([ramp(), 1 - ramp()])
    boxes = torch.tensor([[[0, 0, 4, 4], [2, 3, 4, 4]], [[4, 4, 4, 4], [0, 1, 4, 4]]])
    patches = cut_patches(photos, boxes, 4)
    assert patches.shape == (2, 2, 3, 4, 4)
    torch.testing.assert_close(patches[0, 1], photos[0, :, 2:6, 3:7])
    torch.testing.assert_close(patches[1, 0], photos[1, :, 4:, 4:])
    torch.testing.assert_close(patches[1, 1], photos[1, :, :4, 1:5])


def test_a_shrunk_patch_averages_what_a_pixel_covers():
    row = torch.tensor([0.0, 1.0, 0.0, 0.0])
    photos = row.expand(1, 3, 4, 4)
    (left, right) = cut_patches(photos, torch.tensor([[[0, 0, 4, 4]]]), 2)[0, 0, 0, 0].tolist()
    # centres 1 and 3, triangles of half-width 2 over pixel centres 0.5 to 3.5, cut off at the box's edge
    assert left == pytest.approx(0.75 / (0.75 + 0.75 + 0.25))
    assert right == pytest.approx(0.25 / (0.25 + 0.75 + 0.75))


def test_an_enlarged_patch_shows_nothing_of_what_lies_outside_its_box():
    photos = torch.zeros(1, 3, 8, 8)
    photos[:, :, 2:4, 5:7] = 1
    patch = cut_patches(photos, torch.tensor([[[2.0, 5.0, 2.0, 2.0]]]), 6)
    torch.testing.assert_close(patch, torch.ones(1, 1, 3, 6, 6))


def test_bytes_are_cut_as_their_share_of_255_and_stay_within_0_and_1():
    photos = torch.tensor([0, 51, 255], dtype=torch.uint8)[:, None, None].expand(3, 9, 9)[None]
    patches = cut_patches(photos, torch.tensor([[[0.3, 0.7, 7.1, 6.9]]]), 3)
    torch.testing.assert_close(patches[0, 0, :, 1, 1], torch.tensor([0.0, 0.2, 1.0]))
    assert patches.min() >= 0 and patches.max() <= 1


def test_every_patch_has_a_vector_of_its_own():
    patches = torch.arange(6.0).view(2, 3, 1, 1, 1).expand(2, 3, 3, 4, 4)
    vectors = encode_patches(Colours(Mean()), patches)
    torch.testing.assert_close(vectors, torch.arange(6.0).view(2, 3, 1).expand(2, 3, 3))


@pytest.mark.parametrize(("size", "side"), [(16, 4), (32, 8), (384, 96)])
def test_patches_are_a_quarter_of_an_image_wide(size, side):
    assert patch_side(Mean(size), "Colours") == side


def test_small_images_and_transformers_are_refused():
    with pytest.raises(BadInput, match="Colours needs images of 16 pixels or more; got 15"):
        patch_side(Mean(15), "Colours")
    with pytest.raises(BadInput, match="Colours needs an encoder that takes small patches"):
        check_patches(ViT(size=32, patch=8, dim=16, depth=1, heads=2), "Colours")
