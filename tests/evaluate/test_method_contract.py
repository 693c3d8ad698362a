"""What is asked of a method of one's own, and how each answer that is wrong is told."""

import pytest
import torch
from torch import nn

import vergence
from vergence.core import BadInput, Method, Recipe
from vergence.evaluate.method_contract import CHECKS

ENCODER = {"encoder": "resnet-tiny", "encoder_options": {"width": 4}}


class Apart(Method):
    recipe = Recipe(optimizer="adam", lr=1e-2, batch=32, epochs=2)

    def __init__(self, encoder, scale: float = 1.0):
        super().__init__(encoder)
        self.head = nn.Linear(encoder.out_dim, 4)
        self.scale, self.steps = scale, 0

    def loss(self, views):
        first, second = (self.head(self.encode(view)) for view in views)
        return {"apart": self.scale * (first - second).square().mean()}


@pytest.fixture(scope="module")
def digits():
    return vergence.open("digits").subset(range(128))


def test_a_method_that_keeps_the_contract_passes(digits):
    assert vergence.check_method(Apart, digits, scale=2.0, **ENCODER) == CHECKS


class NoTerms(Apart):
    def loss(self, views):
        return super().loss(views)["apart"]


class Strange(Apart):
    views = "pear"


class Rows(Apart):
    def loss(self, views):
        return {"rows": self.encode(views[0]).mean(1)}


class Endless(Apart):
    def loss(self, views):
        return {"apart": super().loss(views)["apart"] / 0}


class Idle(Apart):
    def __init__(self, encoder):
        super().__init__(encoder)
        self.idle = nn.Linear(2, 2)


class Sharing(Apart):
    def embed(self, batch):
        vectors = super().embed(batch)
        return vectors - vectors.mean(0)


class Unseeded(Apart):
    def loss(self, views):
        own = torch.Generator()
        own.seed()
        return {"apart": super().loss(views)["apart"] * torch.rand((), generator=own)}


class Forgetful(Apart):
    def step_end(self, clock):
        self.steps += 1

    def loss(self, views):
        return {"apart": super().loss(views)["apart"] * (1 + self.steps)}


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (NoTerms, r"NoTerms.loss returns a Tensor; it returns named terms"),
        (Strange, "Unknown kind of views of images, of Strange, 'pear'; did you mean 'pair'"),
        (Rows, r"returns 'rows' as a tensor \(32,\); each term is a scalar"),
        (Endless, "returns 'apart' as inf, which is not finite"),
        (Idle, "Idle: its parameter idle.weight gets no gradient"),
        (Sharing, "Sharing: an embedding depends on who shares its batch"),
        (Unseeded, "Unseeded: the same seed gives other weights"),
        (Forgetful, r"Forgetful: a run that was broken off ends in other weights: .* \(register_buffer\)"),
        (Apart.loss, "takes a class that derives from Method; got <function"),
    ],
)
def test_what_breaks_the_contract_is_one_line(method, said, digits):
    with pytest.raises(BadInput, match=said) as error:
        vergence.check_method(method, digits, **ENCODER)
    assert "\n" not in str(error.value)
