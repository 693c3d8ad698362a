import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize
from torchvision.tv_tensors import Mask

import vergence
from vergence.core import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.data.targets import VOID, Boundaries
from vergence.methods.image.encoders import build
from vergence.methods.image.hiergroup import HierGroup, between, evenly, tree_nce
from vergence.nets.regions import RegionTree, region_tree


@cache
def outlined():
    return vergence.open("scenes?count=128&size=32&objects=2-3").with_targets(["boundaries"], "The contract")


CONTRACT = {
    "source": outlined,
    "encoder": {"blocks": (1, 1)},
    "options": {"hidden": 32, "dim": 16, "pixels": 16},
    "exempt": {"labels": "pixels are grouped within a picture; its run of record asks what they are of"},
}


def make(**options):
    torch.manual_seed(0)
    return HierGroup(build("resnet-tiny", size=16, width=8, blocks=(1, 1)), **{"pixels": 12, **options})


@pytest.fixture
def batch():
    """Four pictures of three regions: a strong line in the middle, a weak one in the right half."""
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (4, 3, 24, 24), dtype=torch.uint8)
    maps = torch.zeros(4, 24, 24)
    maps[:, :, 12], maps[:, 12, 13:] = 0.9, 0.3
    drawn = Boundaries(torch.arange(4), Mask(maps))
    return ImageBatch(pixels, torch.arange(4), torch.full((4,), -1), targets={"boundaries": drawn})


def test_the_loss_is_the_formula_of_each_level_written_as_a_loop():
    vectors = normalize(torch.randn(6, 5, dtype=torch.float64), dim=1)  # two pictures of three pixels
    others = normalize(torch.randn(4, 5, dtype=torch.float64), dim=1)
    d = torch.tensor(
        [[[0.0, 0.2, 0.7], [0.2, 0.0, 0.7], [0.7, 0.7, 0.0]], [[0.0, 0.0, 0.4]] * 2 + [[0.4, 0.4, 0.0]]]
    )
    everyone = torch.cat([vectors, others])
    total = 0.0
    for level in (0.0, 0.5):
        for i in range(6):
            weight = torch.exp(everyone @ vectors[i] / 0.2)
            near = [j for j in range(6) if j != i and j // 3 == i // 3 and d[i // 3, i % 3, j % 3] <= level]
            if near:
                rest = [j for j in range(10) if j != i]
                total -= torch.log(weight[near] / weight[rest].sum()).mean().item() / 6 / 2
    cost = tree_nce(vectors, everyone, d, (0.0, 0.5), 0.2)
    assert cost.item() == pytest.approx(total, rel=1e-9)


def test_likeness_that_falls_with_the_distance_in_the_tree_costs_least():
    twins = [0.0, 0.0, 0.3, 0.9]
    d = torch.tensor([[twins, twins, [0.3, 0.3, 0.0, 0.9], [0.9, 0.9, 0.9, 0.0]]])
    basis = torch.eye(4)
    tree = normalize(torch.stack([basis[0], basis[0], basis[0] + 0.7 * basis[1], basis[2]]), dim=1)
    flat = torch.stack([basis[0], basis[0], basis[1], basis[2]])
    wrong = torch.stack([basis[0], basis[1], basis[2], basis[0]])
    costs = [tree_nce(v, v, d, (0.0, 0.5), 0.3).item() for v in (tree, flat, wrong)]
    assert costs == sorted(costs)


def test_a_pixel_that_is_alone_costs_nothing_and_gives_finite_gradients():
    vectors = normalize(torch.randn(3, 4), dim=1).requires_grad_()
    alone = torch.full((1, 3, 3), torch.inf)
    cost = tree_nce(vectors, vectors, alone, (0.0,), 0.1)
    cost.backward()
    assert cost.item() == 0
    assert torch.isfinite(vectors.grad).all()


def test_regions_of_all_sizes_give_as_many_pixels_and_borders_none():
    regions = torch.zeros(2, 20, 20, dtype=torch.int64)
    regions[0, :6, :6] = 1
    regions[1, :, 10:] = VOID
    chance = evenly(regions).view(2, 20, 20)
    assert chance[0, :5, :5].sum().item() == pytest.approx(1.0)  # 25 pixels
    assert chance[0, 7:, 7:].sum().item() < 1.0
    assert chance[0].sum().item() == pytest.approx(2.0)  # of the rest, all together as much
    assert (chance[0, 5:7, :5] == 0).all()
    assert (chance[1, :, 9:] == 0).all()  # the border of what lies outside, and that
    assert chance[1].sum().item() == pytest.approx(1.0)
    nothing = evenly(torch.full((1, 4, 4), VOID))
    assert (nothing > 0).all()


def test_distances_of_pixels_are_those_of_their_regions_and_infinite_outside():
    tree = region_tree(np.random.default_rng(0).random((16, 16)))
    count = len(tree.merges) + 1
    known = torch.tensor([[0, count - 1, 1, 0, VOID]])
    d = between([tree], known)
    assert d[0, 0, 3] == 0
    assert d[0, 0, 1] == tree.between(np.array(0), np.array(count - 1))
    assert (d[0, 4] == torch.inf).all()
    assert (d[0, :, 4] == torch.inf).all()


def test_views_move_regions_with_their_pixels(batch):
    method = make()
    method.configure_views(
        {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0, "jitter_p": 0.0, "grey": 0.0}
    )
    pixels, xy, distances = method.views(batch)
    assert pixels.shape == (4, 3, 16, 16)
    left, above = xy[..., 0] < 8, xy[..., 1] < 8
    for b in range(4):
        same_side = left[b][:, None] == left[b]
        same_room = same_side & (left[b] | (above[b][:, None] == above[b]))
        assert torch.equal(distances[b] <= 0.5, same_side)
        assert torch.equal(distances[b] <= 0.1, same_room)


def test_a_tree_is_grown_once(batch, monkeypatch):
    method = make()
    first = method.grown(batch)
    monkeypatch.setattr("vergence.methods.image.hiergroup.region_tree", None)
    again = method.grown(dataclasses.replace(batch, index=batch.index.flip(0)))
    assert [id(tree) for tree in again] == [id(tree) for tree in first[::-1]]


def test_trees_beyond_the_room_for_them_grow_anew_and_are_the_same(batch):
    method = make()
    method.room = 0
    first, again = method.grown(batch), method.grown(batch)
    assert not method.trees
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.regions, other.regions)
        np.testing.assert_array_equal(one.merges, other.merges)


def test_a_picture_without_contours_is_unknown_and_counted(batch):
    drawn = batch.targets["boundaries"]
    some = Boundaries(drawn.of[1:], Mask(drawn.maps[1:]))
    method = make()
    views = method.views(dataclasses.replace(batch, targets={"boundaries": some}))
    assert (views[2][0] == torch.inf).all()
    assert views[2][1:].isfinite().any(2).any(1).all()
    assert method.loss(views)["group"].isfinite()
    assert method.pop_logged()["without contours"] == 0.25


def test_regions_beyond_the_numbers_of_int16_keep_theirs(batch, monkeypatch):
    method = make()
    halves = np.full((24, 24), 40_000, np.int32)
    halves[:, 12:] = 70_000
    count = 70_001
    chain = np.stack([np.r_[0, np.arange(count, 2 * count - 2)], np.arange(1, count)], 1)  # one after another
    tree = RegionTree(halves, np.c_[chain, np.arange(1, count), np.arange(2, count + 1)].astype(float))
    monkeypatch.setattr("vergence.methods.image.hiergroup.between", lambda trees, known: known)
    monkeypatch.setattr(method, "grown", lambda batch: [tree] * 4)
    known = set(method.views(batch)[2].flatten().tolist())
    assert known and known <= {40_000, 70_000}
    assert tree.between(np.array([40_000]), np.array([70_000])) == 70_000


def test_vectors_are_of_unit_length_and_every_stage_is_read(batch):
    method = make(dim=6)
    features = method.encoder(batch)
    torch.testing.assert_close(features.tokens.norm(dim=2), torch.ones(4, 64))
    assert features.grid == (8, 8)
    method.loss(method.views(batch))["group"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.encoder.head.parameters())


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="levels of 0 or more; got 0.1, 12 and"):
        make(levels=())
    with pytest.raises(BadInput, match="all stages of a convolutional network"):
        HierGroup(build("vit-micro", size=16))
