"""Masks told by neighbours and by groups, depth by a line: each beside sums written as loops."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.linear_model import Ridge as Theirs
from sklearn.metrics import adjusted_rand_score, jaccard_score
from torchvision.tv_tensors import Mask

from vergence.core import BadInput, Features
from vergence.data.targets import Instances
from vergence.evaluate.protocols.depth import depth, depth_errors
from vergence.evaluate.protocols.foreground_ari import (
    adjusted_rand,
    foreground_ari,
    thing_numbers,
    token_groups,
)
from vergence.evaluate.protocols.matched_miou import matched, matched_miou
from vergence.evaluate.protocols.miou import confusion, mean_iou
from vergence.evaluate.protocols.patch_knn import patch_knn, patch_votes
from vergence.evaluate.ridge import STRENGTHS, fit_ridge


def halves(count, noise, seed):
    """Pictures of two kinds of ground, side by side; a token sees one pixel."""
    generator = torch.Generator().manual_seed(seed)
    cut = torch.randint(4, 28, (count,), generator=generator)
    masks = (torch.arange(32) >= cut[:, None]).long()[:, None].expand(count, 32, 32)
    place = torch.arange(8) * 4 + 2
    maps = torch.nn.functional.one_hot(masks[:, place][:, :, place], 2).permute(0, 3, 1, 2).float()
    maps = maps + noise * torch.randn(maps.shape, generator=generator)
    return Features.of_map(maps.mean((2, 3)), maps, stride=(4, 4), offset=(2.0, 2.0)), masks


def test_votes_equal_a_loop_and_add_up_to_one():
    torch.manual_seed(0)
    bank, classes, queries = torch.randn(30, 4), torch.randint(0, 3, (30,)), torch.randn(7, 4)
    result = patch_votes(bank, classes, queries, 3, k=5, temperature=0.2)
    for i in range(7):
        cosine = [float(torch.cosine_similarity(queries[i], row, dim=0)) for row in bank]
        best = sorted(range(30), key=lambda j: -cosine[j])[:5]
        total = sum(math.exp(cosine[j] / 0.2) for j in best)
        for c in range(3):
            share = sum(math.exp(cosine[j] / 0.2) for j in best if classes[j] == c) / total
            assert result[i, c].item() == pytest.approx(share, abs=1e-6)
    torch.testing.assert_close(result.sum(1), torch.ones(7))
    with pytest.raises(ValueError, match="k >= 1 and temperature > 0; got 5 and 0"):
        patch_votes(bank, classes, queries, 3, k=5, temperature=0)


def test_patches_like_others_tell_their_classes_and_noise_does_not():
    train, test = halves(30, 0.1, 0), halves(15, 0.1, 1)
    good = patch_knn(*train, *test)
    assert good.value > 0.9 and good.n == 15
    assert patch_knn(*train, *test, most=300).value > 0.85
    noise = [
        Features.of_map(torch.zeros(n, 2), torch.randn(n, 2, 8, 8), stride=(4, 4), offset=(2.0, 2.0))
        for n in (30, 15)
    ]
    assert patch_knn(noise[0], train[1], noise[1], test[1]).high < 0.5
    with pytest.raises(BadInput, match="masks of known classes"):
        patch_knn(train[0], train[1] - 9, *test)


def test_groups_are_renamed_by_the_best_of_all_matchings():
    torch.manual_seed(1)
    truth, groups = torch.randint(-1, 4, (3, 9, 9)), torch.randint(0, 4, (3, 9, 9))
    groups[truth == 2] = 0  # so that some matchings are better than others
    tables = confusion(groups, truth, 4)
    known = truth >= 0
    hits = {
        p: sum((truth[known] == c).logical_and(groups[known] == g).sum().item() for c, g in enumerate(p))
        for p in itertools.permutations(range(4))
    }
    best = max(hits, key=hits.get)
    name = {group: c for c, group in enumerate(best)}
    renamed = torch.tensor([name[g] for g in groups[known].tolist()])
    expected = jaccard_score(truth[known], renamed, average="macro", zero_division=0)
    assert mean_iou(matched(tables)).value == pytest.approx(expected)


def test_groups_of_tokens_find_the_classes_without_a_mask():
    (train, _), (test, masks) = halves(30, 0.1, 0), halves(15, 0.1, 1)
    good = matched_miou(train, test, masks)
    assert good.value > 0.9 and good.note == "2 groups"
    swapped = matched_miou(train, test, 1 - masks)
    assert swapped.value == pytest.approx(good.value)
    with pytest.raises(BadInput, match="masks of known classes"):
        matched_miou(train, test, masks * 0 - 1)


def test_the_adjusted_rand_index_of_things_equals_scikit_learns():
    torch.manual_seed(2)
    groups, things = torch.randint(0, 5, (6, 12, 10)), torch.randint(0, 4, (6, 12, 10))
    groups[:3] = torch.where(torch.rand(3, 12, 10) < 0.7, things[:3], groups[:3])
    result = adjusted_rand(groups, things)
    for i in range(6):
        thing = things[i] > 0
        assert result[i].item() == pytest.approx(
            adjusted_rand_score(things[i][thing], groups[i][thing]), abs=1e-9
        )
    assert foreground_ari(things * 3 % 7, things).value == 1
    one = (torch.rand(1, 12, 10) < 0.3).long()
    with pytest.raises(ValueError, match="a picture with two things or more"):
        foreground_ari(groups[:1], one)
    assert foreground_ari(groups[:2], torch.cat([things[:1], one])).n == 1


def test_things_are_numbered_in_each_picture_and_tokens_grouped_as_scikit_learn_groups_them():
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[0, :2], masks[1, 2:, :2], masks[2, 1:3] = True, True, True
    instances = Instances(torch.tensor([0, 0, 2]), Mask(masks), torch.zeros(3).long())
    numbers = thing_numbers(instances, 3)
    assert (numbers[0, :2] == 1).all() and (numbers[0, 2:, :2] == 2).all() and (numbers[1] == 0).all()
    assert (numbers[2, 1:3] == 1).all()
    features, _ = halves(4, 0.1, 3)
    groups = token_groups(features, 2)
    for i in range(4):
        unit = torch.nn.functional.normalize(features.tokens[i], dim=1).numpy()
        theirs = KMeans(2, n_init=5, random_state=0).fit_predict(unit)
        assert adjusted_rand_score(groups[i], theirs) > 0.9


def test_the_ridge_is_scikit_learns_and_takes_the_strength_that_tells_best_aside():
    torch.manual_seed(3)
    x, y = torch.randn(50, 6).double(), torch.randn(50, 2).double()
    y[:, 0] += x @ torch.randn(6).double()
    aside = torch.arange(50) >= 40

    def theirs(rows, strength):
        centred = x[rows] - x[rows].mean(0)
        alpha = float(strength * centred.square().sum(0).mean() + 1e-12 * len(centred))
        return Theirs(alpha=alpha).fit(x[rows].numpy(), y[rows].numpy())

    errors = [
        np.square(theirs(~aside, s).predict(x[aside].numpy()) - y[aside].numpy()).mean() for s in STRENGTHS
    ]
    best = theirs(slice(None), STRENGTHS[int(np.argmin(errors))])
    np.testing.assert_allclose(fit_ridge(x, y, aside)(x).numpy(), best.predict(x.numpy()), atol=1e-8)


def test_errors_of_depth_equal_their_definitions_and_what_is_not_known_does_not_count():
    torch.manual_seed(4)
    guess, truth = torch.rand(3, 5, 6) + 0.5, torch.rand(3, 5, 6) + 0.5
    truth[0, :2], truth[1, 3, 3] = math.nan, 0.0
    within, relative = depth_errors(guess, truth)
    for b in range(3):
        right, off = [], []
        for d, t in zip(guess[b].flatten().tolist(), truth[b].flatten().tolist(), strict=True):
            if t > 0:
                right.append(max(d / t, t / d) < 1.25)
                off.append(abs(d - t) / t)
        assert within[b].item() == pytest.approx(np.mean(right)) and relative[b].item() == pytest.approx(
            np.mean(off)
        )


def test_a_line_tells_depth_from_tokens_that_hold_its_logarithm():
    torch.manual_seed(5)
    y = torch.arange(32) + 0.5

    def slopes(n):
        slope = torch.rand(n)[:, None] * 2
        log = (slope * y / 32 + torch.rand(n)[:, None])[:, :, None].expand(n, 32, 32)
        at = log[:, 2::4, 2::4]
        maps = torch.stack([2 * at + 0.01 * torch.randn(at.shape), torch.randn(at.shape)], 1)
        features = Features.of_map(maps.mean((2, 3)), maps, stride=(4, 4), offset=(2.5, 2.5))
        return features, log.exp()

    train, test = slopes(20), slopes(10)
    result = depth(*train, *test)
    assert result["within 1.25"].value > 0.97 and result["relative error"].value < 0.06
    blind = Features.of_map(torch.zeros(10, 2), torch.randn(10, 2, 8, 8), stride=(4, 4), offset=(2.5, 2.5))
    assert depth(*train, blind, test[1])["within 1.25"].high < 0.6
    nothing = torch.full_like(train[1], math.nan)
    with pytest.raises(BadInput, match="known distances to learn from"):
        depth(train[0], nothing, *test)
