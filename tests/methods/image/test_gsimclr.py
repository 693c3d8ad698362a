import numpy as np
import pytest
import torch

from vergence.core import BadInput
from vergence.data import open as open_source
from vergence.losses import nt_xent
from vergence.methods.image import gsimclr
from vergence.methods.image.encoders import build
from vergence.methods.image.gsimclr import Denoising, GSimCLR, Guided, collision_rate, denoising_encoder
from vergence.views.pixels.augment import View

CONTRACT = {"options": {"clusters": 32, "temperature": 0.2}, "learn": {"epochs": 8}}


def digits(count=60):
    return open_source("digits").subset(np.arange(count))


@pytest.fixture
def method():
    torch.manual_seed(0)
    return GSimCLR(build("resnet-tiny", size=16, width=8), clusters=5)


def test_a_batch_has_one_image_of_each_cluster_as_long_as_there_are_some():
    cluster = np.array([0] * 4 + [1] * 6 + [2] * 4 + [-1])
    sampler = Guided(digits(15), cluster, 3)
    assert len(sampler) == 4  # 14 images in batches of 3
    first, again, other = (sampler.order(epoch, seed=seed) for epoch, seed in ((0, 0), (0, 0), (1, 0)))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    for order in (first, other):
        assert (np.sort(cluster[order[:4]], axis=1) == [0, 1, 2]).all()
        assert len(set(order.ravel())) == 12


def test_the_large_clusters_fill_the_last_batches():
    sampler = Guided(digits(10), np.array([0, 0, 1, 1, 1, 1, 1, 1, 1, 1]), 2)
    seen = sampler.cluster[sampler.order(0, seed=0)]
    assert seen.tolist() == [[0, 1], [0, 1], [1, 1], [1, 1], [1, 1]]


def test_collision_rate_counts_pairs_of_a_class():
    labels = np.array([0, 0, 1, 1, 1])
    assert collision_rate(np.array([[0, 1, 2], [2, 3, 4]]), labels) == pytest.approx((1 / 3 + 1) / 2)
    many = np.random.default_rng(0).integers(0, 4, 4000)
    batches = np.random.default_rng(1).permutation(4000).reshape(-1, 16)
    assert collision_rate(batches, many) == pytest.approx(0.25, abs=0.01)
    assert collision_rate(Guided(digits(15), np.arange(15) % 5, 5).order(0, seed=0), np.arange(15) % 5) == 0


def test_processes_share_each_batch_and_a_run_goes_on_inside_an_epoch():
    source = digits(30)
    sampler = Guided(source, np.arange(30) % 6, 6)
    whole = [batch.pixels for batch in sampler.epoch(0, seed=0, start=0, rank=0, world=1)]
    parts = [[b.pixels for b in sampler.epoch(0, seed=0, start=2, rank=r, world=2)] for r in (0, 1)]
    assert len(whole) == 5 and len(parts[0]) == 3
    assert all(
        torch.equal(torch.cat(pair), one)
        for pair, one in zip(zip(*parts, strict=True), whole[2:], strict=True)
    )
    with pytest.raises(BadInput, match="divide among 4 processes"):
        next(iter(sampler.epoch(0, seed=0, start=0, rank=0, world=4)))


def test_clusters_come_from_the_autoencoder_before_the_contrast(method):
    source = digits()
    first, second = method.stages(source)
    assert method.batches(source) is None
    autoencoder = first.make({})
    assert second.make({"autoencoder": autoencoder}) is method
    assert method.cluster.shape == (60,) and set(method.cluster) == set(range(5))
    batches = list(method.batches(source).epoch(0, seed=0, start=0, rank=0, world=1))
    assert len(batches) == 12 and batches[0].pixels.shape[0] == 5


def test_what_cannot_be_clustered_is_refused_before_the_autoencoder_trains(method, monkeypatch):
    with pytest.raises(BadInput, match="as many images as clusters; got 3 and 5"):
        method.stages(digits(3))
    monkeypatch.setattr(gsimclr, "world", lambda: 2)
    with pytest.raises(BadInput, match="divide among 2 processes; got 5"):
        method.stages(digits())


def test_other_processes_take_the_clusters_of_the_first(method, monkeypatch):
    monkeypatch.setattr(gsimclr, "rank", lambda: 1)
    monkeypatch.setattr(gsimclr, "from_first", lambda x: torch.arange(len(x)))
    assert method.clustered(None, digits(7)).tolist() == list(range(7))


def test_the_autoencoder_restores_images_and_says_the_mean_of_its_map():
    torch.manual_seed(0)
    autoencoder = Denoising(denoising_encoder(16)).train()
    images = torch.rand(4, 3, 16, 16)
    features = autoencoder.encoder(images)
    assert features.map.shape == (4, 128, 2, 2)
    torch.testing.assert_close(features.pooled, features.map.mean((2, 3)))
    optimizer = torch.optim.Adam(autoencoder.parameters(), 1e-2)
    costs = []
    for _ in range(6):
        cost = autoencoder.loss(images)["restore"]
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        costs.append(cost.item())
    assert costs[-1] < costs[0]
    assert [tuple(m.weight.shape[:2]) for m in autoencoder.modules() if isinstance(m, torch.nn.Conv2d)] == [
        (32, 3), (64, 32), (128, 64), (128, 128), (64, 128), (32, 64), (3, 32),
    ]  # fmt: skip


def test_the_loss_is_nt_xent_of_the_projections(method):
    method.eval()
    views = [torch.rand(5, 3, 16, 16) for _ in range(2)]
    z = [method.projector(method.encode(view)) for view in views]
    assert z[0].shape == (5, 50)
    torch.testing.assert_close(method.loss(views), {"contrast": nt_xent(*z, temperature=0.1)})
    views = method.views(next(iter(digits().loader(8))))
    assert all(isinstance(view, View) and (view.box[:, 2] == view.box[0, 2]).all() for view in views)
