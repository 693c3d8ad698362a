"""What is asked of every method that learns from tables. An exemption is a name with a reason."""

import dataclasses
import inspect
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
import torch

import vergence
from vergence.catalog import PAPERS
from vergence.core import Estimator, Method
from vergence.data.tables import TableSchema, TableSource, from_frame
from vergence.engine import embed
from vergence.engine.health import feature_std
from vergence.engine.loop import seed_step
from vergence.evaluate.protocols.gradient_boosting import linear_auc
from vergence.methods.tables import encoders
from vergence.methods.tables.views import KINDS
from vergence.train import method_class

PAIRS = ("simclr", "vicreg", "barlow", "byol")
OPTIONS = {"byol": {"momentum": 0.9}, "tldr": {"hidden": 64}, "ssdl": {"atoms": 20, "rounds": 3}}
WORDY = ("ctrfeat", *PAIRS)  # read categories; the others take numbers alone
SMALL = {"mlp": {"dim": 32, "layers": 2}, "linear": {"dim": 4}}
NO_GAIN = {  # key -> why a probe of labels is not what it gets better at in seconds
    "tldr": "four numbers of twelve: a random map of such short rows keeps the classes as well",
    "legato": "a random graph of views is already wider than the row it comes from",
}


def class_of(paper):
    if paper.code is None or ":" not in paper.code:
        return None
    try:
        return method_class(paper.key)
    except vergence.BadInput:  # a survey
        return None


TABLES = {p.key: cls for p in PAPERS if p.modality == "tables" and (cls := class_of(p)) is not None}
METHODS = [*PAIRS, *(key for key, cls in TABLES.items() if issubclass(cls, Method))]
ESTIMATORS = [key for key, cls in TABLES.items() if issubclass(cls, Estimator)]


@cache
def rows(wordy):
    """240 rows of two kinds: twelve numbers in four groups of one cause each, and two words."""
    rng, n = np.random.default_rng(0), 240
    y = np.arange(n) % 2
    cause = rng.normal(size=(n, 4)) + np.where(y[:, None], 0.6, -0.6)
    numbers = np.repeat(cause, 3, 1) + 0.8 * rng.normal(size=(n, 12))
    columns = {f"x{i}": numbers[:, i] for i in range(12)}
    if wordy:
        columns["town"] = rng.choice(["a", "b", "c"], n)
        columns["kind"] = np.where(rng.random(n) < 0.7, y, 1 - y).astype(str)
    groups = tuple((f"g{i}", tuple(f"x{3 * i + j}" for j in range(3))) for i in range(4))
    return from_frame(pa.table({**columns, "y": y}), TableSchema(label="y", groups=groups), name="parts")


def source_of(key):
    return rows(key in WORDY)


def few_labels(source):
    labels = np.where(np.arange(len(source)) < 20, source.labels, -1)
    return TableSource(dataclasses.replace(source.values, labels=labels), source.uri)


def make(key, seed=0):
    cls, source = method_class(key), source_of(key)
    torch.manual_seed(seed)
    name = cls.recipe.encoder or "mlp"
    method = cls(encoders.for_source(source, name, **SMALL.get(name, {"dim": 8})), **OPTIONS.get(key, {}))
    if isinstance(method.views, str):
        method.views = KINDS[method.views]()
    method.setup(source)
    return method


def step(method, batch):
    seed_step(0, 0, 0)
    with torch.no_grad():
        views = method.views(batch)
    return method.loss(views)


@pytest.mark.parametrize("key", METHODS)
def test_every_trainable_parameter_gets_a_gradient_and_frozen_ones_none(key):
    method = make(key).train()
    terms = step(method, next(source_of(key).loader(64, shuffle=True)))
    assert terms and all(t.ndim == 0 and torch.isfinite(t) for t in terms.values())
    sum(terms.values()).backward()
    assert [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
    assert all(p.grad is None for p in method.parameters() if not p.requires_grad)


@pytest.mark.parametrize("key", METHODS)
def test_the_input_batch_stays_as_it_was(key):
    method, batch = make(key), next(source_of(key).loader(64, shuffle=True))
    before = batch.numeric.clone(), batch.categorical.clone()
    step(method, batch)
    assert torch.equal(batch.numeric, before[0]) and torch.equal(batch.categorical, before[1])


@pytest.mark.parametrize("key", METHODS)
def test_an_embedding_does_not_depend_on_who_shares_its_batch(key):
    method, source = make(key).eval(), source_of(key)
    together = method.embed(source.batch(np.arange(20)))
    alone = method.embed(source.batch(np.array([7])))
    torch.testing.assert_close(alone[0], together[7], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("key", [*METHODS, *ESTIMATORS])
def test_arguments_are_the_configuration(key):
    cls = method_class(key)
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    if issubclass(cls, Method):
        assert parameters.pop(0).name == "encoder"
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters)


@pytest.mark.parametrize("key", METHODS)
def test_a_seed_repeats_a_run_and_resume_is_exact(key, tmp_path):
    source, cls = source_of(key), method_class(key)
    small = SMALL.get(cls.recipe.encoder or "mlp", {"dim": 8})
    start = {"quiet": True, "epochs": 2, "batch_size": 80, "save_every": 1, "encoder_options": small}
    start |= OPTIONS.get(key, {})

    def weights(run):
        return {k: v.clone() for k, v in run.encoder.state_dict().items()}

    whole = weights(vergence.learn(key, source, out=tmp_path / "whole", **start))
    step_end = cls.step_end

    def crash(self, clock):
        step_end(self, clock)
        if clock.step == 3:
            raise KeyboardInterrupt

    cls.step_end = crash
    try:
        with pytest.raises(KeyboardInterrupt):
            vergence.learn(key, source, out=tmp_path / "broken", **start)
    finally:
        cls.step_end = step_end
    resumed = weights(vergence.learn(key, source, out=tmp_path / "broken", resume=True, **start))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    loaded = vergence.load(tmp_path / "whole")
    z = embed(loaded, source).vectors
    assert z.shape == (len(source), loaded.out_dim) and np.isfinite(z).all()


@pytest.mark.parametrize("key", [key for key in METHODS if key not in NO_GAIN])
def test_seconds_of_training_beat_the_untrained_encoder_and_do_not_collapse(key, tmp_path):
    source, method = source_of(key), make(key)

    def probe(encoder):
        z = embed(encoder, source).vectors
        auc = linear_auc(z[:40], source.labels[:40], z[40:], source.labels[40:])["auc"].value
        return auc, feature_std(torch.from_numpy(z))

    before, _ = probe(method.encoder)
    settings = {"epochs": 30, "lr": 3e-3, "optimizer": "adam", "weight_decay": 0.0, "batch_size": 120}
    vergence.learn(method, source, out=tmp_path / "run", quiet=True, warmup=1, **settings)
    after, std = probe(method.encoder)
    assert after > before - 0.01  # numbers that say it linearly are hard to beat by more
    assert std > 0.02


@pytest.mark.parametrize("key", ESTIMATORS)
def test_a_fit_is_repeated_by_its_seed_and_loaded_again(key, tmp_path):
    source = few_labels(source_of(key))
    start = {"seed": 3, "quiet": True, **OPTIONS.get(key, {})}
    runs = [vergence.learn(key, source, out=tmp_path / str(i), **start) for i in range(2)]
    first, second = (embed(run.encoder, source).vectors for run in runs)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(embed(vergence.load(tmp_path / "0"), source).vectors, first)
    assert first.std() > 0


def test_measure_sets_raw_columns_the_untrained_and_the_learned_side_by_side(tmp_path):
    source = rows(True)
    run = vergence.learn(
        "vicreg", source, out=tmp_path / "run", epochs=1, quiet=True, encoder_options={"dim": 16, "layers": 2}
    )
    table = vergence.measure(run, source, quiet=True)
    assert list(table.rows) == ["raw features", "untrained encoder", "learned"]
    assert {"boosted trees", "boosted trees, AUC", "linear", "linear, AUC", "k-NN"} <= set(table.columns)
