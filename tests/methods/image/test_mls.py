"""MLS: labels and loss as loops, dictionaries in step, and who picks and who learns."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from two_processes import few_digits
from vergence.core import BadInput, Clock
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.encoders import build
from vergence.methods.image.mls import MLS
from vergence.methods.image.views import pair

CONTRACT = {
    "options": {"queue": 512, "momentum": 0.9},
    "two": {"": {"source": few_digits}},
    "exempt": {"labels": "80 steps are few for a queue and a slow teacher; its run of record measures"},
}


def make(**options):
    torch.manual_seed(0)
    encoder = build("resnet-tiny", size=16, width=8, blocks=(1, 1))
    return MLS(encoder, **{"dim": 6, "queue": 20, "positives": 3, **options})


@pytest.fixture
def views():
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (5, 3, 20, 20), dtype=torch.uint8)
    return pair(16)(ImageBatch(pixels, torch.arange(5), torch.full((5,), -1)))


def test_labels_and_loss_equal_the_formulas_written_as_loops(views):
    method = make(temperature=0.3, bias=-2.0).eval()
    seen, meant = method.encoder(views[0]).pooled, method.teacher(views[1]).pooled
    said = normalize(method.projector(seen), dim=1)
    vectors = torch.cat([normalize(meant, dim=1), method.queue.rows[0]])
    keys = torch.cat([normalize(method.teacher_projector(meant), dim=1), method.queue.rows[1]])
    costs = []
    for b in range(5):
        likeness = torch.cosine_similarity(seen[b][None], vectors, dim=1)
        picked = set(likeness.argsort(descending=True)[:3].tolist())
        for i, key in enumerate(keys):
            p = torch.sigmoid(said[b] @ key / 0.3 - 2)
            costs.append(-torch.log(p if i in picked else 1 - p))
    torch.testing.assert_close(method.loss(views)["labels"], torch.stack(costs).sum() / 5)


def test_a_photo_costs_as_much_however_many_are_beside_it_and_more_the_longer_the_dictionary(views):
    first, longer = make(bias=0.0).eval(), make(bias=0.0, queue=200).eval()
    none = torch.zeros(6)
    for method in (first, longer):
        method.projector = Always(none)  # every answer is half yes
    assert first.loss(views)["labels"].item() == pytest.approx(25 * math.log(2), rel=1e-5)
    assert longer.loss(views)["labels"].item() == pytest.approx(205 * math.log(2), rel=1e-5)


def test_by_default_a_cosine_of_one_is_as_much_yes_as_no():
    assert make(temperature=0.25).bias == -4
    assert make(temperature=0.25, bias=-1.0).bias == -1


def test_dictionaries_stay_in_step_and_a_photo_finds_itself(views):
    method = make().train()
    start = copy.deepcopy(method)
    method.loss(views)
    method.step_end(Clock(1, 10, 1))
    meant = start.teacher(views[1]).pooled
    torch.testing.assert_close(method.queue.rows[0][:5], normalize(meant, dim=1))
    torch.testing.assert_close(method.queue.rows[1][:5], normalize(start.teacher_projector(meant), dim=1))
    own = method.label(meant, method.queue.rows[0])
    assert own.sum(1).tolist() == [3] * 5 and own[:, :5].diagonal().tolist() == [1] * 5


def test_labels_have_no_gradient_and_come_from_the_encoder_not_from_the_projector(views):
    method = make()
    method.loss(views)["labels"].backward()
    assert all((p.grad is not None) == p.requires_grad for p in method.parameters())
    seen = method.encoder(views[0]).pooled
    before = method.label(seen, method.queue.rows[0])
    with torch.no_grad():
        for p in method.projector.parameters():
            p.normal_()
    assert torch.equal(method.label(seen, method.queue.rows[0]), before)
    assert torch.equal(method.label(7 * seen, method.queue.rows[0]), before)  # unit length


class Always(nn.Module):
    """The same projection of every photo."""

    def __init__(self, row):
        super().__init__()
        self.row = torch.as_tensor(row)

    def forward(self, x):
        return self.row.expand(len(x), -1)


def test_finding_the_positives_costs_less_than_turning_away_from_them(views):
    method = make(positives=5).eval()
    labels = torch.zeros(5, 25)
    labels[:, :5] = 1  # the batch itself
    method.label = lambda seen, vectors: labels
    present = [1.0, 0, 0, 0, 0, 0]
    method.projector = Always(present)
    method.teacher_projector = Always(present)
    result = method.loss(views)["labels"]
    method.teacher_projector = Always([-x for x in present])
    assert result < method.loss(views)["labels"]


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="1 <= positives <= queue; got 0.2, 0.999, 30 and 20"):
        make(positives=30)
