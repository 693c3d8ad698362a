import sys

import torch

from vergence.losses import nt_xent
from vergence.methods.pairs.simclr import SimCLR

CONTRACT = {
    "kinds": {"graph": ("", "graphs")},
    "exempt": {
        "labels events": "80 steps gain little (63 %, untrained 61); 240 do (81 %, untrained 68)",
        "labels graph-graphs": "80 steps gain nothing on graphs this small (72 %, untrained 78)",
    },
}


def test_loss_is_nt_xent_of_the_projections(encoder, toy):
    method, views = SimCLR(encoder, dim=8, temperature=0.3).eval(), toy.draw_pair()
    first, second = (method.projector(method.encode(view)) for view in views)
    assert first.shape == (128, 8)
    torch.testing.assert_close(method.loss(views), {"contrast": nt_xent(first, second, temperature=0.3)})


def test_processes_share_their_negatives(encoder, toy, monkeypatch):
    method, views = SimCLR(encoder).eval(), toy.draw_pair(12)
    projections = [method.projector(method.encode(view)) for view in views]
    share = []
    for own, others in [(slice(0, 6), slice(6, 12)), (slice(6, 12), slice(0, 6))]:
        sent = iter([p[others] for p in projections])  # what the other process brings, view by view
        monkeypatch.setattr(
            sys.modules[SimCLR.__module__], "gather", lambda x, sent=sent: torch.cat([x, next(sent)])
        )
        share.append(method.loss([view[own] for view in views])["contrast"])
    monkeypatch.undo()
    torch.testing.assert_close(sum(share) / 2, method.loss(views)["contrast"])


def test_every_trainable_parameter_learns(encoder, toy):
    assert toy.wrong_gradients(SimCLR(encoder)) == []


def test_a_few_steps_find_what_the_views_share(encoder, toy):
    method = SimCLR(encoder, temperature=0.2)
    before = toy.found(method)
    start, end = toy.train(method.train())
    assert end < 0.8 * start
    assert toy.found(method) > 2 * before
    assert toy.spread(method) > 3


def test_the_recipe_is_the_papers():
    recipe = SimCLR.recipe
    assert (recipe.optimizer, recipe.weight_decay, recipe.warmup) == ("lars", 1e-6, 10)
    assert recipe.lr / recipe.batch == 0.3 / 256 and SimCLR.views == "pair"
