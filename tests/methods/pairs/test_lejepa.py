import sys

import pytest
import torch

from vergence.core import BadInput, Clock
from vergence.losses import random_directions, sigreg
from vergence.methods.pairs.lejepa import LeJEPA

CONTRACT = {
    "options": {"dim": 16, "hidden": 64, "directions": 64},
    "exempt": {
        "labels": "80 steps gain little (photos 25 %, untrained 29; events 59 and 61, tables 61 and 56)"
    },
}


def make(encoder, **options):
    return LeJEPA(encoder, **{"dim": 8, "hidden": 24, "directions": 16, **options})


def drawn(step):
    return random_directions(8, 16, generator=torch.Generator().manual_seed(step))


def test_views_agree_about_their_mean_and_each_is_held_against_a_normal_cloud(encoder, toy):
    method, views = make(encoder, weight=0.2).eval(), toy.draw_pair()
    first, second = (method.projector(method.encode(view)) for view in views)
    mean = (first + second) / 2
    agree = ((first - mean).square().mean() + (second - mean).square().mean()) / 2
    apart = (sigreg(first, drawn(0)) + sigreg(second, drawn(0))) / 2
    torch.testing.assert_close(method.loss(views), {"agree": 0.8 * agree, "gaussian": 0.2 * apart})


def test_directions_are_new_every_step_and_those_of_the_step(encoder, toy):
    method, views = make(encoder).eval(), toy.draw_pair()
    seen = []
    for step in (3, 4, 3):
        method.clock = Clock(step, 10, 1)
        seen.append(method.loss(views)["gaussian"].item())
    assert seen[0] == seen[2] != seen[1]


def test_two_processes_see_the_cloud_of_both(encoder, toy, monkeypatch):
    method, views = make(encoder).eval(), toy.draw_pair(12)
    z = [method.projector(method.encode(view)) for view in views]
    share = []
    for own, others in [(slice(0, 6), slice(6, 12)), (slice(6, 12), slice(0, 6))]:
        sent = iter([x[others] for x in z])
        monkeypatch.setattr(
            sys.modules[LeJEPA.__module__], "gather", lambda x, sent=sent: torch.cat([x, next(sent)])
        )
        share.append(sum(method.loss([view[own] for view in views]).values()))
    monkeypatch.undo()
    torch.testing.assert_close(sum(share) / 2, sum(method.loss(views).values()))


def test_every_trainable_parameter_learns(encoder, toy):
    assert toy.wrong_gradients(make(encoder)) == []


def spread(method, view):
    """Return the largest standard deviation of what the projector says."""
    with torch.no_grad():
        return method.projector(method.encode(view)).std(0).max().item()


def test_a_few_steps_find_what_the_views_share_and_without_the_test_all_becomes_one(encoder, toy):
    method = make(encoder)
    before = toy.found(method)
    start, end = toy.train(method.train())
    assert end < 0.8 * start
    assert toy.found(method) > 1.5 * before
    assert toy.spread(method) > 3
    alone = make(encoder, weight=0.0)
    toy.train(alone.train())
    view = toy.draw_pair()[0]
    assert spread(alone, view) < 0.2 * spread(method, view)


def test_the_recipe_is_the_released_one_and_mistakes_are_one_line(encoder):
    recipe = LeJEPA.recipe
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay) == ("adamw", 5e-4, 0.05)
    assert recipe.min_lr == pytest.approx(recipe.lr / 1000)
    with pytest.raises(BadInput, match=r"a weight in \[0, 1\] and 1 direction or more; got 2 and 16"):
        make(encoder, weight=2)
