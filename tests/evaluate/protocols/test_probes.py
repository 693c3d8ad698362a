"""Probes of vectors: tags, angles, unknown classes, domains, corruptions, attention."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn

import vergence
from vergence.core import BadInput, Features
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.data.targets import Tags
from vergence.evaluate.protocols.angle import angle, angle_between, nearest_rotation
from vergence.evaluate.protocols.attentive import TokenSource, attentive
from vergence.evaluate.protocols.corruptions import CORRUPTIONS, corrupt, corruptions
from vergence.evaluate.protocols.domains import leave_one_domain_out
from vergence.evaluate.protocols.linear import linear
from vergence.evaluate.protocols.multilabel import mean_average_precision, multilabel
from vergence.evaluate.protocols.unknown_classes import unknown_classes
from vergence.nets.attentive import AttentivePool, CoordinateQueries


def test_mean_average_precision_is_scikit_learns_over_what_is_known():
    rng = np.random.default_rng(0)
    scores, truth, known = rng.random((40, 5)), rng.random((40, 5)) < 0.4, rng.random((40, 5)) < 0.8
    truth[:, 4] = False  # of nobody
    result = mean_average_precision(scores, truth, known)
    each = [average_precision_score(truth[known[:, a], a], scores[known[:, a], a]) for a in range(4)]
    assert result.value == pytest.approx(np.mean(each)) and result.note == "4 tags"
    by_hand = mean_average_precision(
        np.array([[0.9], [0.8], [0.7], [0.1]]), np.array([[1], [0], [1], [0]]) > 0, np.ones((4, 1), bool)
    )
    assert by_hand.value == pytest.approx((1 + 2 / 3) / 2)
    with pytest.raises(BadInput, match="a tag that some samples have and some lack"):
        mean_average_precision(scores, truth & False, known)


def test_tags_that_features_tell_are_learned_from_the_samples_of_which_they_are_known():
    torch.manual_seed(0)
    x, z = torch.randn(200, 6), torch.randn(100, 6)
    ways = torch.randn(6, 3)
    yes, test_tags = x @ ways > 0, z @ ways > 0
    known = torch.rand(200, 3) < 0.5
    wrong = torch.where(known, yes, ~yes)  # what is not known is noted wrongly
    everything = torch.ones(100, 3, dtype=torch.bool)
    result = multilabel(x, Tags(wrong, known), z, Tags(test_tags, everything))
    assert result.value > 0.95 and result.n == 3


def test_angles_equal_scipys_and_the_nearest_rotation_is_one():
    first, second = Rotation.random(50, random_state=0), Rotation.random(50, random_state=1)
    as_tensors = [torch.from_numpy(r.as_matrix()) for r in (first, second)]
    expected = (first.inv() * second).magnitude()
    np.testing.assert_allclose(angle_between(*as_tensors), expected, atol=1e-9)
    assert angle_between(as_tensors[0], as_tensors[0]).max() < 1e-7
    noisy = as_tensors[0] + 0.05 * torch.randn(50, 3, 3, generator=torch.Generator().manual_seed(0))
    near = nearest_rotation(noisy)
    torch.testing.assert_close(torch.det(near), torch.ones(50).double())
    torch.testing.assert_close(near @ near.mT, torch.eye(3).double().expand(50, 3, 3))
    assert angle_between(near, as_tensors[0]).max() < 0.2
    torch.testing.assert_close(nearest_rotation(-noisy).det(), torch.ones(50).double())
    turns = (torch.tensor(pair, dtype=torch.float64) for pair in ([0.1, 6.2], [6.2, 0.1]))
    assert angle_between(*turns).tolist() == pytest.approx([2 * math.pi - 6.1] * 2)


def test_turns_are_told_from_features_that_hold_them_and_not_from_noise():
    torch.manual_seed(1)
    turn = torch.rand(300) * 2 * math.pi
    x = torch.stack([turn.cos(), turn.sin(), torch.randn(300)], 1) @ torch.randn(3, 8) + 0.05 * torch.randn(
        300, 8
    )
    result = angle(x[:200], turn[:200], x[200:], turn[200:])
    assert result["within 30°"].value == 1 and result["mean error"].value < 0.05
    noise = angle(torch.randn(200, 8), turn[:200], torch.randn(100, 8), turn[200:])
    assert 0.3 < noise["mean error"].value < 0.7
    solid = torch.from_numpy(Rotation.random(300, random_state=2).as_matrix())
    y = solid.flatten(1).float() @ torch.randn(9, 12)
    rotated = angle(y[:200], solid[:200], y[200:], solid[200:])
    assert rotated["mean error"].value < 0.01
    cameras = torch.cat([solid, torch.randn(300, 3, 1).double()], 2)
    assert angle(y[:200], cameras[:200], y[200:], cameras[200:]) == rotated
    with pytest.raises(BadInput, match=r"radians \(n,\) or rotations"):
        angle(x, torch.zeros(300, 4), x, torch.zeros(300, 4))


def test_unknown_classes_are_told_by_the_distance_to_the_known():
    torch.manual_seed(2)
    centre, y = torch.randn(6, 10) * 3, torch.arange(600) % 6
    x = centre[y] + torch.randn(600, 10) * 0.7
    result = unknown_classes(x[:300], y[:300], x[300:], y[300:], k=3)
    known = np.random.default_rng(0).permutation(6)[:3]
    bank = torch.nn.functional.normalize(x[:300][np.isin(y[:300], known)], dim=1)
    cosine = torch.nn.functional.normalize(x[300:], dim=1) @ bank.T
    kth = cosine.topk(3, dim=1).values[:, 2]
    expected = roc_auc_score(~np.isin(y[300:], known), -kth)
    assert (
        result.value == pytest.approx(expected)
        and result.value > 0.9
        and result.note == "3 of 6 classes known"
    )
    with pytest.raises(BadInput, match="samples of known and of unknown classes; of 1 classes 1 are known"):
        unknown_classes(x, y * 0, x, y * 0)


def test_a_domain_is_judged_by_what_the_others_taught():
    torch.manual_seed(3)
    y, domain = torch.arange(240) % 2, torch.arange(240) // 2 % 3
    x = torch.randn(240, 5)
    x[:, 0] += 3 * y
    x[:, 1] += torch.where(domain == 2, -4.0, 4.0) * (
        2 * y - 1
    )  # a sign that is another's in the third domain
    rows = torch.arange(240) < 150
    result = leave_one_domain_out(
        x[rows], y[rows], domain[rows], x[~rows], y[~rows], domain[~rows], names=("a", "b", "c")
    )
    taught, judged = rows & (domain != 2), ~rows & (domain == 2)
    assert result["c"] == linear(x[taught], y[taught], x[judged], y[judged]) and result["c"].value < 0.6
    assert result["mean"].value == pytest.approx(np.mean([result[name].value for name in "abc"]))
    with pytest.raises(BadInput, match="2 or more domains"):
        leave_one_domain_out(x, y, domain * 0, x, y, domain * 0)


def test_every_corruption_keeps_shape_and_range_and_grows_with_its_severity():
    pixels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    pixels = torch.nn.functional.avg_pool2d(pixels, 3, 1, 1)
    for name in CORRUPTIONS:
        changed = [corrupt(pixels, name, s, torch.Generator().manual_seed(1)) for s in range(1, 6)]
        away = [(one - pixels).square().mean().item() for one in changed]
        assert all(one.shape == pixels.shape and one.min() >= 0 and one.max() <= 1 for one in changed), name
        assert away[0] > 0 and away == sorted(away), name
    with pytest.raises(ValueError, match="one of noise, impulses"):
        corrupt(pixels, "fog", 1, torch.Generator())


class Shrunk(nn.Module):
    """Pixels of a picture shrunk to 4 x 4: as tokens of one pixel, and as one vector."""

    out_dim, input_spec = 48, {"size": 16}

    def forward(self, batch):
        pixels = batch.pixels if hasattr(batch, "pixels") else batch
        pixels = pixels.float() / (255 if pixels.dtype == torch.uint8 else 1)
        cells = nn.functional.adaptive_avg_pool2d(pixels, 4)
        return Features.of_map(cells.flatten(1), cells)


def squares(count=160):
    """Pictures with a small bright square, red or green: its class is its colour, its place is random."""
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(90, 120, (count, 16, 16, 3)).astype(np.uint8), np.arange(count) % 2
    for i in range(count):
        top, left = 4 * rng.integers(0, 4, 2)
        pixels[i, top : top + 4, left : left + 4, labels[i]] = 250
    reader = PixelReader(pixels, labels, ["red", "green"], "squares")
    return ImageSource(reader, "squares", pixels=pixels)


def test_a_probe_of_clean_pictures_falls_with_what_is_done_to_them():
    source = squares()
    train, test = source.subset(np.arange(100)), source.subset(np.arange(100, 160))
    table = vergence.measure(Shrunk(), train, test=test, protocols=["linear", "corruptions"], quiet=True)
    scores = table["learned"]
    assert scores["corrupted: clean"].value == pytest.approx(scores["linear"].value)
    assert scores["linear"].value > 0.9
    each = [scores[f"corrupted: {name}"].value for name in CORRUPTIONS]
    assert scores["corrupted: mean"].value == pytest.approx(np.mean(each))
    with pytest.raises(BadInput, match="does not say its size"):
        corruptions(nn.Flatten(), (np.eye(4), np.array([0, 1, 0, 1])), test)


def test_queries_are_averaged_look_at_tokens_in_any_order_and_get_a_gradient():
    torch.manual_seed(0)
    pool, tokens = AttentivePool(8, heads=2, queries=3), torch.randn(4, 6, 8)
    out = pool(tokens)
    torch.testing.assert_close(out, pool(tokens[:, torch.randperm(6)]))
    one = AttentivePool(8, heads=2)
    one.load_state_dict({**pool.state_dict(), "queries": pool.queries[:1]})
    assert not torch.allclose(one(tokens), out)
    out.sum().backward()
    assert all(p.grad is not None for p in pool.parameters())
    look, q = pool.look, pool.look.norm_queries(pool.queries)
    t = look.norm_tokens(tokens[0])
    expected = torch.zeros(3, 8)
    for h in range(2):
        part = slice(4 * h, 4 * h + 4)
        k, v = look.key_value(t)[:, :8][:, part], look.key_value(t)[:, 8:][:, part]
        expected[:, part] = (look.query(q)[:, part] @ k.T / 2).softmax(1) @ v
    seen = pool.queries + look.proj(expected)
    seen = pool.norm(seen + look.mlp(look.norm(seen))).mean(0)
    torch.testing.assert_close(out[0], seen)
    with pytest.raises(BadInput, match="heads that divide its width; got 3 and 8"):
        AttentivePool(8, heads=3)


def test_coordinate_queries_answer_each_place_for_itself():
    torch.manual_seed(1)
    net, tokens, points = CoordinateQueries(16, axes=3, heads=2), torch.randn(2, 6, 16), torch.rand(2, 5, 3)
    out = net(tokens, points)
    torch.testing.assert_close(out[:, 3:], net(tokens[:, [5, 0, 3, 1, 2, 4]], points[:, 3:]))
    assert out.shape == (2, 5, 16) and torch.pdist(out[0]).min() > 1e-3
    ends = net(tokens, torch.tensor([0.0, 1.0])[None, :, None].expand(2, 2, 3))
    assert (ends[:, 0] - ends[:, 1]).abs().max() > 1e-3  # the waves of the slowest rate tell 0 from 1
    out.sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_an_attentive_probe_finds_what_one_token_tells_and_the_mean_hides():
    source = squares(240)
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 2
    tokens = rng.standard_normal((240, 9, 12)).astype(np.float32)
    place = rng.integers(0, 9, 240)
    tokens[np.arange(240), place, 0] = 6  # a mark, and beside it the class
    tokens[:, :, 1] *= 3
    tokens[np.arange(240), place, 1] = np.where(labels == 1, 3, -3)
    train = TokenSource(tokens[:160], labels[:160], source)
    test = TokenSource(tokens[160:], labels[160:], source)
    result = attentive(train, test, epochs=40)
    mean = linear(tokens[:160].mean(1), labels[:160], tokens[160:].mean(1), labels[160:])
    assert result.value > mean.high and result.value > 0.85
    assert attentive(train, test, epochs=2) == attentive(train, test, epochs=2)
    with pytest.raises(BadInput, match="attentive needs labels"):
        attentive(TokenSource(tokens, labels - 2, source), test)
