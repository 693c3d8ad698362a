import itertools

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from vergence.core import Features
from vergence.evaluate.protocols.discrimination import (
    BINS,
    THRESHOLDS,
    chance_above,
    discrimination,
    pairs,
    prompt_ious,
)


def features(tokens, grid=(4, 4)):
    return Features(tokens.mean(1), tokens, grid, (2.0, 2.0), (1.0, 1.0))


def things(*rows):
    return torch.tensor(rows).repeat_interleave(2, 0).repeat_interleave(2, 1)[None]


HALVES = things([1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 2, 2], [0, 0, 0, 3])


def test_pairs_are_those_of_a_slow_loop_without_ground_and_self():
    torch.manual_seed(0)
    tokens = torch.randn(1, 16, 5)
    same, other = [], []
    at = HALVES[0, 1::2, 1::2].flatten()
    for i, j in itertools.combinations(range(16), 2):
        if at[i] and at[j]:
            cosine = cosine_similarity(tokens[0, i], tokens[0, j], dim=0).item()
            (same if at[i] == at[j] else other).append(cosine)
    ours = pairs(features(tokens), HALVES[0])
    assert sorted(ours[0].tolist()) == pytest.approx(sorted(same), abs=1e-6)
    assert sorted(ours[1].tolist()) == pytest.approx(sorted(other), abs=1e-6)
    result = discrimination(features(tokens), HALVES)
    assert result.intra == pytest.approx(np.mean(same), abs=1e-6)
    assert result.gap == pytest.approx(np.mean(same) - np.mean(other), abs=1e-6)
    wins = [(a > b) + (a == b) / 2 for a in same for b in other]
    assert result.auc.value == pytest.approx(np.mean(wins), abs=1e-6)
    edges = np.linspace(-1, 1, BINS + 1)
    shares = [np.histogram(x, edges)[0] / len(x) for x in (same, other)]
    assert result.overlap.value == pytest.approx(np.minimum(*shares).sum(), abs=0.03)  # a value on an edge


def test_the_ends_of_the_scale():
    of = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 2, 2])
    apart = discrimination(features(torch.eye(3)[of][None]), HALVES)
    assert (apart.auc.value, apart.overlap.value) == (1.0, 0.0)
    assert apart.intra == pytest.approx(1) and apart.inter == pytest.approx(0)
    alike = discrimination(features(torch.ones(1, 16, 3)), HALVES)
    assert (alike.auc.value, alike.overlap.value) == (0.5, 1.0)
    assert alike.histograms.sum(1).tolist() == pytest.approx([1, 1])
    with pytest.raises(ValueError, match="two things"):
        discrimination(features(torch.ones(1, 16, 3)), HALVES.clamp(max=1))


def test_chance_above_counts_ties_half():
    assert chance_above(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])) == pytest.approx((0.75 + 1) / 2)


def test_pointing_finds_things_whose_patches_are_alike_and_no_pixels_elsewhere():
    of = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 2, 3])
    ious = prompt_ious(features(torch.eye(4)[of][None]), HALVES)
    assert ious.shape == (2, len(THRESHOLDS))  # the third thing is one patch
    middle = ious[:, THRESHOLDS.index(0.5)]
    assert middle.min() > 0.8 and ious[:, 0].max() <= 20 / 60 + 1e-6  # below all: everything is found


def test_the_patch_that_is_pointed_at_does_not_count():
    ious = prompt_ious(features(torch.eye(16)[None]), HALVES)  # no patch is like any other
    assert ious.shape == (2, len(THRESHOLDS))
    assert not ious[:, THRESHOLDS.index(0.8)].any()
    assert ious[:, 0] == pytest.approx([20 / 60, 20 / 60])


def test_measure_judges_a_picture_with_things():
    import vergence
    from vergence.methods.image.encoders import build

    torch.manual_seed(0)
    source = vergence.open("scenes?count=40&size=16&objects=3-4")
    table = vergence.measure(build("vit-micro", size=16), source, protocols=["discrimination"], quiet=True)
    row = table["learned"]
    assert 0 <= row["overlap (less is better)"].value <= 1
    assert row["prompt mIoU"].value <= row["prompt mIoU, best threshold of each"].value
    assert "of the training pictures" in row["prompt mIoU"].note
