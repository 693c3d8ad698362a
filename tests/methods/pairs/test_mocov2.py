import copy

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from two_processes import few_digits
from vergence.core import Clock
from vergence.core.errors import BadInput
from vergence.losses import queue_nce
from vergence.methods.pairs.mocov2 import MoCoV2

CONTRACT = {
    "options": {"queue": 512, "momentum": 0.9},
    "two": {"": {"source": few_digits}},
    "exempt": {
        "labels": "80 steps are few for a queue and a slow teacher; its run of record measures",
        "learns graph": "older keys of the same 240 nodes are its negatives: it collapses (std 0.02)",
        "learns tables": "older keys of the same 240 rows are its negatives: it collapses (std 0.03)",
    },
}


def test_a_query_asks_its_own_key_against_the_queue_alone(encoder, toy):
    method, views = MoCoV2(encoder, dim=8, queue=20).eval(), toy.draw_pair(6)
    q = normalize(method.projector(method.encode(views[0])), dim=1)
    k = normalize(method.teacher(views[1]), dim=1)
    scores = (
        torch.stack([torch.cat([(q[i] @ k[i])[None], method.queue.rows[0] @ q[i]]) for i in range(6)]) / 0.2
    )
    expected = cross_entropy(scores, torch.zeros(6, dtype=torch.int64))
    torch.testing.assert_close(method.loss(views)["contrast"], expected)


def test_equal_rows_give_the_logarithm_of_all_that_are_asked_and_wrong_shapes_are_refused():
    one = torch.ones(3, 4)
    assert queue_nce(one, one, torch.ones(9, 4), temperature=0.1).item() == pytest.approx(
        torch.tensor(10.0).log()
    )
    with pytest.raises(ValueError, match="queue_nce needs queries and keys"):
        queue_nce(one, one[:2], one, temperature=1)
    with pytest.raises(ValueError, match="temperature > 0; got 0"):
        queue_nce(one, one, one, temperature=0)


def test_the_student_learns_and_neither_teacher_nor_queue_does(encoder, toy):
    method = MoCoV2(encoder, queue=64)
    assert toy.wrong_gradients(method) == []
    assert not method.queue.rows[0].requires_grad


def test_keys_go_into_the_queue_after_the_step_and_the_teacher_follows(encoder, toy):
    method, views = MoCoV2(encoder, dim=8, queue=10, momentum=0.9).train(), toy.draw_pair(4)
    before, start = method.queue.rows[0].clone(), copy.deepcopy(method.teacher)
    method.loss(views)
    method.loss(views)  # the second half of an accumulated step
    assert torch.equal(method.queue.rows[0], before)
    with torch.no_grad():
        method.projector[0].weight.add_(1.0)
    method.step_end(Clock(step=1, total=10))
    after = method.queue.rows[0]
    torch.testing.assert_close(after[:4], normalize(start(views[1]), dim=1))
    assert torch.equal(after[:4], after[4:8]) and torch.equal(after[8:], before[8:])
    torch.testing.assert_close(
        method.teacher.network[1][0].weight, start.network[1][0].weight + 0.1, atol=1e-6, rtol=1e-5
    )


def test_a_few_steps_find_what_the_views_share(encoder, toy):
    method = MoCoV2(encoder, dim=8, queue=512, momentum=0.9)
    before = toy.found(method)
    toy.train(method.train())
    assert toy.found(method) > 1.5 * before and toy.spread(method) > 3


def test_the_recipe_is_the_papers_and_mistakes_are_one_line(encoder):
    recipe = MoCoV2.recipe
    assert (recipe.optimizer, recipe.lr, recipe.batch, recipe.weight_decay) == ("sgd", 0.03, 256, 1e-4)
    with pytest.raises(BadInput, match="queue of 1 or more; got 0.2, 0.999 and 0"):
        MoCoV2(encoder, queue=0)
