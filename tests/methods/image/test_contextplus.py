"""ContextPlus: layouts of patches and turns, with colour blurred, one jitter, and a window over patches."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import vergence
from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.contextplus import ContextPlus, layouts
from vergence.methods.image.encoders import build
from vergence.views.pixels.lab import blur_chroma, rgb_to_lab


def ramps():
    """Photos that redden to the right and turn green downwards: colour tells every place and turn."""
    random = np.random.default_rng(0)
    down, right = np.mgrid[:32, :32] / 31
    pixels = np.stack([right, down, np.full_like(down, 0.5)], 2) * random.uniform(0.6, 1, (320, 1, 1, 1))
    pixels = (255 * (pixels + 0.02 * random.normal(size=pixels.shape)).clip(0, 1)).astype(np.uint8)
    return vergence.open(pixels, labels=np.arange(320) % 4)


CONTRACT = {
    "source": ramps,
    "options": {"hidden": 64, "flip": 0.0},
    "exempt": {"labels": "the ramps have none that mean anything"},
}


def plus(size=32, **options):
    torch.manual_seed(0)
    return ContextPlus(build("resnet-tiny", size=size, width=8), hidden=16, **options)


def photos(count=6, size=32, seed=0):
    pixels = torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(seed))
    return ImageBatch(pixels.to(torch.uint8), torch.arange(count), torch.full((count,), -1))


def test_layouts_lie_in_the_photo_and_no_two_are_alike():
    table = layouts()
    assert table.shape == (20, 3, 3)
    assert table[..., :2].min() == 0
    assert (table[..., :2] + table[..., 2:]).max().item() == pytest.approx(1)
    assert len({tuple(row.flatten().tolist()) for row in table}) == 20
    assert (table[:8, 0] - table[0, 0]).abs().max() == 0  # the middle, each time
    torch.testing.assert_close(table[:8, 1, :2] + table[:8, 2, :2], 2 * table[:8, 0, :2])  # opposite


def test_a_mirrored_layout_is_the_one_that_the_released_code_names():
    table = layouts()
    mirrored = table.clone()
    mirrored[..., 1] = 1 - table[..., 1] - table[..., 2]
    to = [2, 1, 0, 7, 6, 5, 4, 3, 11, 10, 9, 8]  # its labels 0 to 11
    torch.testing.assert_close(mirrored[:8], table[to[:8]])
    torch.testing.assert_close(mirrored[8:12].flip(1), table[to[8:]])  # there, first and last change places
    for row in mirrored[12:]:
        assert (table[12:] - row).abs().flatten(1).amax(1).min() < 1e-6


def test_one_zoom_and_shift_for_all_patches_unless_each_has_its_own():
    layout = torch.arange(20).repeat(50)
    for yoked in (True, False):
        method = plus(96, yoked=yoked)
        boxes = method.boxes(layout) / 96
        cells = method.layouts[layout]
        side = boxes[..., 2]
        assert (boxes[..., :2] >= cells[..., :2] - 1e-6).all()
        assert (boxes[..., :2] + boxes[..., 2:] <= cells[..., :2] + cells[..., 2:] + 1e-6).all()
        zoom = cells[..., 2] / side
        assert zoom.min() >= 1 - 1e-6 and 1.3 < zoom.max() <= 128 / 96 + 1e-6
        shift = (boxes[..., :2] - cells[..., :2]) / cells[..., 2:]
        together = (shift - shift[:, :1]).abs().max() < 1e-5
        assert bool(together) == yoked
        assert bool((zoom - zoom[:, :1]).abs().max() < 1e-5) == yoked


def test_blur_keeps_lightness_and_takes_fringes_but_not_hues():
    torch.manual_seed(0)
    grey = torch.rand(1, 1, 24, 24).expand(1, 3, 24, 24) * 0.6 + 0.2
    torch.testing.assert_close(blur_chroma(grey, 7), grey, atol=2e-3, rtol=0)
    tinted = (grey + torch.tensor([0.05, 0.0, -0.05]).view(1, 3, 1, 1)).clone()
    fringed = tinted.clone()
    fringed[:, 1, :, 11] += 0.1  # a green line
    before, after = rgb_to_lab(fringed), rgb_to_lab(blur_chroma(fringed, 7))
    torch.testing.assert_close(after[:, 0], before[:, 0], atol=0.05, rtol=0)
    line, away = after[:, 1, :, 11].mean(), after[:, 1, :, 0:4].mean()
    assert (line - away).abs() < 0.25 * (before[:, 1, :, 11].mean() - before[:, 1, :, 0:4].mean()).abs()
    assert after[:, 2].mean().item() == pytest.approx(before[:, 2].mean().item(), abs=0.1)  # the hue stays
    assert torch.equal(plus(blur=0.0, flip=0.0).photos(photos()), photos().pixels / 255)


def test_blur_is_the_mean_of_a_mirrored_square():
    torch.manual_seed(0)
    pixels = torch.rand(1, 3, 5, 6) * 0.2 + 0.4  # within what sRGB can show
    lab = rgb_to_lab(pixels)
    made = rgb_to_lab(blur_chroma(pixels, 3))
    for y in (0, 2, 4):
        for x in (0, 3, 5):
            rows = [min(max(y + d, 0), 4) for d in (-1, 0, 1)]
            columns = [min(max(x + d, 0), 5) for d in (-1, 0, 1)]
            mean = lab[0, 1:][:, rows][:, :, columns].mean((1, 2))
            torch.testing.assert_close(made[0, 1:, y, x], mean, atol=2e-2, rtol=0)


def test_a_window_over_all_patches_but_one_is_the_same_for_them():
    method = plus(96)
    patches = torch.rand(300, 3, 3, 24, 24) + 2.0
    seen = (method.windowed(patches) > 1.5)[:, :, 0]  # (B, 3, P, P)
    whole = seen.flatten(2).all(2)
    assert (whole.sum(1) >= 1).all()
    assert 1 / 3 <= whole.float().mean() < 0.42  # some windows are as large as the patch
    for row, alone in zip(seen[:40], whole[:40], strict=True):
        hidden = [patch for patch, left in zip(row, alone, strict=True) if not left]
        assert all(torch.equal(patch, hidden[0]) for patch in hidden)
    sides = seen[~whole].any(2).sum(1)
    assert sides.min() >= 15 and sides.max() <= 24
    out = method.windowed(patches)[:, :, :, 0, 0]
    assert ((out > 1.5).all(2) | ((out - method.encoder.mean.view(3)).abs().amax(2) < 1e-6)).all()
    assert torch.equal(plus(96, aperture=1.0).windowed(patches), patches)


def test_labels_are_layout_and_turn_and_all_patches_turn_together():
    method = plus(aperture=1.0, blur=0.0, flip=0.0)
    batch = photos(1)
    batch = ImageBatch(batch.pixels.expand(400, 3, 32, 32), torch.arange(400), torch.full((400,), -1))
    seen = []

    def boxes(layout):
        seen.append(layout)
        return torch.cat([method.layouts[layout] * 32, method.layouts[layout][..., 2:] * 32], 2)

    method.boxes = boxes
    patches, label = method.views(batch)
    assert torch.equal(label % 20, seen[0])
    assert len(label.unique()) == 80
    upright = {}
    for row, name in zip(patches, label.tolist(), strict=True):
        back = torch.rot90(row, -(name // 20), (2, 3))
        first = upright.setdefault(name % 20, back)
        torch.testing.assert_close(back, first)


def test_switches_change_what_is_asked():
    assert plus().arrange[-1].out_features == 80
    assert plus(turns=False).arrange[-1].out_features == 20
    assert plus(extra=False).arrange[-1].out_features == 32
    patches, label = plus(extra=False, turns=False).views(photos(50))
    assert patches.shape == (50, 2, 3, 8, 8) and label.max() < 8
    assert plus(384).blur_width == 13 and plus(32).blur_width == 3


def test_the_loss_is_cross_entropy_of_the_patches_together_and_everything_learns():
    method = plus()
    patches, label = method.views(photos())
    vectors = [method.encode(patches.flatten(0, 1))[3 * b : 3 * b + 3].flatten() for b in range(6)]
    logits = method.arrange(torch.stack(vectors))
    total = sum(
        math.log(sum(math.exp(z) for z in row)) - row[k]
        for row, k in zip(logits.tolist(), label.tolist(), strict=True)
    )
    loss = method.loss((patches, label))["arrangement"]
    assert loss.item() == pytest.approx(total / 6, rel=1e-4)
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())
    nn.init.zeros_(method.arrange[-1].weight)
    nn.init.zeros_(method.arrange[-1].bias)
    assert method.loss((patches, label))["arrangement"].item() == pytest.approx(math.log(80))


def test_impossible_options_are_answered_in_one_line():
    with pytest.raises(
        BadInput, match=r"ContextPlus needs blur and flip in \[0, 1\] and aperture in \(0, 1\]"
    ):
        plus(aperture=0.0)
