"""NPID: a softmax over the memory, its noise-contrastive estimate, and a memory of unit rows."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from vergence.core import Clock
from vergence.data.image.batch import ImageBatch
from vergence.methods.image import npid
from vergence.methods.image.npid import NPID

CONTRACT = {"exempt": {"labels": "80 steps gain nothing (30 %, untrained 31); its run of record does"}}


class Flat(nn.Module):
    input_spec, out_dim = {"size": 8}, 6

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 64, 6)

    def forward(self, images):
        images = getattr(images, "pixels", images)
        return self.linear((images / 255 if images.dtype == torch.uint8 else images).flatten(1))


class Photos:
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count


def photos(rows, seed=0):
    pixels = torch.randint(0, 256, (len(rows), 3, 8, 8), generator=torch.Generator().manual_seed(seed))
    return ImageBatch(pixels.to(torch.uint8), torch.tensor(rows), torch.full((len(rows),), -1))


@pytest.fixture
def method():
    torch.manual_seed(0)
    method = NPID(Flat(), dim=4, negatives=7)
    method.setup(Photos(12))
    return method


def test_the_memory_starts_as_unit_rows_one_a_photo_and_goes_into_the_checkpoint(method):
    assert method.memory.rows.shape == (12, 4)
    torch.testing.assert_close(method.memory.rows.norm(dim=1), torch.ones(12))
    assert not method.memory.rows.requires_grad
    assert {"memory.rows", "log_z"} <= set(method.state_dict())


def test_the_exact_loss_is_the_softmax_over_the_memory_written_as_a_loop(method):
    views = method.views(photos([3, 0, 11]))
    v = method.code(views[0])
    total = 0.0
    for row, own in zip(v, [3, 0, 11], strict=True):
        mass = [math.exp(torch.dot(row, m).item() / 0.1) for m in method.memory.rows]
        total -= math.log(mass[own] / sum(mass))
    assert method.loss(views)["instance"].item() == pytest.approx(total / 3, rel=1e-4)


def test_with_as_many_negatives_as_photos_and_the_exact_z_the_odds_are_the_softmax(method):
    method.negatives = 12
    v = method.code(method.views(photos([5]))[0])
    scores = v @ method.memory.rows.T / method.temperature
    method.log_z.copy_(scores.logsumexp(1)[0])
    h = method.log_odds(scores, 12).sigmoid()
    torch.testing.assert_close(h / (1 - h), scores.softmax(1))


def test_the_estimate_is_equation_7_written_as_a_loop(method):
    n, m = 12, method.negatives
    method.log_z.copy_(torch.tensor(2.0))
    scores = torch.randn(3, 1 + m)
    total = 0.0
    for row in scores.tolist():
        h = [p / (p + m / n) for p in (math.exp(s) / math.exp(2.0) for s in row)]
        total -= math.log(h[0]) + sum(math.log(1 - x) for x in h[1:])
    assert method.nce(scores, n).item() == pytest.approx(total / 3, rel=1e-5)


def test_the_estimate_prefers_a_photo_near_its_row_and_far_from_the_others(method):
    method.log_z.copy_(torch.tensor(2.0))
    near, far = torch.tensor([[9.0, *[-9.0] * 7]]), torch.tensor([[-9.0, *[9.0] * 7]])
    assert method.nce(near, 12) < method.nce(far, 12)


def test_z_comes_from_the_first_batch_and_stays(method):
    method.exact = False
    torch.manual_seed(3)
    views = method.views(photos([1, 2, 3, 4]))
    torch.manual_seed(5)
    method.loss(views)
    torch.manual_seed(5)
    drawn = torch.randint(12, (4, 7))
    rows = method.memory.rows[torch.cat([torch.tensor([[1], [2], [3], [4]]), drawn], 1)]
    mass = torch.exp((rows * method.code(views[0])[:, None]).sum(2) / 0.1)
    assert method.log_z.item() == pytest.approx(math.log(12 * mass.mean().item()), rel=1e-4)
    first = method.log_z.clone()
    method.loss(method.views(photos([7, 8], seed=9)))  # the second half of an accumulated step
    method.clock = Clock(1, 10, 5)
    method.loss(method.views(photos([7, 8], seed=9)))
    assert torch.equal(method.log_z, first)


def test_estimates_beyond_fifty_thousand_photos_unless_told(method, monkeypatch):
    monkeypatch.setattr(method, "nce", lambda scores, n: scores.new_tensor(float(scores.shape[1])))
    assert method.loss(method.views(photos([1, 2])))["instance"].item() != 8.0
    method.setup(Photos(50_001))
    assert method.loss(method.views(photos([1, 2])))["instance"].item() == 8.0


def test_rows_move_halfway_to_the_code_stay_unit_and_the_others_stay_put(method):
    before = method.memory.rows.clone()
    views = method.views(photos([2, 9]))
    v = method.code(views[0]).detach()
    method.loss(views)
    assert torch.equal(method.memory.rows, before)  # within a step the memory is what it was
    method.step_end(Clock(1, 2, 1))
    expected = normalize(0.5 * before[[2, 9]] + 0.5 * v, dim=1)
    torch.testing.assert_close(method.memory.rows[[2, 9]], expected)
    rest = [i for i in range(12) if i not in (2, 9)]
    assert torch.equal(method.memory.rows[rest], before[rest])
    after = method.memory.rows.clone()
    method.step_end(Clock(2, 2, 1))
    assert torch.equal(method.memory.rows, after)  # nothing new was seen


def test_a_photo_that_comes_twice_counts_once_in_any_order(method):
    other = copy.deepcopy(method)
    v = normalize(torch.randn(3, 4), dim=1)
    method.seen_codes = [(torch.tensor([4, 6]), v[:2]), (torch.tensor([4]), v[2:])]
    other.seen_codes = [(torch.tensor([4]), v[2:]), (torch.tensor([6, 4]), v[:2].flip(0))]
    for each in (method, other):
        each.step_end(Clock(1, 2, 1))
    torch.testing.assert_close(method.memory.rows, other.memory.rows, rtol=0, atol=0)
    torch.testing.assert_close(method.memory.rows.norm(dim=1), torch.ones(12))


def test_two_processes_write_each_others_photos(method, monkeypatch):
    theirs = {torch.int64: torch.tensor([7]), torch.float32: torch.tensor([[0.0, 0.0, 1.0, 0.0]])}
    monkeypatch.setattr(npid, "gather", lambda x: torch.cat([x, theirs[x.dtype]]))
    old = method.memory.rows[7].clone()
    method.loss(method.views(photos([2])))
    method.step_end(Clock(1, 2, 1))
    expected = normalize(old + torch.tensor([0.0, 0.0, 1.0, 0.0]), dim=0)
    torch.testing.assert_close(method.memory.rows[7], expected)


@pytest.mark.parametrize("exact", [True, False])
def test_everything_that_is_trained_gets_a_gradient_also_from_one_photo(method, exact):
    method.exact = exact
    loss = method.loss(method.views(photos([3])))["instance"]
    assert loss.isfinite()
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_codes_of_photos_are_unit_vectors(method):
    torch.testing.assert_close(method.embed(photos([0, 1])).norm(dim=1), torch.ones(2))


def test_mistakes_are_answered_in_one_line(method):
    with pytest.raises(ValueError, match="temperature > 0, momentum in .* got 0, 0.5 and 4096"):
        NPID(Flat(), temperature=0)
    with pytest.raises(ValueError, match="call setup"):
        NPID(Flat()).loss(method.views(photos([0])))
