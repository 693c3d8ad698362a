"""Alignment and uniformity of cells: by loops, at their limits, and where a pairing is wrong."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from vergence.core import BadInput, Features
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.evaluate.denseau import alignment, dense_geometry, forecast, purity, uniformity_within
from vergence.views.pixels.augment import Augment


def every(match):
    return torch.ones_like(match, dtype=torch.bool)


def test_alignment_and_uniformity_equal_the_formulas_written_as_loops():
    torch.manual_seed(0)
    f, g = torch.randn(3, 5, 4, dtype=torch.float64), torch.randn(3, 6, 4, dtype=torch.float64)
    match, shown = torch.randint(6, (3, 5)), torch.rand(3, 5) < 0.6
    shown[:, 0] = True
    ours, within = alignment(f, g, match, shown, power=3.0), uniformity_within(f, t=1.5)
    for b in range(3):
        apart = [
            math.dist((f[b, i] / f[b, i].norm()).tolist(), (g[b, j] / g[b, j].norm()).tolist()) ** 3
            for i, j in enumerate(match[b].tolist())
            if shown[b, i]
        ]
        assert ours[b].item() == pytest.approx(sum(apart) / len(apart))
        unit = [(row / row.norm()).tolist() for row in f[b]]
        pairs = [
            math.exp(-1.5 * math.dist(unit[i], unit[k]) ** 2) for i in range(5) for k in range(5) if i != k
        ]
        assert within[b].item() == pytest.approx(math.log(sum(pairs) / 20))


def test_limits_of_identical_constant_and_spread_cells():
    torch.manual_seed(0)
    cells, place = torch.randn(2, 9, 256, dtype=torch.float64), torch.arange(9).expand(2, -1)
    assert alignment(cells, 3 * cells, place, every(place)).abs().max() < 1e-12
    assert uniformity_within(torch.ones(2, 9, 8)).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert uniformity_within(cells).tolist() == pytest.approx([-4, -4], abs=0.1)
    assert alignment(cells, cells.roll(1, 1), place, every(place)).tolist() == pytest.approx([2, 2], abs=0.1)
    assert alignment(cells, cells, place, every(place) & False).isnan().all()


def test_purity_counts_pairs_of_known_classes():
    match = torch.tensor([[0, 1, 2, 0]])
    first, second = torch.tensor([[4, 4, 7, -1]]), torch.tensor([[4, 5, 7]])
    assert purity(match, first, second, every(match)) == pytest.approx(2 / 3)
    assert purity(match, first, second, torch.tensor([[True, True, False, True]])) == 0.5
    with pytest.raises(BadInput, match="classes are known; none is"):
        purity(match, first - 9, second, every(match))


def test_uniformity_is_the_same_whether_photos_are_compared_together_or_one_by_one(monkeypatch):
    cells = torch.randn(7, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = uniformity_within(cells)
    for pairs in (1, 3 * 5 * 5):  # a photo at a time, and three
        monkeypatch.setattr("vergence.evaluate.denseau._BLOCK", pairs)
        torch.testing.assert_close(uniformity_within(cells), together, rtol=1e-12, atol=0)


class Colours(nn.Module):
    """The mean colour of each of 4 x 4 cells, about grey; nothing is learned."""

    out_dim, input_spec = 3, {"size": 32}

    def forward(self, pixels):
        maps = nn.functional.avg_pool2d(pixels, 8) - 0.5
        return Features.of_map(maps.mean((2, 3)), maps)


def blotches(count=24, side=32):
    """Photos of colours that change slowly from place to place."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    pixels = nn.functional.interpolate(coarse, (side, side), mode="bilinear").mul(255).byte()
    array = pixels.permute(0, 2, 3, 1).numpy()
    return ImageSource(PixelReader(array, None, None, "blotch"), "blotches", pixels=array)


def test_geometry_finds_a_planted_fault_in_the_crops_and_is_the_same_for_a_seed():
    whole = Augment(32, scale=(0.5, 1.0), flip=0.0, jitter_p=0.0, grey=0.0)

    def mirrored_unsaid(photos, generator):
        first, second = (whole(photos, generator) for _ in range(2))
        second.pixels[::2] = second.pixels[::2].flip(3)
        return [first, second]

    right = dense_geometry(Colours(), blotches())
    again = dense_geometry(Colours(), blotches())
    assert right.to_dict() == again.to_dict() and len(right.alignment) == 24
    wrong = dense_geometry(Colours(), blotches(), crops=mirrored_unsaid).alignment
    assert np.nanmean(wrong[::2]) > 3 * np.nanmean(wrong[1::2])
    assert np.nanmean(wrong[1::2]) == pytest.approx(np.nanmean(right.alignment), rel=0.8)
    assert right.within.mean() < 0 and right.across < 0


def test_forecast_is_a_correlation_with_a_sign():
    rng = np.random.default_rng(0)
    a, u = rng.normal(size=(2, 40))
    assert forecast(a, u, 3 - a - 2 * u) == pytest.approx(1)
    assert forecast(a, u, 3 + a + 2 * u) == pytest.approx(-1)
    noise = rng.normal(size=40)
    y = -a - u + noise
    x = np.stack([np.ones(40), a, u], 1)
    rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    assert forecast(a, u, y) == pytest.approx(np.sqrt(1 - rest.var() / y.var()))
    assert forecast(10 * a + 3, u, y) == pytest.approx(forecast(a, u, y))


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match=r"4 networks or more; got \(3,\)"):
        forecast([1, 2, 3], [1, 2, 3], [1, 2, 3])
    net = nn.Flatten()
    net.input_spec = {"size": 32}
    with pytest.raises(BadInput, match="an encoder with cells; Flatten has none"):
        dense_geometry(net, blotches())
    with pytest.raises(BadInput, match=r"match and shown \(B, N\)"):
        alignment(torch.ones(1, 2, 3), torch.ones(1, 2, 3), torch.zeros(1, 3).long(), torch.ones(1, 3) > 0)
