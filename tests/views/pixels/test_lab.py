import pytest
import torch

from vergence.views.pixels.lab import lab_to_rgb, rgb_to_lab


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [  # by the formulas of CIE 15 under D65
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.2408, 80.0925, 67.2032)),
        ((0, 1, 0), (87.7347, -86.1827, 83.1793)),
        ((0, 0, 1), (32.2970, 79.1875, -107.8602)),
    ],
)
def test_colours_have_their_published_coordinates(rgb, lab):
    pixel = torch.tensor(rgb, dtype=torch.float64).view(1, 3, 1, 1)
    torch.testing.assert_close(
        rgb_to_lab(pixel).flatten(), torch.tensor(lab, dtype=torch.float64), atol=2e-2, rtol=0
    )


def test_there_and_back_is_the_same_and_gradients_are_finite():
    pixels = torch.rand(2, 3, 5, 5, dtype=torch.float64)
    pixels[0, :, 0, 0] = 0
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(pixels)), pixels)
    pixels.requires_grad_()
    lab_to_rgb(rgb_to_lab(pixels)).sum().backward()
    assert pixels.grad.isfinite().all()


def test_grey_has_no_colour():
    grey = torch.rand(1, 1, 4, 4).expand(1, 3, 4, 4)
    assert rgb_to_lab(grey)[:, 1:].abs().max() < 1e-3
