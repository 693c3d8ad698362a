"""The perceptual hash: what it does not see, and what it tells apart."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from vergence.use.phash import perceptual_hash


@pytest.fixture
def pictures():
    torch.manual_seed(0)
    small = torch.rand(6, 3, 6, 6)
    return torch.nn.functional.interpolate(small, (32, 32), mode="bicubic").clamp(0, 1)


def test_bits_are_those_of_scipys_cosines_above_their_median(pictures):
    grey = (pictures * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1).numpy()
    for i, bits in enumerate(perceptual_hash(pictures).numpy()):
        slow = dctn(grey[i], norm=None)[:8, :8].ravel()
        np.testing.assert_array_equal(bits, np.where(slow > np.sort(slow[1:])[31], 1, -1))


def test_light_contrast_and_size_leave_it_and_other_pictures_do_not_share_it(pictures):
    bits = perceptual_hash(pictures)
    assert bits.shape == (6, 64)
    larger = torch.nn.functional.interpolate(pictures, (64, 64), mode="bilinear")
    darker = perceptual_hash(0.5 * pictures + 0.1)
    assert ((bits != darker).sum(1) <= 1).all(), "the constant wave may cross"
    assert ((bits != perceptual_hash(larger)).sum(1) <= 4).all()
    apart = (bits[:, None] != bits[None]).sum(2)[~torch.eye(6, dtype=torch.bool)]
    assert apart.min() >= 15
    assert ((bits != perceptual_hash(pictures.flip(3))).sum(1) >= 15).all(), "a mirror image is another one"
