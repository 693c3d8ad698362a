"""Top-K representation invariance: thresholds a class, both signs, groups, and what knows nothing."""

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

import vergence as vg
from vergence.evaluate.protocols.invprobe import firing_rates, invariance


class Brightness(torch.nn.Module):
    """25 units that all say how bright a picture is: as many as count for each class."""

    input_spec, out_dim = {"size": 8}, 25

    def forward(self, pixels):
        return pixels.mean((1, 2, 3))[:, None].expand(-1, 25)


def looped(reference, reference_labels, versions, labels, group, k):
    """The same by loops: a unit fires on the class's share of the reference."""
    scores = []
    for y in sorted(set(labels)):
        share, rates = int((reference_labels == y).sum()), []
        for sign in (1, -1):
            for unit in range(versions.shape[1]):
                threshold = sorted(sign * reference[:, unit], reverse=True)[share]
                targets = []
                for t in sorted(set(group[labels == y])):
                    rows = [r for r in range(len(labels)) if group[r] == t and labels[r] == y]
                    if len(rows) > 1:
                        targets.append(np.mean([sign * versions[r, unit] > threshold for r in rows]))
                rates.append(np.mean(targets))
        scores.append(np.mean(sorted(rates)[-k:]))
    return np.mean(scores)


def world(seed=0, classes=3, targets=4, each=5, units=6, noise=1.0):
    """Targets in versions, whose units tell the class but for noise."""
    random = np.random.default_rng(seed)
    label = np.arange(classes).repeat(targets * each)
    group = np.arange(classes * targets).repeat(each)
    centre = random.normal(size=(classes, units))
    x = centre[label] + noise * random.normal(size=(len(label), units))
    y = np.arange(60) % classes
    return (
        (centre[y] + noise * random.normal(size=(60, units))).astype(np.float32),
        y,
        x.astype(np.float32),
        label,
        group,
    )


@pytest.mark.parametrize("k", [1, 4, 100])
def test_the_score_is_the_mean_share_of_versions_on_which_the_best_units_fire_by_loops(k):
    given = world()
    assert invariance(*given, k=k).value == pytest.approx(looped(*given, k), rel=1e-9)


def test_targets_count_alike_however_many_versions_they_have_and_one_version_counts_nothing():
    reference, y, x, label, group = world()
    keep = np.r_[0:2, 4:60]  # the first target loses two versions
    given = reference, y, x[keep], label[keep], group[keep]
    assert invariance(*given, k=3).value == pytest.approx(looped(*given, 3), rel=1e-9)
    lonely = group.copy()
    lonely[0] = 99
    given = reference, y, x, label, lonely
    assert invariance(*given, k=3).value == pytest.approx(looped(*given, 3), rel=1e-9)


def test_a_unit_a_class_scores_1_and_so_does_its_negative():
    label, group = np.arange(4).repeat(10), np.arange(8).repeat(5)
    for sign in (1.0, -1.0):
        x = sign * one_hot(torch.as_tensor(label), 4).float()
        assert invariance(x, label, x, label, group, k=1).value == 1.0


def test_units_that_know_nothing_score_the_class_share_and_units_that_are_always_on_nothing():
    torch.manual_seed(0)
    label, group = np.arange(5).repeat(800), np.arange(200).repeat(20)
    x, z = torch.randn(2, 4000, 3)
    rates = firing_rates(x, torch.as_tensor(label), z, torch.as_tensor(label), torch.as_tensor(group))
    torch.testing.assert_close(
        torch.stack([*rates.values()]), torch.full((5, 6), 0.2).double(), atol=0.05, rtol=0
    )
    on = torch.ones(4000, 1)
    assert invariance(on, label, on, label, group).value == 0.0


def test_thresholds_follow_the_scale_and_the_order_of_rows_says_nothing():
    reference, y, x, label, group = world()
    value = invariance(reference, y, x, label, group, k=4).value
    assert invariance(8 * reference - 3, y, 8 * x - 3, label, group, k=4).value == pytest.approx(value)
    order = np.random.default_rng(1).permutation(len(x))
    shuffled = invariance(reference, y, x[order], label[order], 7 - group[order], k=4)
    assert shuffled.value == pytest.approx(value)


def test_measure_asks_it_of_clips_with_labels():
    random = np.random.default_rng(0)
    label, clip = np.arange(60) // 4 % 2, np.arange(60) // 4
    pixels = (random.integers(0, 100, (60, 8, 8, 3)) + 100 * label[:, None, None, None]).astype(np.uint8)
    source = vg.open(pixels, labels=label, targets={"group": clip})
    table = vg.measure(Brightness(), source, protocols=["invariance"], quiet=True)
    assert table["learned"]["invariance"].value > 0.9
    with pytest.raises(vg.BadInput, match="group"):
        vg.measure(Brightness(), "digits", protocols=["invariance"], quiet=True)


def test_mistakes_are_answered_in_one_line():
    reference, y, x, label, group = world()
    with pytest.raises(vg.BadInput, match="targets with two versions or more, of classes that are known"):
        invariance(reference, y, x, label, np.arange(len(x)))
    with pytest.raises(ValueError, match="a reference of as many features and k of 1 or more"):
        invariance(reference[:, :2], y, x, label, group)
