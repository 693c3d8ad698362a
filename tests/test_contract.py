"""What is asked of every method in the catalog. An exemption is a name with a reason."""

import inspect

import numpy as np
import pytest
import torch

import vergence
from vergence.catalog import PAPERS
from vergence.core import Method
from vergence.engine import embed
from vergence.engine.health import feature_std
from vergence.engine.loop import seed_step
from vergence.learn.api import method_class
from vergence.learn.image import encoders
from vergence.learn.image.views import KINDS
from vergence.measure import knn

SIZE, BATCH = 16, 32
LIGHT = {  # heads as wide as the papers' would take most of the time here
    "dinov2": {"prototypes": 64, "hidden": 64, "bottleneck": 32, "n_local": 2},
    "mocov3": {"hidden": 128, "dim": 64},
}
NO_GAIN = {
    "gmml": "learns to paint, which a k-NN vote does not reward; its run of record fine-tunes",
    "rotnet": "which digit is upright says little about which digit it is; its run of record uses photos",
}


def trained(paper):
    if paper.code is None or ":" not in paper.code:
        return False
    try:
        return issubclass(method_class(paper.key), Method)
    except vergence.BadInput:  # a readout, a protocol, …
        return False


METHODS = [paper.key for paper in PAPERS if trained(paper)]


def test_the_contract_is_asked_of_every_learner_that_is_in():
    assert len(METHODS) == sum(p.kind == "learner" and p.code is not None for p in PAPERS)
    assert len(METHODS) >= 9
    assert set(NO_GAIN) | set(LIGHT) <= set(METHODS)


@pytest.fixture(scope="module")
def digits():
    return vergence.open("digits").subset(np.arange(600))


def make(key, digits, seed=0):
    cls = method_class(key)
    torch.manual_seed(seed)
    name = "vit-micro" if (cls.recipe.encoder or "").startswith("vit") else "resnet-tiny"
    method = cls(encoders.build(name, size=SIZE), **LIGHT.get(key, {}))
    if isinstance(method.views, str):
        method.views = KINDS[method.views](SIZE, **digits.view_options)
    method.setup(digits)
    return method


def first_batch(digits):
    return next(iter(digits.loader(BATCH, size=SIZE, shuffle=True)))


def step(method, batch, number=0):
    seed_step(0, number, 0)
    with torch.no_grad():
        views = method.views(batch)
    return method.loss(views)


@pytest.mark.parametrize("key", METHODS)
def test_every_trainable_parameter_gets_a_gradient_and_frozen_ones_none(key, digits):
    method = make(key, digits).train()
    terms = step(method, first_batch(digits))
    assert terms and all(t.ndim == 0 and torch.isfinite(t) for t in terms.values())
    sum(terms.values()).backward()
    without = [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
    assert all(p.grad is None for p in method.parameters() if not p.requires_grad)


@pytest.mark.parametrize("key", METHODS)
def test_an_embedding_does_not_depend_on_who_shares_its_batch(key, digits):
    method, batch = make(key, digits).eval(), first_batch(digits)
    together = method.embed(batch)
    alone = next(iter(digits.subset(batch.index[:1].numpy()).loader(1, size=SIZE)))
    torch.testing.assert_close(method.embed(alone)[0], together[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("key", METHODS)
def test_the_input_batch_stays_as_it_was(key, digits):
    method, batch = make(key, digits), first_batch(digits)
    before = batch.pixels.clone()
    step(method, batch)
    assert torch.equal(batch.pixels, before)


@pytest.mark.parametrize("key", METHODS)
def test_arguments_are_the_configuration(key):
    parameters = list(inspect.signature(method_class(key).__init__).parameters.values())[1:]
    assert parameters[0].name == "encoder"
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[1:])


@pytest.mark.parametrize("key", METHODS)
def test_a_seed_repeats_a_run_and_resume_is_exact(key, digits, tmp_path):
    few = digits.subset(np.arange(4 * BATCH))
    start = {"encoder": make(key, few).encoder.spec["name"], "size": SIZE, "batch_size": BATCH}
    start |= {"precision": "fp32", "quiet": True, **LIGHT.get(key, {})}

    def weights(run):
        return {k: v.clone() for k, v in run.encoder.state_dict().items()}

    whole = weights(vergence.learn(key, few, epochs=2, out=tmp_path / "whole", **start))

    cls = method_class(key)
    step_end = cls.step_end

    def crash(self, clock):
        step_end(self, clock)
        if clock.step == 6:
            raise KeyboardInterrupt

    cls.step_end = crash
    try:
        with pytest.raises(KeyboardInterrupt):
            vergence.learn(key, few, epochs=2, out=tmp_path / "broken", save_every=1, **start)
    finally:
        cls.step_end = step_end
    resumed = weights(
        vergence.learn(key, few, epochs=2, out=tmp_path / "broken", save_every=1, resume=True, **start)
    )
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)


@pytest.mark.parametrize("key", [k for k in METHODS if k not in NO_GAIN])
def test_seconds_of_training_beat_the_untrained_encoder_and_do_not_collapse(key, digits, tmp_path):
    torch.manual_seed(0)
    method = make(key, digits)
    labels = torch.from_numpy(digits.labels)

    def vote(encoder):
        x = torch.from_numpy(embed(encoder, digits).vectors)
        return knn(x[:300], labels[:300], x[300:], labels[300:], k=5).value, feature_std(x)

    before, _ = vote(method.encoder)
    options = {"epochs": 8, "batch_size": 64, "lr": 2e-3, "optimizer": "adamw", "quiet": True}
    vergence.learn(method, digits, out=tmp_path / "run", **options)
    after, std = vote(method.encoder)
    assert after > before
    assert std > 0.05
