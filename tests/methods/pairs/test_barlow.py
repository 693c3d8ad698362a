import torch

from vergence.losses import barlow_twins
from vergence.methods.pairs.barlow import BarlowTwins

CONTRACT = {
    "kinds": {"graph": ("", "graphs")},
    "options": {"hidden": 256},
    "exempt": {
        "labels image": "80 steps gain nothing (27 %, untrained 31); its run of record does",
        "labels events": "80 steps gain little (63 %, untrained 61); 240 do (76 %, untrained 68)",
        "labels graph": "80 steps gain little on a graph this small (86 %, untrained 83)",
        "labels graph-graphs": "80 steps gain nothing on graphs this small (70 %, untrained 78)",
    },
}


def test_terms_are_those_of_the_projections(encoder, toy):
    method, views = BarlowTwins(encoder, hidden=24, weight=0.1).eval(), toy.draw_pair()
    first, second = (method.projector(method.encode(view)) for view in views)
    got = method.loss(views)
    assert list(got) == ["invariance", "redundancy"]
    torch.testing.assert_close(got, barlow_twins(first, second, weight=0.1))


def test_every_trainable_parameter_learns(encoder, toy):
    assert toy.wrong_gradients(BarlowTwins(encoder)) == []


def test_a_few_steps_find_what_the_views_share(encoder, toy):
    method = BarlowTwins(encoder)
    before = toy.found(method)
    start, end = toy.train(method.train())
    assert end < 0.8 * start
    assert toy.found(method) > 2 * before
    assert toy.spread(method) > 3


def test_without_the_redundancy_term_features_repeat_each_other(encoder, toy):
    def redundancy(weight):
        torch.manual_seed(0)
        method = BarlowTwins(type(encoder)(), weight=weight)
        toy.train(method.train())
        with torch.no_grad():
            first, second = (method.projector(method.encode(view)) for view in toy.draw_pair(512))
        return barlow_twins(first, second, weight=1.0)["redundancy"]

    assert redundancy(0.0) > 2 * redundancy(0.02)


def test_the_recipe_is_the_papers():
    recipe = BarlowTwins.recipe
    assert (recipe.optimizer, recipe.weight_decay, recipe.epochs) == ("lars", 1.5e-6, 1000)
    assert recipe.lr / recipe.batch == 0.2 / 256 and BarlowTwins.views == "pair"
