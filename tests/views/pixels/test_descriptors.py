"""Descriptors of pictures against loops, and what they must and must not tell apart."""

import math

import pytest
import torch

from vergence.views.pixels.descriptors import Scattering, local_deviation, oriented_gradients


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def waves(size, angle, period):
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    along = x * math.cos(angle) + y * math.sin(angle)
    return (0.5 + 0.4 * torch.sin(2 * math.pi * along / period))[None, None]


def test_oriented_gradients_are_the_histograms_written_as_loops():
    pixels, bins, cell = torch.rand(1, 2, 6, 7, dtype=torch.float64), 5, 3
    padded = torch.nn.functional.pad(pixels, [1] * 4)
    expected = torch.zeros(1, 2 * bins, 2, 2, dtype=torch.float64)
    for c in range(2):
        for i in range(6):
            for j in range(6):
                p = padded[0, c, i : i + 3, j : j + 3]
                dx = float(p[0, 0] + 2 * p[1, 0] + p[2, 0] - p[0, 2] - 2 * p[1, 2] - p[2, 2])
                dy = float(p[0, 0] + 2 * p[0, 1] + p[0, 2] - p[2, 0] - 2 * p[2, 1] - p[2, 2])
                at = math.atan2(dx, dy) / math.pi * bins
                low, share = math.floor(at), at - math.floor(at)
                length = math.hypot(dx, dy) / cell**2
                expected[0, c * bins + low % bins, i // cell, j // cell] += length * (1 - share)
                expected[0, c * bins + (low + 1) % bins, i // cell, j // cell] += length * share
    torch.testing.assert_close(oriented_gradients(pixels, bins=bins, cell=cell), expected)


def test_oriented_gradients_ignore_light_and_tell_directions():
    one, other, lit = (
        oriented_gradients(x)[..., 1, 1]
        for x in (waves(24, 0.3, 4), waves(24, 1.9, 4), waves(24, 0.3, 4) + 0.1)
    )  # of the cell that has no border; fmt: skip
    torch.testing.assert_close(lit, one)
    assert (one - other).norm() > one.norm()


def test_local_deviation_is_that_of_nine_pixels():
    pixels = torch.rand(2, 1, 5, 6, dtype=torch.float64)
    inner = pixels[1, 0, 1:4, 2:5]
    assert local_deviation(pixels)[1, 0, 2, 3].item() == pytest.approx(
        inner.std(correction=0).item(), abs=1e-7
    )
    assert local_deviation(torch.full((1, 1, 5, 5), 0.7)).max() < 1e-3


def test_scattering_has_81_maps_and_is_blind_to_small_shifts_but_not_to_directions():
    scattering = Scattering(16)
    picture = waves(19, 0.4, 4)
    features, shifted = scattering(picture[..., :16, :16]), scattering(picture[..., 1:17, 2:18])
    turned = scattering(waves(16, 0.4 + math.pi / 2, 4))
    assert features.shape == (1, 1, 81, 4, 4)
    inside = (..., slice(1, 3), slice(1, 3))
    assert (features - shifted)[inside].norm() < 0.1 * (features - turned)[inside].norm()
    assert scattering(torch.rand(2, 3, 16, 16)).shape == (2, 3, 81, 4, 4)


def test_scattering_of_a_flat_picture_is_its_average_alone():
    maps = Scattering(16)(torch.full((1, 1, 16, 16), 0.6))
    torch.testing.assert_close(maps[:, :, 0], torch.full((1, 1, 4, 4), 0.6), atol=1e-3, rtol=0)
    assert maps[:, :, 1:].abs().max() < 1e-5


def test_scattering_is_the_wavelets_modulus_convolved_pixel_by_pixel():
    scattering, picture = Scattering(8, scales=1, angles=2), torch.rand(1, 1, 8, 8)
    wide = torch.nn.functional.pad(picture, [scattering.margin] * 4, mode="reflect")[0, 0].double()
    side = len(wide)
    kernels = [torch.fft.ifft2(r.double()) for r in (scattering.waves[0, 1], scattering.low)]

    def convolved(image, kernel):
        total = torch.zeros(side, side, dtype=torch.complex128)
        for i in range(side):
            for j in range(side):
                total += image[i, j] * kernel.roll((i, j), (0, 1))
        return total

    smooth = convolved(convolved(wide, kernels[0]).abs(), kernels[1]).real
    expected = smooth[::2, ::2][1:-1, 1:-1]
    torch.testing.assert_close(scattering(picture)[0, 0, 2].double(), expected, atol=1e-6, rtol=1e-5)


def test_mistakes_are_one_line():
    with pytest.raises(ValueError, match="a size that 2\\^scales divides .* got 18, 2 and 8"):
        Scattering(18)
    with pytest.raises(ValueError, match="pictures of a cell or more; got 4 x 16"):
        oriented_gradients(torch.zeros(1, 1, 4, 16))
