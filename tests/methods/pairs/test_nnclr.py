import sys

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from two_processes import few_digits
from vergence.core import BadInput, Clock
from vergence.methods.pairs.nnclr import NNCLR

CONTRACT = {
    "options": {"dim": 32, "predictor_hidden": 64, "queue": 256},
    "two": {"": {"source": few_digits}},
    "exempt": {
        "labels image": "80 steps gain nothing (27 %, untrained 29); its world measures",
        "labels events": "80 steps gain nothing (61 %, untrained 61)",
        "learns tables": "its queue holds all 240 rows as they were; loss and labels (59 %, 56) gain little",
        "learns video": "its queue holds all 256 clips as they were, and vectors spread by 0.045, not 0.05",
    },
}


def make(encoder, **options):
    return NNCLR(encoder, **{"dim": 8, "predictor_hidden": 12, "queue": 20, **options})


class Samples:
    uri = "samples"

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count


def test_the_other_view_is_found_by_the_nearest_row_of_the_queue(encoder, toy):
    method, views = make(encoder, temperature=0.3).eval(), toy.draw_pair(6)
    z = [method.projector(method.encode(view)).detach() for view in views]
    (rows,) = method.queue.rows
    total = 0.0
    for asks, other in ((0, 1), (1, 0)):
        p = normalize(method.predictor(z[other]), dim=1)
        near = torch.stack(
            [max(rows, key=lambda row, x=x: float(normalize(x, dim=0) @ row)) for x in z[asks]]
        )
        total += cross_entropy(near @ p.T / 0.3, torch.arange(6)) / 2
    torch.testing.assert_close(method.loss(views)["contrast"], total)


def test_processes_share_what_is_to_be_found(encoder, toy, monkeypatch):
    method, views = make(encoder).eval(), toy.draw_pair(12)
    p = [method.predictor(method.projector(method.encode(view))) for view in views]
    share = []
    for own, others in [(slice(0, 6), slice(6, 12)), (slice(6, 12), slice(0, 6))]:
        sent = iter([x[others] for x in p])
        monkeypatch.setattr(
            sys.modules[NNCLR.__module__], "gather", lambda x, sent=sent: torch.cat([x, next(sent)])
        )
        share.append(method.loss([view[own] for view in views])["contrast"])
    monkeypatch.undo()
    torch.testing.assert_close(sum(share) / 2, method.loss(views)["contrast"])


def test_the_first_views_enter_the_queue_after_the_step(encoder, toy):
    method, views = make(encoder), toy.draw_pair(6)
    before = method.queue.rows[0].clone()
    z = normalize(method.eval().projector(method.encode(views[0])), dim=1).detach()
    method.loss(views)
    assert torch.equal(method.queue.rows[0], before)
    method.step_end(Clock(1, 10, 1))
    torch.testing.assert_close(method.queue.rows[0][:6], z)
    assert torch.equal(method.queue.rows[0][6:], before[6:])
    method.step_end(Clock(2, 10, 1))
    assert torch.equal(method.queue.rows[0][6:], before[6:])


def test_the_queue_holds_no_more_than_there_are_samples(encoder):
    for count, held in ((50, 20), (8, 8)):
        method = make(encoder)
        method.setup(Samples(count))
        assert method.queue.rows[0].shape == (held, 8)


def test_the_queue_is_remembered_and_not_learned(encoder, toy):
    method = make(encoder)
    assert toy.wrong_gradients(method) == []
    assert not method.queue.rows[0].requires_grad


def test_a_few_steps_find_what_the_views_share(encoder, toy):
    method = make(encoder, dim=16, queue=512)
    before = toy.found(method)
    start, end = toy.train(method.train())
    assert end < start
    assert toy.found(method) > 1.5 * before
    assert toy.spread(method) > 3


def test_the_recipe_is_the_papers_and_mistakes_are_one_line(encoder):
    recipe = NNCLR.recipe
    assert (recipe.optimizer, recipe.weight_decay, recipe.warmup, recipe.epochs) == ("lars", 1e-6, 10, 1000)
    assert recipe.lr / recipe.batch == pytest.approx(0.3 / 256)
    with pytest.raises(BadInput, match="a queue of 1 or more; got 0 and 20"):
        make(encoder, temperature=0)
