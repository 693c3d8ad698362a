import pytest
import torch
from torch import nn

from vergence.core import Clock, Method, Recipe
from vergence.engine.optim import LARS, learning_rate, optimizer, parameter_groups, set_rates


def test_lars_takes_the_step_of_the_formula():
    w, g = torch.tensor([3.0, 4.0]), torch.tensor([1.0, 0.0])
    p = nn.Parameter(w.clone())
    opt = LARS([p], lr=2.0, momentum=0.5, weight_decay=0.1, trust=0.01)
    expected, velocity = w.clone(), torch.zeros(2)
    for _ in range(2):
        p.grad = g.clone()
        opt.step()
        update = g + 0.1 * expected
        velocity = 0.5 * velocity + update * 0.01 * expected.norm() / update.norm()
        expected = expected - 2.0 * velocity
    torch.testing.assert_close(p.data, expected)


def test_lars_leaves_biases_to_plain_sgd_and_zero_weights_alive():
    p = nn.Parameter(torch.zeros(2))
    opt = LARS([{"params": [p], "adapt": True}], lr=1.0, momentum=0.0)
    p.grad = torch.tensor([1.0, -2.0])
    opt.step()
    assert p.tolist() == [-1.0, 2.0]


@pytest.mark.parametrize(("scaling", "expected"), [("linear", 0.05), ("sqrt", 0.1 * 0.5**0.5), ("none", 0.1)])
def test_the_rate_follows_the_batch_size_as_the_recipe_says(scaling, expected):
    recipe = Recipe(lr=0.1, batch=256, lr_scaling=scaling)
    assert learning_rate(recipe, Clock(0, 100, 10), 128) == pytest.approx(expected)


def test_warm_up_rises_and_the_cosine_ends_at_zero():
    recipe = Recipe(lr=1.0, batch=1, lr_scaling="none", warmup=2)
    rates = [learning_rate(recipe, Clock(s, 100, 5), 1) for s in range(101)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == max(rates) == 1.0
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert rates[100] == pytest.approx(0.0, abs=1e-12)


def test_the_cosine_ends_at_its_least_rate_scaled_alike_and_a_lower_peak_stays():
    recipe = Recipe(lr=0.1, min_lr=0.02, batch=64)
    rates = [learning_rate(recipe, Clock(s, 10, 1), 32) for s in range(11)]
    assert (rates[0], rates[5], rates[10]) == pytest.approx((0.05, 0.03, 0.01))
    recipe = Recipe(lr=0.01, min_lr=0.02, lr_scaling="none")
    assert {learning_rate(recipe, Clock(s, 10, 1), 64) for s in range(11)} == {0.01}


def test_steps_multiply_at_the_milestones():
    recipe = Recipe(lr=1.0, lr_scaling="none", schedule="steps", milestones=(0.3, 0.6), gamma=0.2)
    assert [learning_rate(recipe, Clock(s, 10, 1), 1) for s in (2, 3, 6)] == pytest.approx([1.0, 0.2, 0.04])


class Deep(nn.Module):
    out_dim = 2

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Linear(2, 2)
        self.blocks = nn.ModuleList([nn.Linear(2, 2) for _ in range(2)])
        self.norm = nn.LayerNorm(2)


class Any(Method):
    def __init__(self):
        super().__init__(Deep())
        self.head = nn.Linear(2, 2)
        self.frozen = nn.Parameter(torch.ones(2, 2), requires_grad=False)

    def no_decay(self):
        return {"head.weight"}


def test_decay_spares_vectors_and_named_parameters_and_layers_slow_down_with_depth():
    method = Any()
    groups = parameter_groups(method, Recipe(layer_decay=0.5))
    place = {id(p): g for g in groups for p in g["params"]}
    scale = {n: place[id(p)]["scale"] for n, p in method.named_parameters() if p.requires_grad}
    assert scale["encoder.patch_embed.weight"] == 0.125
    assert scale["encoder.blocks.0.weight"] == 0.25
    assert scale["encoder.blocks.1.weight"] == 0.5
    assert scale["encoder.norm.weight"] == scale["head.weight"] == 1.0
    decays = {n for n, p in method.named_parameters() if p.requires_grad and place[id(p)]["decays"]}
    assert decays == {"encoder.patch_embed.weight", "encoder.blocks.0.weight", "encoder.blocks.1.weight"}
    assert id(method.frozen) not in place


def test_registers_mask_token_and_patches_are_of_the_first_layer_and_patches_may_be_slower_still():
    method = Any()
    method.encoder.registers = nn.Parameter(torch.ones(1, 2, 2))
    method.mask_token = nn.Parameter(torch.ones(1, 2))
    groups = parameter_groups(method, Recipe(layer_decay=0.5, patch_rate=0.2))
    place = {id(p): g for g in groups for p in g["params"]}
    scale = {n: place[id(p)]["scale"] for n, p in method.named_parameters() if p.requires_grad}
    assert scale["encoder.registers"] == scale["mask_token"] == 0.125
    assert scale["encoder.patch_embed.weight"] == scale["encoder.patch_embed.bias"] == 0.2 * 0.125
    assert scale["encoder.blocks.0.weight"] == 0.25
    assert place[id(method.mask_token)]["decays"] and place[id(method.encoder.registers)]["decays"]


def test_vectors_decay_too_where_the_recipe_says_so_but_for_what_is_named():
    method = Any()
    groups = parameter_groups(method, Recipe(decay_vectors=True))
    spared = {id(p) for g in groups if not g["decays"] for p in g["params"]}
    assert {n for n, p in method.named_parameters() if id(p) in spared} == {"head.weight"}
    assert "encoder.norm.bias" in dict(method.named_parameters())


def test_weight_decay_follows_its_own_cosine():
    method = Any()
    recipe = Recipe(optimizer="adamw", weight_decay=(0.0, 0.4))
    opt = optimizer(method, recipe)
    set_rates(opt, recipe, Clock(5, 10, 1), 256)
    assert {round(g["weight_decay"], 6) for g in opt.param_groups} == {0.0, 0.2}
