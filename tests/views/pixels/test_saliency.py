"""Saliency against loops over pixels and regions, and on pictures with one thing."""

import numpy as np
import pytest
import torch
from skimage.segmentation import felzenszwalb

from vergence.views.pixels.lab import rgb_to_lab
from vergence.views.pixels.saliency import colour_contrast, region_contrast, salient


def lab_of(colours):
    pixels = torch.tensor(colours, dtype=torch.float64)[:, :, None, None] / 255
    return rgb_to_lab(pixels)[:, :, 0, 0].numpy()


def patches(colours, areas, size=24):
    """A picture of vertical stripes."""
    columns = np.repeat(np.arange(len(colours)), areas)
    return np.broadcast_to(np.array(colours, np.uint8)[columns], (size, size, 3)).copy()


def thing(size=40):
    pixels = np.full((size, size, 3), (90, 110, 90), np.uint8)
    pixels[14:26, 16:26] = (220, 40, 40)
    truth = np.zeros((size, size), bool)
    truth[14:26, 16:26] = True
    noise = np.random.default_rng(0).integers(-6, 7, pixels.shape)
    return (pixels + noise).clip(0, 255).astype(np.uint8), truth


def test_colour_contrast_is_the_weighted_sum_of_distances_smoothed_over_a_quarter_of_the_colours():
    colours, areas = [(20, 20, 20), (200, 30, 30), (30, 60, 220), (240, 240, 240)], [12, 6, 4, 2]
    lab = lab_of(colours)
    far = [[float(np.linalg.norm(a - b)) for b in lab] for a in lab]
    plain = [sum(area / 24 * d for area, d in zip(areas, row, strict=True)) for row in far]
    smooth = []
    for k in range(4):
        near = sorted(range(4), key=lambda i: far[k][i])[:2]  # itself and the nearest one
        total = sum(far[k][i] for i in near)
        smooth.append(sum((total - far[k][i]) * plain[i] for i in near) / total)
    expected = [(s - min(smooth)) / (max(smooth) - min(smooth)) for s in smooth]
    result = colour_contrast(patches(colours, areas))
    np.testing.assert_allclose(result, np.broadcast_to(np.repeat(expected, areas), (24, 24)), atol=1e-6)


def test_region_contrast_is_the_formula_written_over_regions():
    picture = patches([(20, 20, 20), (200, 30, 30), (30, 60, 220)], [12, 7, 5])
    part = felzenszwalb(picture, scale=50, sigma=0.5, min_size=2)
    regions = np.unique(part)
    assert len(regions) >= 3
    lab = lab_of(picture.reshape(-1, 3)).reshape(24, 24, 3)
    y, x = np.mgrid[:24, :24] / 24 + 0.5 / 24

    def cast(r, s):
        a, b = lab[part == r], lab[part == s]
        apart = np.hypot(y[part == r].mean() - y[part == s].mean(), x[part == r].mean() - x[part == s].mean())
        colours = np.linalg.norm(a[:, None] - b[None], axis=2).mean()
        return np.exp(-apart / 0.4) * (part == s).mean() * colours

    value = {}
    for r in regions:
        off = np.hypot(y[part == r] - 0.5, x[part == r] - 0.5).mean()
        value[r] = np.exp(-9 * off**2) * sum(cast(r, s) for s in regions if s != r)
    low, high = min(value.values()), max(value.values())
    expected = np.vectorize(lambda r: (value[r] - low) / (high - low))(part)
    np.testing.assert_allclose(region_contrast(picture), expected, atol=1e-6)


@pytest.mark.parametrize("contrast", [colour_contrast, region_contrast])
def test_a_thing_of_another_colour_is_found_whatever_the_turn_and_mirror(contrast):
    pixels, truth = thing()
    mask = salient(contrast(pixels), 0.5)
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9
    for turned, meant in ((pixels[:, ::-1], truth[:, ::-1]), (np.rot90(pixels), np.rot90(truth))):
        mask = salient(contrast(np.ascontiguousarray(turned)), 0.5)
        assert (mask & meant).sum() / (mask | meant).sum() > 0.9


@pytest.mark.parametrize("contrast", [colour_contrast, region_contrast])
def test_a_flat_picture_has_no_contrast_and_is_shown_whole(contrast):
    flat = np.full((8, 10, 3), 77, np.uint8)
    assert (contrast(flat) == 0).all()
    assert salient(contrast(flat), 0.5).all()


def test_rare_colours_take_the_nearest_of_those_kept():
    picture = patches([(20, 20, 20), (200, 30, 30)], [14, 10])
    picture[0, 0] = (215, 40, 35)  # one pixel of 576 is within the 5 % that are not kept
    result = colour_contrast(picture)
    assert result[0, 0] == result[0, -1]
