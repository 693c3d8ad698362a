"""CMD: photos and regions are distilled across crops, and tied to each other within a network."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import log_softmax, normalize

from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.cmd import CMD, bag_divergence
from vergence.methods.image.dino import DINO
from vergence.methods.image.encoders import build

CONTRACT = {
    "encoder": {"name": "resnet-tiny", "width": 16, "blocks": (1, 1)},
    "options": {"prototypes": 64, "hidden": 64, "bottleneck": 32, "n_local": 1, "momentum": 0.9},
    "learn": {"batch_size": 32, "epochs": 2},
    "exempt": {"labels": "32 steps are few for a student of its own copy; its run of record measures"},
}
SMALL = {"prototypes": 24, "hidden": 16, "bottleneck": 8, "n_local": 2}


def make(**options):
    torch.manual_seed(0)
    return CMD(build("vit-micro", size=16, patch=4), **{**SMALL, **options})


@pytest.fixture
def batch():
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    return ImageBatch(pixels, torch.arange(5), torch.full((5,), -1))


def test_photos_regions_and_bags_are_the_formulas_written_as_loops(batch):
    method = make(bag=0.7)
    method.centre.copy_(torch.randn(24))
    method.region_centre.copy_(torch.randn(24))
    centre, region_centre = method.centre.clone(), method.region_centre.clone()
    views = method.views(replace(batch, pixels=batch.pixels[:3]))
    seen = [method.encoder(view) for view in views]
    meant = [method.teacher.network[0](view) for view in views[:2]]
    photos, regions, bags = [], [], []
    for q in range(2):
        whole = torch.softmax((method.teacher.network[1](meant[q]) - centre) / 0.04, 1)
        each = torch.softmax((method.region_teacher(meant[q].tokens) - region_centre) / 0.04, 2)
        for v in range(4):
            if v == q:
                continue
            for b in range(3):
                said = log_softmax(method.head(seen[v].pooled[b]) / 0.1, 0)
                photos.append(-(whole[b] * said).sum())
                inside = log_softmax(method.region_head(seen[v].tokens[b]) / 0.1, 1)
                costs, keys = [], [normalize(t, dim=0) for t in meant[q].tokens[b]]
                for i, token in enumerate(seen[v].tokens[b]):
                    likeness = [torch.dot(token, key).item() for key in keys]
                    j = max(range(len(likeness)), key=likeness.__getitem__)
                    costs.append(-(each[b, j] * inside[i]).sum())
                regions.append(torch.stack(costs).mean())
                bags.append((said.exp() * (said - inside.exp().mean(0).log())).sum())
    terms = method.loss(views)
    assert terms["photos"].item() == pytest.approx(0.5 * torch.stack(photos).mean().item(), rel=1e-4)
    assert terms["regions"].item() == pytest.approx(0.5 * torch.stack(regions).mean().item(), rel=1e-4)
    assert terms["bags"].item() == pytest.approx(0.7 * torch.stack(bags).mean().item(), rel=1e-3)


def test_without_regions_and_bags_it_is_dino(batch):
    method = make(regions=0.0, bag=0.0)
    torch.manual_seed(0)
    plain = DINO(build("vit-micro", size=16, patch=4), **SMALL)
    views = plain.views(batch)
    torch.testing.assert_close(method.loss(views)["photos"], plain.loss(views)["dino"])


def test_a_bag_counts_what_its_regions_say_in_any_order_and_costs_nothing_where_the_photo_agrees():
    regions = torch.randn(3, 6, 10)
    bag = torch.softmax(regions / 0.5, 2).mean(1)
    agreed = 0.5 * bag.log()
    assert bag_divergence(agreed, regions, temperature=0.5).abs() < 1e-6
    torch.testing.assert_close(
        bag_divergence(torch.zeros(3, 10), regions.flip(1), temperature=0.5),
        bag_divergence(torch.zeros(3, 10), regions, temperature=0.5),
    )
    photo = torch.tensor([[2.0, 0.0]])
    p, q = math.exp(2) / (1 + math.exp(2)), (0.5 + math.exp(1) / (1 + math.exp(1))) / 2
    expected = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    value = bag_divergence(photo, torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]), temperature=1.0)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert value > bag_divergence(photo / 4, torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]), temperature=1.0)


def test_each_head_has_its_centre_and_its_teacher(batch):
    method = make()
    views = method.views(batch)
    seen = method.teacher.network[0](torch.cat([view.pixels for view in views[:2]]))
    method.loss(views)
    torch.testing.assert_close(method.centre, 0.1 * method.teacher.network[1](seen).mean(0))
    torch.testing.assert_close(method.region_centre, 0.1 * method.region_teacher(seen.tokens).mean((0, 1)))
    with torch.no_grad():
        method.region_head.project[0].bias.fill_(1.0)
    method.clock = Clock(0, 10)
    method.step_end(method.clock)
    moved = method.region_teacher.network.project[0].bias
    torch.testing.assert_close(moved, torch.full_like(moved, 0.004))


def test_teachers_learn_nothing(batch):
    method = make()
    sum(method.loss(method.views(batch)).values()).backward()
    assert all((p.grad is not None) == p.requires_grad for p in method.parameters())
    assert not any(
        p.requires_grad for p in [*method.teacher.parameters(), *method.region_teacher.parameters()]
    )
    frozen = [head.prototypes.weight.grad.abs().sum() for head in (method.head, method.region_head)]
    assert frozen == [0, 0]  # of the first epoch


def test_mistakes_are_one_line(batch):
    with pytest.raises(BadInput, match=r"regions in \[0, 1\] and bag of 0 or more; got 2 and 1.0"):
        make(regions=2)

    class Vectors(nn.Module):
        out_dim, input_spec = 3, {"size": 16}

        def forward(self, images):
            return images.mean((2, 3))

    method = CMD(Vectors(), **SMALL)
    with pytest.raises(BadInput, match="Regions of crops need an encoder with tokens"):
        method.loss(method.views(batch))
