import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from vergence.methods.pairs.simsiam import SimSiam

CONTRACT = {
    "exempt": {
        "labels image": "80 steps gain nothing (27 %, untrained 29)",
        "labels events": "80 steps gain nothing (57 %, untrained 61)",
        "labels tables": "80 steps gain little (57 %, untrained 56)",
    },
}


def test_each_view_predicts_the_others_vector(encoder, toy):
    method, views = SimSiam(encoder, dim=8).eval(), toy.draw_pair()
    z = [method.projector(method.encode(view)) for view in views]
    p = [method.predictor(x) for x in z]
    assert z[0].shape == p[0].shape == (128, 8)
    cosines = [cosine_similarity(p[0], z[1]), cosine_similarity(p[1], z[0])]
    torch.testing.assert_close(method.loss(views)["predict"], -(cosines[0] + cosines[1]).mean() / 2)


@pytest.mark.parametrize("stop", [True, False])
def test_what_is_predicted_is_held_still_where_the_gradient_is_stopped(encoder, toy, stop):
    method, views = SimSiam(encoder, stop_gradient=stop).eval(), toy.draw_pair()
    first, second = (method.projector(method.encode(view)) for view in views)
    still = (lambda x: x.detach()) if stop else (lambda x: x)
    value = -cosine_similarity(method.predictor(first), still(second)).mean()
    value = value - cosine_similarity(method.predictor(second), still(first)).mean()
    expected = torch.autograd.grad(value / 2, encoder.layers[0].weight)[0]
    result = torch.autograd.grad(method.loss(views)["predict"], encoder.layers[0].weight)[0]
    torch.testing.assert_close(result, expected)


def test_widths_follow_the_encoder_and_the_predictor_is_a_bottleneck(encoder):
    method = SimSiam(encoder)
    assert [layer.out_features for layer in method.projector if isinstance(layer, nn.Linear)] == [16, 16, 16]
    assert [layer.out_features for layer in method.predictor if isinstance(layer, nn.Linear)] == [4, 16]
    assert method.projector[-1].affine is False
    assert isinstance(SimSiam(encoder, predictor=False).predictor, nn.Identity)


def test_every_trainable_parameter_learns(encoder, toy):
    assert toy.wrong_gradients(SimSiam(encoder)) == []


def test_a_few_steps_find_what_the_views_share(encoder, toy):
    method = SimSiam(encoder)
    before = toy.found(method)
    start, end = toy.train(method.train())
    assert end < start - 0.1
    assert toy.found(method) > 1.5 * before
    assert toy.spread(method) > 3


def test_the_recipe_is_the_papers():
    recipe = SimSiam.recipe
    assert (recipe.optimizer, recipe.weight_decay, recipe.batch) == ("sgd", 1e-4, 512)
    assert recipe.lr / recipe.batch == pytest.approx(0.05 / 256) and SimSiam.views == "pair"
