"""DeeperCluster: groups of groups, heads of super-classes, an even draw, and runs that go on exactly."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

import vergence
from two_processes import few_digits
from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.methods.image import deepercluster
from vergence.methods.image.deepercluster import DeeperCluster, whitened
from vergence.methods.image.encoders import build
from vergence.nets.image_encoder import MEAN, STD
from vergence.nets.kmeans import kmeans, nearest
from vergence.nets.sobel import Sobel

CONTRACT = {
    "options": {"clusters": 8, "super_clusters": 2, "every": 10},
    "exempt": {"labels": "80 steps are few for groups of an untrained network; its run of record measures"},
    "two": {"": {"source": few_digits}},
}


def digits(count=60):
    return vergence.open("digits").subset(np.arange(count))


def made(source=None, **options):
    torch.manual_seed(0)
    method = DeeperCluster(
        build("resnet-tiny", size=8, width=8), **{"clusters": 12, "super_clusters": 3, **options}
    )
    method.setup(source or digits())
    return method


def grouped(method, source):
    torch.manual_seed(0)
    method.epoch_start(Clock(), list(source.loader(16, spec={"size": 8})))


def test_whitened_vectors_have_equal_variance_in_uncorrelated_directions():
    x = torch.randn(500, 6) @ torch.randn(6, 6) + 3
    white = whitened(x, 6)
    torch.testing.assert_close(white.norm(dim=1), torch.ones(500))
    mean, cov = x.double().mean(0), torch.cov(x.double().T, correction=0)
    distance = ((x.double() - mean) @ torch.linalg.inv(cov) * (x.double() - mean)).sum(1)  # Mahalanobis
    values, vectors = torch.linalg.eigh(cov)
    slow = (x.double() - mean) @ vectors / values.sqrt()
    torch.testing.assert_close(slow.square().sum(1), distance)
    torch.testing.assert_close((white @ white.T).double(), cosines(slow), atol=1e-5, rtol=0)
    assert whitened(x, 2).shape == (500, 2)
    assert torch.isfinite(whitened(torch.ones(5, 3), 3)).all()


def cosines(x):
    unit = x / x.norm(dim=1, keepdim=True)
    return unit @ unit.T


def test_kmeans_finds_heaps_and_each_row_its_nearest_centre():
    torch.manual_seed(1)
    heaps = torch.eye(3)[torch.arange(90) % 3] + 0.01 * torch.randn(90, 3)
    tries = [kmeans(heaps, 3, 10) for _ in range(5)]
    assert any(len({(a, b) for a, b in zip(of.tolist(), [0, 1, 2] * 30, strict=True)}) == 3 for of in tries)
    x, centres = torch.randn(50, 4), torch.randn(7, 4)
    assert torch.equal(nearest(x, centres), torch.cdist(x, centres).argmin(1))
    assert kmeans(torch.ones(5, 2), 3, 4).unique().numel() >= 1, "equal rows leave groups empty"


def test_photos_lie_in_groups_of_groups_and_classifiers_are_new():
    source = digits()
    method = made(source)
    old = method.super_head.weight.clone()
    grouped(method, source)
    assert set(method.supers.tolist()) == {0, 1, 2} and method.subs.max() <= 3
    assert method.super_head.out_features == 12 and not torch.equal(method.super_head.weight, old)
    assert method.sub_heads.out_features == 12 * (int(method.subs.max()) + 1)
    kept = method.supers.clone()
    method.epoch_start(Clock(4, 9, 4), [])  # the second of three epochs
    assert torch.equal(method.supers, kept)


def test_grouping_sees_photos_upright_and_whole():
    source = digits()
    method, seen = made(source), []
    encode = method.encode
    method.encode = lambda batch: seen.append(batch) or encode(batch)
    grouped(method, source)
    assert all(isinstance(batch, ImageBatch) for batch in seen)
    assert [i for batch in seen for i in batch.index.tolist()] == list(range(60))


def test_the_loss_is_both_cross_entropies_by_hand():
    source = digits()
    method = made(source).eval()
    grouped(method, source)
    images, answer, sub = method.views(next(iter(source.loader(16, spec={"size": 8}))))
    assert torch.equal(answer // 4, method.supers[:16]) and torch.equal(sub, method.subs[:16])
    terms = method.loss((images, answer, sub))
    vectors = method.encode(images)
    c = method.sub_heads.out_features // 12
    total = {"super": 0.0, "sub": 0.0}
    for f, y, z in zip(vectors, answer.tolist(), sub.tolist(), strict=True):
        v = (method.super_head.weight @ f + method.super_head.bias).tolist()
        w = (method.sub_heads.weight @ f + method.sub_heads.bias).tolist()[y * c : (y + 1) * c]
        for name, scores, right in (("super", v, y), ("sub", w, z)):
            total[name] += math.log(sum(math.exp(s) for s in scores)) - scores[right]
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(
        {name: value / 16 for name, value in total.items()}, rel=1e-4
    )


def test_only_the_classifier_of_the_own_super_class_learns():
    source = digits()
    method = made(source)
    grouped(method, source)
    c = method.sub_heads.out_features // 12
    answer = torch.tensor([5, 5, 9])
    method.sub_loss(torch.rand(3, method.width), answer, torch.tensor([0, 1, 0])).backward()
    touched = method.sub_heads.weight.grad.abs().sum(1).view(12, c) > 0
    assert touched.any(1).nonzero()[:, 0].tolist() == [5, 9]


def test_groups_are_drawn_alike_however_large_they_are():
    method = made(digits(100), super_clusters=2, clusters=4)
    method.supers = torch.tensor([0] * 90 + [1] * 10)
    method.subs = torch.tensor([0] * 85 + [1] * 5 + [0] * 8 + [1] * 2)
    rows = method.draw(400, np.random.default_rng(0))
    parts = (rows < 85, (rows >= 85) & (rows < 90), (rows >= 90) & (rows < 98), rows >= 98)
    assert [int(part.sum()) for part in parts] == [100] * 4
    few = method.draw(160, np.random.default_rng(0))
    assert len(set(few[few < 85].tolist())) == 40, "none twice where there are enough"


def test_photos_that_cannot_be_read_are_in_no_group_and_never_drawn():
    source = digits()
    method = made(source)
    torch.manual_seed(0)
    method.epoch_start(Clock(), list(source.subset(np.arange(50)).loader(16, spec={"size": 8})))
    assert (method.supers[50:] == -1).all() and (method.subs[50:] == -1).all()
    assert (method.supers[:50] >= 0).all()
    assert method.draw(500, np.random.default_rng(0)).max() < 50


def test_the_groups_are_those_of_the_first_process(monkeypatch):
    first = torch.stack([torch.arange(60) % 3, torch.arange(60) % 7])
    monkeypatch.setattr(deepercluster, "from_first", lambda groups: first)
    source = digits()
    method = made(source)
    grouped(method, source)
    assert torch.equal(method.supers, first[0]) and torch.equal(method.subs, first[1])
    assert method.sub_heads.out_features == 12 * 7


def test_the_loader_has_the_threads_of_the_run():
    source, calls = digits(), []
    method = made(source)
    method.batch_size, method.workers = 8, 3

    class Watched:
        def __len__(self):
            return len(source)

        def subset(self, rows):
            return self

        def loader(self, size, *, workers, **options):
            calls.append(workers)
            return iter(())

    assert not list(method.batches(Watched()).epoch(0, seed=0, start=0, rank=0, world=1))
    assert calls == [3]


def test_batches_hold_the_photos_that_they_say(tmp_path):
    source = digits()
    method = made(source)
    grouped(method, source)
    method.batch_size = 8
    sampler = method.batches(source)
    assert len(sampler) == 7
    batches = list(sampler.epoch(2, seed=1, start=0, rank=0, world=1))
    for batch in batches:
        for pixels, i in zip(batch.pixels, batch.index.tolist(), strict=True):
            assert np.array_equal(pixels.permute(1, 2, 0).numpy(), source.sample(i))
    later = list(sampler.epoch(2, seed=1, start=3, rank=0, world=1))
    assert [b.index.tolist() for b in later] == [b.index.tolist() for b in batches[3:]]
    halves = [list(sampler.epoch(2, seed=1, start=0, rank=rank, world=2)) for rank in (0, 1)]
    assert len(halves[0]) == len(halves[1]) == 7


def test_one_group_and_turns_are_rotnet_and_groups_alone_deepcluster():
    source = digits()
    rotnet = made(source, clusters=1, super_clusters=1)
    grouped(rotnet, source)
    images, answer, sub = rotnet.views(next(iter(source.loader(60, spec={"size": 8}))))
    assert set(answer.tolist()) == {0, 1, 2, 3} and not sub.any()
    assert rotnet.loss((images, answer, sub))["sub"] == 0
    heads = rotnet.super_head, rotnet.sub_heads
    grouped(rotnet, source)
    assert (rotnet.super_head, rotnet.sub_heads) == heads, "their classes do not change"
    one = made(source, super_clusters=1)
    heads = one.super_head, one.sub_heads
    grouped(one, source)
    assert one.super_head is heads[0] and one.sub_heads is not heads[1]
    deepcluster = made(source, super_clusters=1, rotate=False)
    grouped(deepcluster, source)
    images, answer, sub = deepcluster.views(next(iter(source.loader(60, spec={"size": 8}))))
    assert not answer.any() and sub.max() > 3
    assert deepcluster.loss((images, answer, sub))["super"] == 0


def test_the_encoder_sees_slopes_and_no_colour():
    seen = []

    class Watches(torch.nn.Module):
        input_spec, out_dim = {"size": 8}, 3

        def forward(self, pixels):
            seen.append(pixels)
            return pixels.mean((2, 3))

    pixels = torch.rand(4, 3, 8, 8)
    Sobel(Watches())(pixels)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    normal = (seen[0] - mean) / std
    grey = ((pixels - mean) / std).mean(1).numpy()
    for i in range(4):
        for channel, axis in ((0, 1), (1, 0)):
            slope = -ndimage.sobel(grey[i], axis=axis, mode="constant")
            np.testing.assert_allclose(normal[i, channel], slope, atol=1e-4)
    assert normal[:, 2].abs().max() < 1e-5


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="DeeperCluster needs super_clusters, .* got 3, 0, 4096, 10 and 12"):
        made(every=0)
    with pytest.raises(BadInput, match="as many clusters as super_clusters"):
        made(clusters=2)
