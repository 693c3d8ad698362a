import math

import numpy as np
import pytest
import torch
from torch.nn.functional import log_softmax

from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.losses import centred
from vergence.methods.image.dino import DINO
from vergence.methods.image.encoders import build

CONTRACT = {
    "encoder": {"name": "resnet-tiny", "width": 16},
    "options": {"prototypes": 64, "hidden": 64, "bottleneck": 32, "n_local": 2, "momentum": 0.9},
    "exempt": {"labels": "80 steps are few for a student of its own copy; its run of record measures"},
    "two": {"trained": {"options": {"freeze_prototypes": 0}}, "frozen": {}},
}
SMALL = {"prototypes": 24, "hidden": 16, "bottleneck": 8, "n_local": 2}


def make(encoder="vit-micro", **options):
    torch.manual_seed(0)
    return DINO(build(encoder, size=16), **{**SMALL, **options})


@pytest.fixture
def batch():
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    return ImageBatch(pixels, torch.arange(8), torch.full((8,), -1))


def test_crops_are_two_large_ones_and_small_ones_that_know_where_they_were(batch):
    method = make(n_local=3)
    views = method.views(batch)
    assert [view.pixels.shape[-1] for view in views] == [16, 16, 6, 6, 6]  # 16 * 96 / 224 = 6.9, patches of 2
    assert make("resnet-tiny").views(batch)[2].pixels.shape[-1] == 7
    method.configure_views({"flip": 0.0, "scale": (0.9, 1.0)})
    views = method.views(batch)
    assert not any(view.flip.any() for view in views)
    assert max((view.box[:, 2] * view.box[:, 3]).max() for view in views[2:]) <= 0.45 * 256


def test_every_crop_is_paired_with_the_other_large_one(batch):
    method = make()
    method.centre.copy_(torch.randn(24))
    views = method.views(batch)
    student = [method.head(method.encoder(view)) for view in views]
    teacher = [method.teacher(view) for view in views[:2]]
    targets = [torch.softmax((scores - method.centre) / 0.04, dim=1) for scores in teacher]
    costs = [
        -(targets[t] * log_softmax(student[s] / 0.1, dim=1)).sum(1).mean()
        for t in range(2)
        for s in range(4)
        if s != t
    ]
    assert method.loss(views)["dino"].item() == pytest.approx(sum(costs).item() / 6, rel=1e-4)


def test_the_centre_follows_the_teachers_scores_after_they_were_used(batch):
    method, still = make(), make(centre_momentum=1.0)
    views = method.views(batch)
    mean = torch.cat([method.teacher(view) for view in views[:2]]).mean(0)
    first = method.loss(views)["dino"]
    torch.testing.assert_close(method.centre, 0.1 * mean)
    torch.testing.assert_close(still.loss(views)["dino"], first)
    assert not still.centre.any()
    assert method.loss(views)["dino"] != still.loss(views)["dino"]


def test_centring_leaves_nothing_where_all_say_the_same_and_sharpening_makes_one_win():
    shared = torch.randn(1, 24).expand(6, -1)
    torch.testing.assert_close(centred(shared, shared[0], temperature=0.04), torch.full((6, 24), 1 / 24))
    scores = torch.rand(6, 24)

    def entropy(temperature):
        target = centred(scores, torch.zeros(24), temperature=temperature)
        return torch.special.entr(target).sum(1).mean().item()

    assert entropy(1e-4) < 0.05 < entropy(0.04) < entropy(0.1) < entropy(100.0) <= math.log(24) + 1e-5


@pytest.mark.parametrize("warmup", [0, 1, 2, 5])
def test_the_teachers_temperature_rises_epoch_by_epoch(warmup):
    method = make(teacher_warmup=warmup)
    wanted = np.concatenate([np.linspace(0.04, 0.07, warmup), np.full(8 - warmup, 0.07)])
    for step, value in enumerate(wanted.repeat(3)):
        method.clock = Clock(step, 24, 3)
        assert method.sharpness() == pytest.approx(value)


def test_the_teacher_keeps_the_share_of_the_step_that_was_taken():
    method = make(momentum=0.5)
    before = method.teacher.network[1].prototypes.weight.clone()
    with torch.no_grad():
        method.head.prototypes.weight.add_(1.0)
    method.clock = Clock(4, 10, 1)
    method.step_end(Clock(5, 10, 1))
    keep = 1 - 0.5 * 0.5 * (1 + math.cos(math.pi * 0.4))
    torch.testing.assert_close(method.teacher.network[1].prototypes.weight, before + (1 - keep))


def test_only_the_student_learns_and_the_prototypes_wait_an_epoch(batch):
    method = make()
    for epoch, moves in ((0, False), (1, True)):
        method.clock = Clock(epoch, 10, 1)
        method.zero_grad()
        method.loss(method.views(batch))["dino"].backward()
        assert bool(method.head.prototypes.weight.grad.any()) is moves
        assert all(p.grad is not None for p in (*method.encoder.parameters(), *method.head.parameters()))
    assert all(p.grad is None for p in method.teacher.parameters())


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match=r"temperatures above 0; got 0.1 and \(0.04, 0.0\)"):
        make(teacher_temperature=(0.04, 0.0))
    with pytest.raises(BadInput, match="momentum and centre_momentum in .* got 1.1 and 0.9"):
        make(momentum=1.1)
