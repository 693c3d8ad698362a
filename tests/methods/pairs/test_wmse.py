import pytest
import torch

from vergence.core import BadInput, Clock
from vergence.losses import w_mse
from vergence.methods.pairs.wmse import WMSE

CONTRACT = {
    "kinds": {"graph": ("graphs",)},
    "options": {"dim": 8, "hidden": 64, "group": 16},
    "exempt": {
        "labels image": "80 steps gain nothing (27 %, untrained 33)",
        "labels events": "80 steps gain little (63 %, untrained 61)",
    },
    "two": {"": {"options": {"dim": 3, "group": 8, "rounds": 2}}},
}


def test_loss_is_that_of_the_projections_averaged_over_ways_to_cut_a_batch(encoder, toy):
    method, views = WMSE(encoder, dim=4, hidden=24, group=32, rounds=2).eval(), toy.draw_pair()
    method.clock = Clock(7, 10, 1)
    z = torch.stack([method.projector(method.encode(view)) for view in views])
    drawn = torch.Generator().manual_seed(7)
    orders = [torch.randperm(128, generator=drawn) for _ in range(2)]
    wanted = sum(w_mse(z, size=32, order=order) for order in orders) / 2
    torch.testing.assert_close(method.loss(views), {"agree": wanted})
    assert not torch.equal(*orders)


def test_several_pairs_are_drawn_and_all_views_agree(encoder, toy):
    method = WMSE(encoder, dim=4, hidden=24, group=32, pairs=2).eval()
    drawn = []
    method.views = lambda batch: drawn.append(toy.draw_pair(batch)) or drawn[-1]
    method.setup(None)
    views = method.views(128)
    assert len(views) == 4 and len(drawn) == 2
    pairs = [method.loss([a, b])["agree"] for i, a in enumerate(views) for b in views[i + 1 :]]
    torch.testing.assert_close(method.loss(views)["agree"], sum(pairs) / 6)


def test_the_head_is_the_papers(encoder):
    widths = [(m.in_features, m.out_features) for m in WMSE(encoder).projector if hasattr(m, "out_features")]
    assert widths == [(16, 1024), (1024, 64)]


def test_every_trainable_parameter_learns(encoder, toy):
    assert toy.wrong_gradients(WMSE(encoder, dim=8, group=32)) == []


def test_a_few_steps_find_what_the_views_share(encoder, toy):
    method = WMSE(encoder, dim=8, hidden=32, group=32)
    before = toy.found(method)
    start, end = toy.train(method.train())
    assert end < 0.9 * start
    assert toy.found(method) > 2 * before
    assert toy.spread(method) > 3


def test_groups_no_larger_than_the_vectors_are_refused(encoder):
    with pytest.raises(BadInput, match="0 < dim < group"):
        WMSE(encoder, dim=64, group=64)


def test_batches_that_cannot_be_whitened_are_refused_in_one_line(encoder, toy):
    method = WMSE(encoder, dim=8, group=32)
    few = [view[:8] for view in toy.draw_pair()]
    with pytest.raises(BadInput, match="8 samples of dim 8 with eps=0.0: set --batch-size above 8"):
        method.loss(few)
    alike = [view[:1].expand(64, -1) for view in toy.draw_pair()]
    with pytest.raises(BadInput, match="covariance is singular. Raise --batch-size, .* dim or a larger eps"):
        method.eval().loss(alike)
    assert WMSE(encoder, dim=8, group=32, eps=0.1).loss(few)["agree"].isfinite()


def test_the_recipe_is_the_papers():
    recipe = WMSE.recipe
    assert (recipe.optimizer, recipe.lr, recipe.batch, recipe.weight_decay) == ("adam", 3e-3, 512, 1e-6)
