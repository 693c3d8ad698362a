"""What is asked of every method, on the example source of its modality; ``test_contract.py`` asks it.

What a method needs for it stands beside its own test, in ``CONTRACT`` of
``tests/methods/<folder>/test_<key>.py``, a dictionary with any of

    source    () -> what it learns from, where the modality's example will not do
    kinds     kinds of the example, such as ("graphs",); of a method of any modality {modality: kinds}
    encoder   options of the encoder, and its name
    options   arguments of the method, such as small heads, or a function that gives them
    learn     settings of the training of seconds; "learn modality-kind" of one kind of data
    two       {variant: how two processes are compared}: options of encoder and method, a source, and views
              without chance
    exempt    {check: why it is not asked}, or {"check modality-kind": ...} for one kind of data

``ENCODER`` of ``tests/methods/<modality>/contract.py`` is a small encoder of the modality.
"""

import copy
import dataclasses
import importlib.util
import inspect
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import vergence
from vergence.catalog import PAPERS
from vergence.core import Estimator, Method, input_spec
from vergence.core.modality import find_modality, known_modalities
from vergence.engine import embed
from vergence.engine.health import feature_std
from vergence.engine.loop import seed_step
from vergence.evaluate.protocols.few_shot import few_shot
from vergence.train import method_class

BATCH, STEPS = 32, 80
UNTRAINED, MARGIN = 5, 0.02  # encoders that a trained one is held against, and by how much it is better
METHODS = Path(__file__).parent / "methods"


def module_at(path):
    """Return the module of a file, None where there is none."""
    if not path.exists():
        return None
    spec = importlib.util.spec_from_file_location(f"contract_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def class_of(paper):
    """Return the method or estimator of a paper, None for one that is read out, measures or is planned."""
    if paper.code is None or ":" not in paper.code:
        return None
    try:
        return method_class(paper.key)
    except vergence.BadInput:
        return None


@cache
def contract_of(key):
    folder = method_class(key).__module__.split(".")[-2]
    return getattr(module_at(METHODS / folder / f"test_{key.replace('-', '_')}.py"), "CONTRACT", {})


@cache
def small_encoder(modality):
    return getattr(module_at(METHODS / modality / "contract.py"), "ENCODER", {})


@cache
def example(modality, kind):
    return find_modality(modality).load("example_source")(kind)


@dataclasses.dataclass(frozen=True)
class Case:
    """A method on one kind of data."""

    key: str
    modality: str
    kind: str = ""

    def __str__(self):
        return f"{self.key}-{self.data}"

    @property
    def data(self):
        return "-".join(filter(None, [self.modality, self.kind.replace(" ", "-")]))

    @property
    def cls(self):
        return method_class(self.key)

    @property
    def asks(self):
        return contract_of(self.key)

    def exempt(self, check):
        """Return the reason why a check is not asked, None where it is."""
        reasons = self.asks.get("exempt", {})
        return reasons.get(check) or reasons.get(f"{check} {self.data}")

    @property
    def learn(self):
        return self.asks.get(f"learn {self.data}", self.asks.get("learn", {}))

    def source(self):
        return self.asks["source"]() if "source" in self.asks else example(self.modality, self.kind)

    @property
    def options(self):
        options = self.asks.get("options", {})
        return options() if callable(options) else options

    @property
    def encoder(self):
        """Name and options of the encoder: the contract's, else the recipe's; small if the modality's own."""
        options, small = self.asks.get("encoder", {}), small_encoder(self.modality)
        name = options.get("name") or self.cls.recipe.encoder
        if name in (None, small.get("name")) or (":" not in name and "name" not in small):
            options = {**small, **options}
        return {"name": name, **options}

    @property
    def settings(self):
        """The same as ``learn`` is told it, and the options of the method."""
        options = dict(self.encoder)
        return {"encoder": options.pop("name"), "encoder_options": options, **self.options}

    def method(self, seed=0, *, source=None, encoder=None, **options):
        """Return the method for a source, its own if None, with further options of encoder and method."""
        torch.manual_seed(seed)
        source, known = source or self.source(), find_modality(self.modality)
        spec = {"size": self.cls.recipe.size, **self.encoder, **(encoder or {})}
        made = known.load("encoders").for_source(source, spec.pop("name"), **spec)
        method = self.cls(made, **{**self.options, **options})
        if isinstance(method.views, str):
            views = known.load("views").KINDS[method.views]
            method.views = views(**(input_spec(method.encoder) or {}), **source.view_options)
        else:
            method.configure_views(source.view_options)
        method.setup(source)
        return method


def cases():
    """Return every method of the catalog, those of any modality once a modality."""
    every = []
    for paper in PAPERS:
        if class_of(paper) is None:
            continue
        kinds = contract_of(paper.key).get("kinds", ())
        if paper.modality == "any":
            kinds = {m.name: dict(kinds).get(m.name, ("",)) for m in known_modalities()}
        else:
            kinds = {paper.modality: kinds or ("",)}
        every += [Case(paper.key, modality, kind) for modality, some in kinds.items() for kind in some]
    return every


def first_batch(method, source):
    method.batch_size = batch = source.fitting_batch(BATCH, BATCH)
    if (own := method.batches(source)) is not None:
        return next(iter(own.epoch(0, seed=0, start=0, rank=0, world=1)))
    return next(iter(source.loader(batch, spec=input_spec(method.encoder), shuffle=True)))


def step(method, batch, seed=0):
    seed_step(seed, 0, 0)
    with torch.no_grad():
        views = method.views(batch)
    return method.loss(views)


def tensors(batch):
    fields = batch.to_dict() if hasattr(batch, "to_dict") else {}
    if dataclasses.is_dataclass(batch):
        fields = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    return {name: value for name, value in fields.items() if isinstance(value, Tensor)}


def arguments(case, path):
    """The arguments are the configuration: named, each with a default."""
    parameters = list(inspect.signature(case.cls.__init__).parameters.values())[1:]
    if issubclass(case.cls, Method):
        assert parameters.pop(0).name == "encoder"
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters)


def gradients(case, path):
    """Every trainable parameter gets a gradient, a teacher's none; the input stays as it was."""
    method, source = case.method().train(), case.source()
    batch = first_batch(method, source)
    before = copy.deepcopy(tensors(batch))
    terms = step(method, batch)
    assert before
    for name, value in tensors(batch).items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)
    assert terms and all(t.ndim == 0 and torch.isfinite(t) for t in terms.values())
    sum(terms.values()).backward()
    assert [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
    assert all(p.grad is None for p in method.parameters() if not p.requires_grad)


def alone(case, path):
    """An embedding does not depend on who shares its batch."""
    method, source = case.method().eval(), case.source()
    spec = input_spec(method.encoder)
    some, one = source.subset(np.arange(20)), source.subset(np.array([7]))
    together, by_itself = (method.embed(next(iter(s.loader(len(s), spec=spec)))) for s in (some, one))
    torch.testing.assert_close(by_itself[0], together[7], rtol=1e-4, atol=1e-5)


def weights(run):
    return {name: value.clone() for name, value in run.encoder.state_dict().items()}


def resume(case, path):
    """A seed repeats a run, one that was broken off goes on as it would have, and it is loaded again."""
    source = case.source()
    batch = source.fitting_batch(BATCH, BATCH)
    if batch < len(source):
        source = source.subset(np.arange(4 * batch))
    start = {**case.settings, "batch_size": batch, "save_every": 1}
    start |= {"epochs": 2 if batch < len(source) else 4, "precision": "fp32", "quiet": True}
    whole = weights(vergence.learn(case.key, source, out=path / "whole", **start))
    cls, step_end = case.cls, case.cls.step_end

    def crash(self, clock):
        step_end(self, clock)
        if clock.step == clock.total // 2 + 1:
            raise KeyboardInterrupt

    cls.step_end = crash
    try:
        with pytest.raises(KeyboardInterrupt):
            vergence.learn(case.key, source, out=path / "broken", **start)
    finally:
        cls.step_end = step_end
    resumed = weights(vergence.learn(case.key, source, out=path / "broken", resume=True, **start))
    assert whole.keys() == resumed.keys()
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []
    loaded = vergence.load(path / "whole")
    assert [name for name, value in loaded.state_dict().items() if not torch.equal(whole[name], value)] == []
    vectors = embed(loaded, source).vectors
    assert vectors.shape == (len(source), loaded.out_dim)
    assert np.isfinite(vectors).all()


def few_labels_accuracy(encoder, source):
    """Return the accuracy on half of the samples with five labels a class of the other, over five draws."""
    x, y = torch.from_numpy(embed(encoder, source).vectors), torch.from_numpy(np.asarray(source.labels))
    known, parts = torch.randperm(len(y), generator=torch.Generator().manual_seed(0)).chunk(2)
    halves = x[known], y[known], x[parts], y[parts]
    return few_shot(*halves, shots=5, draws=5, classifier="linear").value


@torch.no_grad()
def losses(method, encoder, source):
    """Return the loss of a method with that encoder's weights, of five draws that no training has seen."""
    own, weights = copy.deepcopy(method.state_dict()), copy.deepcopy(encoder.state_dict())
    batch, values = first_batch(method, source), []
    for draw in range(1, 6):
        method.train().load_state_dict(own)
        method.encoder.load_state_dict(weights)
        values.append(sum(step(method, batch, seed=draw).values()).item())
    method.load_state_dict(own)
    return values


def learns(case, path):
    """Seconds of training beat five untrained encoders, and do not collapse.

    They are held against each other by accuracy with few labels. Where an exemption from "labels" says why
    these do not judge a method, its own loss does: for every draw of views it is lower than with the encoder
    of the start in the place of the trained one. (The loss of the start is no measure: a queue of random keys
    is easier than one of real keys.)
    """
    source, method, start = case.source(), case.method(), case.method().encoder
    batch = source.fitting_batch(2 * BATCH, 2 * BATCH)
    settings = {"lr": 2e-3, "optimizer": "adamw", "weight_decay": 1e-4, "warmup": 1, "batch_size": batch}
    settings |= {"epochs": math.ceil(STEPS * batch / len(source)), **case.learn}
    vergence.learn(method, source, out=path / "run", quiet=True, **settings)
    assert feature_std(torch.from_numpy(embed(method.encoder, source).vectors)) > 0.05
    if case.exempt("labels"):
        after = losses(method, method.encoder, source)
        before = losses(method, start, source)
        assert (np.array(after) < before).all(), f"loss {after}, with the encoder of the start {before}"
    else:
        after = few_labels_accuracy(method.encoder, source)
        others = [few_labels_accuracy(case.method(seed).encoder, source) for seed in range(UNTRAINED)]
        assert after > max(others) + MARGIN, f"accuracy {after:.3f}, untrained {others}"


def fits(case, path):
    """A seed repeats a fit, and the run is loaded again."""
    source = case.source()
    start = {"seed": 3, "quiet": True, **case.options}
    runs = [vergence.learn(case.key, source, out=path / str(i), **start) for i in range(2)]
    first, second = (embed(run.encoder, source).vectors for run in runs)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(embed(vergence.load(path / "0"), source).vectors, first)
    assert len(first) == len(source)
    assert first.std() > 0


def checks(case):
    """Return the checks that are asked of a case, by name."""
    learner = not issubclass(case.cls, Estimator)
    parts = (arguments, gradients, alone, resume, learns) if learner else (arguments, fits)
    return {check.__name__: check for check in parts}
