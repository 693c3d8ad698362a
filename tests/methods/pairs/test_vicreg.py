import torch

from vergence.losses import vicreg
from vergence.methods.pairs.vicreg import VICReg

CONTRACT = {
    "kinds": {"graph": ("", "graphs")},
    "options": {"hidden": 256},
    "exempt": {
        "labels image": "80 steps gain nothing (29 %, untrained 31); its run of record does",
        "labels events": "80 steps gain little (63 %, untrained 61); 240 do (81 %, untrained 68)",
        "labels graph-graphs": "80 steps gain nothing on graphs this small (73 %, untrained 78)",
    },
}


def test_terms_are_those_of_the_projections(encoder, toy):
    method, views = (
        VICReg(encoder, hidden=24, invariance=3.0, variance=2.0, covariance=0.5).eval(),
        toy.draw_pair(),
    )
    first, second = (method.projector(method.encode(view)) for view in views)
    wanted = vicreg(first, second, invariance=3.0, variance=2.0, covariance=0.5)
    got = method.loss(views)
    assert list(got) == ["invariance", "variance", "covariance"]
    torch.testing.assert_close(got, wanted)


def test_the_projector_is_four_times_as_wide_as_the_encoder(encoder):
    assert [m.out_features for m in VICReg(encoder).projector if hasattr(m, "out_features")] == [64, 64, 64]
    assert VICReg(encoder).projector[-1].bias is None


def test_every_trainable_parameter_learns(encoder, toy):
    assert toy.wrong_gradients(VICReg(encoder)) == []


def test_a_few_steps_find_what_the_views_share(encoder, toy):
    method = VICReg(encoder)
    before = toy.found(method)
    start, end = toy.train(method.train())
    assert end < 0.8 * start
    assert toy.found(method) > 2 * before
    assert toy.spread(method) > 3


def test_without_the_variance_term_all_become_one(encoder, toy):
    method = VICReg(encoder, variance=0.0)
    views = toy.draw_pair()
    toy.train(method.train(), steps=120)
    with torch.no_grad():
        out = method.train().projector(method.encode(views[0]))
    assert out.std(dim=0).mean() < 0.1


def test_the_recipe_is_the_papers():
    recipe = VICReg.recipe
    assert (recipe.optimizer, recipe.weight_decay, recipe.epochs) == ("lars", 1e-6, 1000)
    assert recipe.lr / recipe.batch == 0.2 / 256 and VICReg.views == "pair"
