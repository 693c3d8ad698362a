"""Hidden parts of pictures: the encoder's patch, its pooling, and the error in the holes."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vergence.core import BadInput
from vergence.methods.image.encoders import build
from vergence.methods.image.masking import hole_error, patch_of, pool_mean_patch
from vergence.nets.vit import ViT
from vergence.views.pixels.corrupt import Corrupted


class OfTimm(nn.Module):
    """A transformer one deeper, as timm's are wrapped, that sees all of its patches."""

    hides_patches, size = False, 28

    def __init__(self):
        super().__init__()
        self.model = SimpleNamespace(patch_embed=SimpleNamespace(patch_size=(14, 14)))


def vit(**options):
    return ViT(size=16, patch=4, dim=16, depth=1, heads=2, **options)


def test_the_patch_of_a_transformer_is_its_side_in_pixels():
    assert patch_of(vit(), "MAE") == 4
    assert patch_of(vit(), "MAE", visible=True) == 4
    assert patch_of(OfTimm(), "GMML") == 14
    odd = OfTimm()
    odd.size = 30
    with pytest.raises(
        BadInput, match="patches of 14 pixels, which do not divide images of 30; .* --size 28"
    ):
        patch_of(odd, "GMML")


def test_an_encoder_without_patches_or_that_cannot_leave_them_out_is_refused():
    with pytest.raises(BadInput, match="GMML needs a vision transformer; got Linear"):
        patch_of(nn.Linear(2, 2), "GMML")
    with pytest.raises(BadInput, match="MAE needs .* that leaves out hidden patches; OfTimm"):
        patch_of(OfTimm(), "MAE", visible=True)


def test_the_mean_patch_is_pooled_now_and_when_the_encoder_is_built_again():
    torch.manual_seed(0)
    encoder = build("vit-micro", size=16, patch=4)
    pixels = torch.rand(2, 3, 16, 16)
    before = encoder(pixels).pooled
    pool_mean_patch(encoder)
    answer = encoder(pixels)
    assert not torch.allclose(before, answer.pooled)
    torch.testing.assert_close(answer.pooled, answer.tokens.mean(1))
    again = build(**encoder.spec)
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(pixels).pooled, answer.pooled)


def test_other_encoders_keep_their_pooling():
    other = OfTimm()
    pool_mean_patch(other)
    assert not hasattr(other, "pool")


def test_the_error_counts_the_holes_alone_in_units_of_the_deviation():
    clean = torch.zeros(1, 3, 2, 2)
    mask = torch.tensor([[[True, False], [True, False]]])
    repaired = torch.tensor([0.1, 0.2, 0.4])[None, :, None, None].expand(1, 3, 2, 2).clone()
    repaired[..., 1] = 9.0  # no hole
    repaired[:, :, 1] *= -1
    std = torch.tensor([0.5, 0.25, 0.2])[None, :, None, None]
    error, psnr = hole_error(repaired, Corrupted(clean, clean, mask), std)
    assert error.item() == pytest.approx((0.1 / 0.5 + 0.2 / 0.25 + 0.4 / 0.2) / 3)
    assert psnr.item() == pytest.approx(-10 * math.log10((0.01 + 0.04 + 0.16) / 3), abs=1e-4)


def test_every_pixel_of_a_hole_counts_alike_whatever_its_photo():
    clean = torch.zeros(2, 3, 2, 2)
    mask = torch.zeros(2, 2, 2, dtype=torch.bool)
    mask[0], mask[1, 0, 0] = True, True  # 4 pixels and 1
    repaired = torch.tensor([1.0, 6.0])[:, None, None, None].expand(2, 3, 2, 2)
    error, _ = hole_error(repaired, Corrupted(clean, clean, mask), torch.ones(1, 3, 1, 1))
    assert error.item() == pytest.approx((4 * 1 + 6) / 5)


def test_only_holes_get_a_gradient():
    repaired = torch.full((1, 3, 2, 2), 0.5, requires_grad=True)
    mask = torch.tensor([[[True, False], [False, False]]])
    clean = torch.zeros(1, 3, 2, 2)
    hole_error(repaired, Corrupted(clean, clean, mask), torch.full((1, 3, 1, 1), 0.5))[0].backward()
    wanted = torch.zeros(1, 3, 2, 2)
    wanted[..., 0, 0] = 1 / 0.5 / 3
    torch.testing.assert_close(repaired.grad, wanted)
