import copy

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from two_processes import few_digits
from vergence.core import BadInput, Clock, Features
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.densecl import DenseCL, share_in_place
from vergence.methods.image.encoders import build
from vergence.methods.image.views import pair

CONTRACT = {
    "encoder": {"blocks": (1, 1)},  # cells of 4 x 4 in pictures of 16 pixels
    "options": {"queue": 512, "momentum": 0.9},
    "two": {"": {"source": few_digits}},
    "exempt": {"labels": "80 steps are few for a queue and a slow teacher; its run of record measures"},
}


def make(**options):
    torch.manual_seed(0)
    return DenseCL(
        build("resnet-tiny", size=16, width=8, blocks=(1, 1)), **{"dim": 6, "queue": 20, **options}
    )


@pytest.fixture
def views():
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (5, 3, 20, 20), dtype=torch.uint8)
    return pair(16)(ImageBatch(pixels, torch.arange(5), torch.full((5,), -1)))


def test_both_terms_equal_the_formulas_written_as_loops(views):
    method = make(dense=0.3).eval()
    seen, meant = method.encoder(views[0]), method.teacher(views[1])
    q, q_cells = method.heads(seen)
    k, k_cells = method.teacher_heads(meant)
    photos, cells = method.queue.rows

    def cost(query, key, queue):
        query, key = normalize(query, dim=0), normalize(key, dim=0)
        scores = torch.cat([(query @ key)[None], queue @ query]) / 0.2
        return cross_entropy(scores[None], torch.zeros(1, dtype=torch.int64))

    dense = []
    for b in range(5):
        for s in range(16):
            likeness = torch.cosine_similarity(seen.tokens[b, s][None], meant.tokens[b], dim=1)
            dense.append(cost(q_cells[b, s], k_cells[b, likeness.argmax()], cells))
    terms = method.loss(views)
    whole = torch.stack([cost(q[b], k[b], photos) for b in range(5)]).mean()
    torch.testing.assert_close(terms["contrast"], 0.7 * whole)
    torch.testing.assert_close(terms["dense"], 0.3 * torch.stack(dense).mean())


def test_a_photo_adds_one_key_and_its_mean_cell_to_queues_that_stay_in_step(views):
    method = make().train()
    start = copy.deepcopy(method)
    before = [rows.clone() for rows in method.queue.rows]
    method.loss(views)
    assert torch.equal(method.queue.rows[1], before[1])
    method.step_end(Clock(1, 10, 1))
    key, cells = start.teacher_heads(start.teacher(views[1]))
    torch.testing.assert_close(method.queue.rows[0][:5], normalize(key, dim=1))
    torch.testing.assert_close(method.queue.rows[1][:5], normalize(cells.mean(1), dim=1))
    assert torch.equal(method.queue.rows[1][5:], before[1][5:])


def test_the_choice_of_a_match_has_no_gradient_and_the_teacher_learns_nothing(views):
    method = make()
    terms = method.loss(views)
    terms["dense"].backward(retain_graph=True)
    assert all(p.grad is not None for p in method.heads.cells.parameters())
    assert all(p.grad is None for p in method.heads.photo.parameters())
    terms["contrast"].backward()
    assert all((p.grad is not None) == p.requires_grad for p in method.parameters())
    chosen = method.match(method.encoder(views[0]), method.teacher(views[1]))
    assert not chosen.requires_grad


def test_cells_wait_for_their_step(views):
    method = make(dense_from=3)
    for step, weight in ((2, 0.0), (3, 0.5)):
        method.clock = Clock(step, 10, 1)
        terms = method.loss(views)
        assert bool(terms["dense"] > 0) is bool(weight)
    method.dense = 0.0
    alone = method.loss(views)
    assert alone["dense"] == 0
    torch.testing.assert_close(alone["contrast"], 2 * terms["contrast"])


def test_two_views_of_one_crop_are_matched_in_place_and_a_mirror_image_is_not(views):
    method = make().eval()
    same = [views[0], views[0]]
    method.loss(same)
    assert method.pop_logged()["matched"] == 1
    place = torch.arange(16).expand(5, -1)
    assert share_in_place(place, same, (4, 4)) == 1
    assert share_in_place(place.flip(1), same, (4, 4)) == 0


def test_an_encoder_without_cells_and_mistakes_are_one_line(views):
    method = make()
    nothing = Features(pooled=torch.zeros(5, 16))
    with pytest.raises(BadInput, match="needs an encoder with cells; ConvNet has none"):
        method.match(nothing, nothing)
    with pytest.raises(BadInput, match="a queue of 1 or more; got 0.2, 0.999, 1.5 and 20"):
        make(dense=1.5)
