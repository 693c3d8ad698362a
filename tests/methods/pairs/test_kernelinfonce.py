import pytest
import torch
from torch.nn.functional import normalize

from vergence.core import BadInput
from vergence.losses import kernel_nce, nt_xent
from vergence.methods.pairs.kernelinfonce import KernelInfoNCE

CONTRACT = {
    "kinds": {"graph": ("graphs",)},
    "options": {"temperature": 0.4},
    "learn": {"lr": 5e-3},
    "exempt": {
        "labels image": "80 steps gain nothing (28 %, untrained 33)",
        "labels graph-graphs": "80 steps gain little on graphs this small (79 %, untrained 78)",
    },
}


def unit_projections(method, views):
    return [normalize(method.projector(method.encode(view)), dim=1) for view in views]


def test_both_kernels_see_the_same_numbers_or_each_its_own(encoder, toy):
    views = toy.draw_pair()
    for concatenate in (False, True):
        options = {"dim": 6, "gaussian": 0.3, "power": 0.5, "temperature": 0.4, "concatenate": concatenate}
        method = KernelInfoNCE(encoder, **options).eval()
        z = unit_projections(method, views)
        assert z[0].shape[1] == (12 if concatenate else 6)
        halves = [[v[:, :6] for v in z], [v[:, 6:] for v in z] if concatenate else z]
        root, square = (
            kernel_nce(*h, power=p, temperature=0.4) for h, p in zip(halves, (0.5, 2.0), strict=True)
        )
        wanted = {name: 0.7 * root[name] + 0.3 * square[name] for name in root}
        torch.testing.assert_close(method.loss(views), wanted)


def test_the_gaussian_kernel_alone_is_simclr(encoder, toy):
    method, views = KernelInfoNCE(encoder, power=2.0, gaussian=0.0, temperature=1.0).eval(), toy.draw_pair()
    cost = nt_xent(*unit_projections(method, views), temperature=0.5)
    torch.testing.assert_close(sum(method.loss(views).values()), cost)


def test_every_trainable_parameter_learns(encoder, toy):
    assert toy.wrong_gradients(KernelInfoNCE(encoder, concatenate=True)) == []


def test_a_few_steps_find_what_the_views_share(encoder, toy):
    method = KernelInfoNCE(encoder, temperature=0.4)
    before = toy.found(method)
    start, end = toy.train(method.train())
    assert end < 0.8 * start
    assert toy.found(method) > 2 * before
    assert toy.spread(method) > 3


def test_a_power_above_2_is_refused(encoder):
    with pytest.raises(BadInput, match=r"power in \(0, 2\]"):
        KernelInfoNCE(encoder, power=2.5)


@pytest.mark.parametrize("gaussian", [0, 1.0])
def test_numbers_for_a_kernel_that_is_not_there_are_refused(encoder, gaussian):
    with pytest.raises(BadInput, match="leaves one kernel: take gaussian in"):
        KernelInfoNCE(encoder, concatenate=True, gaussian=gaussian)


def test_the_recipe_is_that_of_the_released_code():
    recipe = KernelInfoNCE.recipe
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay, recipe.epochs) == ("adam", 1e-3, 1e-6, 200)
