"""PCD: the adapted head against the head itself, the loss as loops, what learns and what stays."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from two_processes import few_digits
from vergence.core import BadInput, Clock, Features
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.encoders import build
from vergence.methods.image.pcd import PCD, SpatialAdaptor, cells_of
from vergence.methods.image.views import pair
from vergence.nets import mlp

CONTRACT = {
    "encoder": {"blocks": (1, 1)},
    "options": {"teacher": "vergence:conv-tiny", "teacher_size": 24, "hidden": 32, "queue": 512},
    "two": {"": {"source": few_digits}},
}


def trained_head(*widths):
    """A head whose batch norms have statistics of their own."""
    head = mlp(*widths)
    for _ in range(3):
        head(2 + 3 * torch.randn(64, widths[0]))
    return head.eval()


def make(**options):
    torch.manual_seed(0)
    student, teacher = (build("resnet-tiny", size=16, width=width, blocks=(1, 1)) for width in (4, 8))
    return PCD(student, **{"teacher": teacher, "hidden": 12, "queue": 20, **options})


@pytest.fixture
def views():
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (5, 3, 20, 20), dtype=torch.uint8)
    return pair(16)(ImageBatch(pixels, torch.arange(5), torch.full((5,), -1)))


def test_the_mean_answer_of_the_adapted_head_is_the_heads_answer_to_the_mean_cell():
    torch.manual_seed(0)
    head, cells = trained_head(6, 10, 10, 4).double(), torch.randn(7, 9, 6, dtype=torch.float64)
    adapted = SpatialAdaptor(head)
    torch.testing.assert_close(adapted(cells).mean(1), head(cells.mean(1)))
    flat = cells[:, :1].expand_as(cells)
    torch.testing.assert_close(adapted(flat), head(flat.flatten(0, 1)).view(7, 9, 4))
    plain = head(cells.flatten(0, 1)).view(7, 9, 4)
    assert not torch.allclose(plain.mean(1), head(cells.mean(1)), atol=1e-2)


def test_the_adapted_head_is_a_frozen_copy_that_stays_in_evaluation():
    head = trained_head(6, 10, 4).train()
    adapted = SpatialAdaptor(head).train()
    assert all(p.requires_grad for p in head.parameters()) and head[1].training
    assert not any(p.requires_grad for p in adapted.parameters()) and not adapted.layers[1].training
    with pytest.raises(BadInput, match="linear layers, batch norms and ReLUs; got a GELU"):
        SpatialAdaptor(mlp(3, 4, act=nn.GELU).append(nn.GELU()))


def test_the_loss_equals_the_formula_written_as_loops(views):
    method = make(teacher_head=trained_head(16, 6, 5), temperature=0.3).eval()
    queue = method.queue.rows[0]
    costs = []
    for view in views:
        seen = method.relate(method.encoder(view).tokens)
        target = method.adaptor(method.teacher(view.pixels).tokens)
        for b in range(5):
            for n in range(16):
                said = normalize(method.project(seen[b, n][None]), dim=1)[0]
                scores = torch.cat([(said @ normalize(target[b, n], dim=0))[None], queue @ said]) / 0.3
                costs.append(cross_entropy(scores[None], torch.zeros(1, dtype=torch.int64)))
    torch.testing.assert_close(method.loss(views)["cells"], torch.stack(costs).mean())


def test_a_photo_adds_its_mean_cell_and_the_teacher_stays_as_it_was(views):
    method = make().train()
    before = copy.deepcopy(method.teacher.state_dict())
    rows = method.queue.rows[0].clone()
    method.loss(views)["cells"].backward()
    assert torch.equal(method.queue.rows[0], rows)
    method.step_end(Clock(1, 10, 1))
    mean = method.teacher(views[0].pixels).tokens.mean(1)
    torch.testing.assert_close(method.queue.rows[0][:5], normalize(mean, dim=1))
    assert torch.equal(method.queue.rows[0][5:], rows[5:])
    assert all(torch.equal(value, before[name]) for name, value in method.teacher.state_dict().items())
    assert all((p.grad is not None) == p.requires_grad for p in method.parameters())
    assert not any(p.requires_grad for p in method.teacher.parameters())


def test_a_student_that_says_what_the_teacher_says_pays_less_than_one_that_says_it_elsewhere(views):
    method = make(heads=0).eval()
    method.encoder, method.project = method.teacher, nn.Identity()
    same = method.loss(views)["cells"]
    moved = [copy.copy(view) for view in views]
    said = method.say
    method.say = lambda view: (said(view)[0].roll(5, 1), said(view)[1])
    assert same < method.loss(moved)["cells"]


def test_a_teacher_with_another_grid_is_brought_to_the_students(views):
    method = make(teacher=build("resnet-tiny", size=32, width=8, blocks=(1, 1)))
    assert method.teach(views[0], (4, 4)).shape == (5, 16, 16)


def test_mistakes_are_one_line():
    with pytest.raises(BadInput, match="needs a teacher, such as"):
        make(teacher=None)
    with pytest.raises(BadInput, match="heads that divide the encoder's width 8, or 0; got 0.2, 20 and 3"):
        make(heads=3)
    with pytest.raises(BadInput, match="Identity has none"):
        cells_of(nn.Identity(), Features(pooled=torch.zeros(5, 16)))
