"""Prototypes: what is chosen, what learns, and counts by hand."""

import numpy as np
import pytest
import torch
from torch import nn

import vergence
from vergence.core import BadInput, Features
from vergence.data.image.joined import joined
from vergence.methods.image import encoders
from vergence.methods.image.views import KINDS
from vergence.use.protosim import Comparison, ProtoEncoder, ProtoSim, Prototypes, compare

SMALL = {"prototypes": 12, "outputs": 16, "hidden": 16, "bottleneck": 8}


def test_without_training_a_token_becomes_its_best_prototype():
    torch.manual_seed(0)
    through = Prototypes(4, 6)
    tokens = torch.randn(2, 5, 4)
    best = (tokens @ through.prototypes.T).argmax(-1)
    expected = through.norm(through.block(through.prototypes[best])[:, 0])
    torch.testing.assert_close(through(tokens, training=False), expected)


@pytest.mark.parametrize("noisy", [True, False])
def test_the_choice_is_over_prototypes_and_hard_ones_keep_the_soft_gradient(noisy):
    torch.manual_seed(0)
    through = Prototypes(4, 6)
    seen = []
    through.block.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    through.noisy = noisy
    tokens = torch.randn(3, 5, 4)
    for hard in (False, True):
        through.hard = hard
        through(tokens, training=True)
    distance = torch.cdist(seen[1].flatten(0, 1), through.prototypes).amin(1)
    assert distance.max() < 1e-4, "each is one prototype"
    mixed = torch.cdist(seen[0].flatten(0, 1), through.prototypes).amin(1)
    assert mixed.max() > 0.05, "a mixture of them"
    through(tokens, training=True).square().mul(torch.arange(4.0)).sum().backward()
    assert through.prototypes.grad.abs().amin(1).sum() > 0 and torch.isfinite(through.prototypes.grad).all()
    if not noisy:
        torch.testing.assert_close(
            seen[0], torch.softmax(tokens @ through.prototypes.T, -1) @ through.prototypes
        )


@pytest.fixture(scope="module")
def digits():
    return vergence.open("digits").subset(np.arange(160))


def made(**options):
    torch.manual_seed(0)
    return ProtoSim(encoders.build("vit-micro", size=16, patch=4), **SMALL, **options)


def test_prototypes_block_and_head_learn_and_nothing_else(digits):
    method = made().train()
    crops = KINDS["crops"](16, **digits.view_options)
    batch = next(digits.loader(16, spec={"size": 16}))
    terms = method.loss(crops(batch))
    assert torch.isfinite(terms["dino"]) and method.centre.abs().sum() > 0
    terms["dino"].backward()
    learns = {
        n.split(".")[0 if n.startswith("head") else 1]
        for n, p in method.named_parameters()
        if p.requires_grad
    }
    assert learns == {"through", "head"}
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)
    assert all(p.grad is None for p in method.parameters() if not p.requires_grad)
    assert not method.encoder.backbone.training
    with torch.no_grad():
        method.encoder.through.prototypes += 1
    before = method.teacher.network.prototypes.clone()
    method.step_end(method.clock)
    moved = method.teacher.network.prototypes - before
    torch.testing.assert_close(moved, torch.full_like(moved, 0.004), atol=1e-5, rtol=0)


def test_an_embedding_is_deterministic_and_does_not_depend_on_its_batch(digits):
    method = made().eval()
    batch = next(digits.loader(16, spec={"size": 16}))
    torch.testing.assert_close(method.embed(batch), method.embed(batch))
    alone = next(digits.subset(np.arange(1)).loader(1, spec={"size": 16}))
    torch.testing.assert_close(method.embed(alone)[0], method.embed(batch)[0], atol=1e-4, rtol=1e-4)
    assert method.encoder.assign(batch).shape == (16, 17)


def test_it_trains_by_the_engine_and_compares(digits, tmp_path):
    labels = digits.labels
    sides = [digits.subset(np.flatnonzero(labels < 5)), digits.subset(np.flatnonzero(labels >= 5))]
    together = joined(sides, ["low", "high"])
    assert len(together) == 160 and together.classes == ["low", "high"]
    assert (together.labels == np.repeat([0, 1], [len(side) for side in sides])).all()
    np.testing.assert_array_equal(together.sample(len(sides[0])), sides[1].sample(0))
    run = vergence.learn(made(), together, epochs=1, batch_size=32, out=tmp_path / "run", quiet=True)
    assert isinstance(run.encoder, ProtoEncoder)
    result = compare(run.encoder, sides, ["low", "high"])
    assert result.counts.shape == (2, 12) and result.counts.sum(1).tolist() == [
        17 * len(side) for side in sides
    ]


def test_counts_shares_and_examples_by_hand():
    first = np.array([[0, 0, 1], [0, 2, 2]])
    second = np.array([[1, 1, 1], [1, 3, 3], [1, 2, 1], [3, 3, 3]])
    counts = np.stack([np.bincount(part.ravel(), minlength=5) for part in (first, second)])
    result = Comparison(("a", "b"), counts, (first, second), (np.array([4, 9]), np.arange(4)))
    rates = counts / np.array([[6], [12]])
    np.testing.assert_allclose(result.shares[:, :4], rates[:, :4] / rates[:, :4].sum(0))
    assert np.isnan(result.shares[:, 4]).all(), "an unused one"
    assert result.of(0, least=1).tolist() == [0] and result.of(1, least=1).tolist() == [3]
    assert result.shared(least=1).tolist() == [1, 2] and result.shared(least=4).tolist() == [1]
    assert result.examples(0, 2).tolist() == [9] and result.examples(1, 1).tolist() == [0, 2, 1]


def test_mistakes_are_told(digits):
    class Flat(nn.Module):
        out_dim = 4

        def forward(self, batch):
            return Features(torch.zeros(len(batch), 4))

    with pytest.raises(BadInput, match="has no tokens"):
        ProtoEncoder(Flat(), 3).assign(next(digits.loader(2, spec={"size": 16})))
    with pytest.raises(BadInput, match="2 or more prototypes"):
        made(temperature=0.0)
    with pytest.raises(BadInput, match="Two or more collections"):
        compare(made().encoder, [digits], ["one"])
