import pytest
import torch
from torch.nn.functional import log_softmax, normalize

from two_processes import few_digits
from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.encoders import build
from vergence.methods.image.swav import SwAV

CONTRACT = {
    "options": {"prototypes": 16, "hidden": 64, "dim": 32, "n_local": 2},
    "exempt": {"labels": "80 steps are few for prototypes of patterns; its run of record measures"},
    "two": {
        "trained": {"source": few_digits, "options": {"freeze_prototypes": 0}},
        "frozen": {"source": few_digits},
        "queue": {"source": few_digits, "options": {"freeze_prototypes": 0, "queue": 16, "queue_start": 0}},
    },
}
SMALL = {"prototypes": 6, "hidden": 16, "dim": 8, "n_local": 2}


def make(**options):
    torch.manual_seed(0)
    return SwAV(build("resnet-tiny", size=16, width=8), **{**SMALL, **options})


@pytest.fixture
def batch():
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    return ImageBatch(pixels, torch.arange(8), torch.full((8,), -1))


def vectors_of(method, views):
    """Pass the large crops together, then the small ones, and all through the head at once."""
    large, small = torch.cat([v.pixels for v in views[:2]]), torch.cat([v.pixels for v in views[2:]])
    encoded = torch.cat([method.encoder(large).pooled, method.encoder(small).pooled])
    return normalize(method.projector(encoded), dim=1)


def balanced(scores, rounds=3):
    """Sinkhorn-Knopp as the paper writes it, on a matrix of prototypes by photos, in float64."""
    q = torch.exp(scores.double() / 0.05).T
    q /= q.sum()
    k, b = q.shape
    for _ in range(rounds):
        q = q / q.sum(1, keepdim=True) / k
        q = q / q.sum(0, keepdim=True) / b
    return (b * q).T.float()


def test_each_crop_predicts_what_the_large_others_were_assigned(batch):
    method = make()
    views = method.views(batch)
    assert [view.pixels.shape[-1] for view in views] == [16, 16, 7, 7]
    scores = (vectors_of(method, views) @ method.prototypes.weight.T).chunk(4)
    cost = 0.0
    for t in range(2):
        target = balanced(scores[t].detach())
        cost += sum(-(target * log_softmax(scores[s] / 0.1, dim=1)).sum(1).mean() for s in range(4) if s != t)
    assert method.loss(views)["swap"].item() == pytest.approx(cost.item() / 6, rel=1e-4)


def test_an_assignment_uses_all_prototypes_alike_though_one_is_the_nearest_to_all():
    method = make(rounds=50)
    scores = 0.1 * torch.rand(24, 6) + torch.tensor([0.5, 0, 0, 0, 0, 0])
    target = method.assign(scores, 0)
    torch.testing.assert_close(target.sum(0), torch.full((6,), 4.0), rtol=1e-3, atol=0)
    torch.testing.assert_close(target.sum(1), torch.ones(24))


def test_a_full_queue_is_assigned_along_and_an_empty_one_is_not(batch):
    method = make(queue=16, queue_start=1)
    views = method.views(batch)
    for step, filled in enumerate([0, 8, 16]):
        method.clock = Clock(step, 10, 1)
        method.loss(views)
        method.step_end(method.clock)
        assert int(method.queue.filled) == filled
    scores = torch.rand(8, 6)
    for crop in (0, 1):
        earlier = method.queue.rows[crop] @ method.prototypes.weight.T
        torch.testing.assert_close(
            method.assign(scores, crop), balanced(torch.cat([earlier, scores]))[-8:], rtol=1e-3, atol=1e-6
        )
    vectors = vectors_of(method, views).chunk(4)  # nothing was trained
    for crop in (0, 1):
        torch.testing.assert_close(method.queue.rows[crop][8:], vectors[crop], rtol=1e-4, atol=1e-5)


def test_the_queue_is_used_when_it_is_full(batch):
    method = make(queue=16, queue_start=0)
    scores = torch.rand(8, 6)
    alone = balanced(scores)
    views = method.views(batch)
    for _ in range(2):
        torch.testing.assert_close(method.assign(scores, 0), alone, rtol=1e-3, atol=1e-6)
        method.loss(views)
        method.step_end(method.clock)
    assert not torch.allclose(method.assign(scores, 0), alone, atol=1e-3)


def test_prototypes_wait_an_epoch_learn_and_keep_their_length(batch):
    method = make()
    for epoch, moves in ((0, False), (1, True)):
        method.clock = Clock(epoch, 10, 1)
        method.zero_grad()
        method.loss(method.views(batch))["swap"].backward()
        assert bool(method.prototypes.weight.grad.any()) is moves
        assert all(p.grad is not None for p in method.parameters())
    with torch.no_grad():
        method.prototypes.weight.sub_(method.prototypes.weight.grad)
    method.step_end(method.clock)
    torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(6))


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="1 round or more and a queue of 0 or more; got 0.1, 0.05, 0 and 0"):
        make(rounds=0)
    with pytest.raises(BadInput, match="SwAV needs temperatures above 0"):
        make(assignment_temperature=0.0)
