"""What is asked of every method, on the example source of its modality; ``test_contract.py`` asks it.

What a method needs to be asked stands beside its own test, in ``CONTRACT`` of
``tests/methods/<folder>/test_<key>.py``, a dictionary with any of

    source    () -> what it learns from, where the modality's example will not do
    kinds     kinds of the example, such as ("graphs",); of a method of any modality {modality: kinds}
    encoder   options of the encoder, and its name
    options   arguments of the method, such as small heads, or a function that gives them
    quick     further ones for a training of seconds
    learn     settings of that training
    two       how two processes are compared: options of encoder and method, and views without chance
    exempt    {name of a check: why it is not asked}
"""

import copy
import dataclasses
import importlib.util
import inspect
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import vergence
from vergence.catalog import PAPERS, find
from vergence.core import Estimator, Method, input_spec
from vergence.core.modality import find_modality, known_modalities
from vergence.engine import embed
from vergence.engine.health import feature_std
from vergence.engine.loop import seed_step
from vergence.evaluate import knn
from vergence.train import method_class

BATCH, STEPS = 32, 240
METHODS = Path(__file__).parent / "methods"


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
    cls = method_class(key)
    path = METHODS / cls.__module__.split(".")[-2] / f"test_{key.replace('-', '_')}.py"
    if not path.exists():
        return {}
    spec = importlib.util.spec_from_file_location(f"contract_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, "CONTRACT", {})


@dataclasses.dataclass(frozen=True)
class Case:
    """A method on one kind of data."""

    key: str
    modality: str
    kind: str = ""

    def __str__(self):
        return "-".join(filter(None, [self.key, self.modality, self.kind]))

    @property
    def cls(self):
        return method_class(self.key)

    @property
    def asks(self):
        return contract_of(self.key)

    def exempt(self, check):
        return self.asks.get("exempt", {}).get(check)

    def source(self):
        if "source" in self.asks:
            return self.asks["source"]()
        return example(self.modality, self.kind)

    @property
    def options(self):
        given = self.asks.get("options", {})
        return given() if callable(given) else given

    def settings(self):
        """Return how ``learn`` is told the encoder: what the contract says, else what suits a first look."""
        known = find_modality(self.modality).load("encoders")
        small = known.small(self.source()) if hasattr(known, "small") else {}
        told = dict(self.asks.get("encoder", {}))
        name = told.pop("name", None) or self.cls.recipe.encoder
        if name is None or name == small.get("encoder"):
            return {**small, "encoder_options": {**small.get("encoder_options", {}), **told}}
        return {**{k: v for k, v in small.items() if k == "size"}, "encoder": name, "encoder_options": told}

    def encoder(self, **options):
        told, known = self.settings(), find_modality(self.modality).load("encoders")
        given = {**told.get("encoder_options", {}), **options}
        name = given.pop("name", None) or told.get("encoder") or self.cls.recipe.encoder
        return known.for_source(self.source(), name, size=told.get("size") or self.cls.recipe.size, **given)

    def method(self, seed=0, encoder=None, **options):
        torch.manual_seed(seed)
        source = self.source()
        method = self.cls(self.encoder(**(encoder or {})), **{**self.options, **options})
        if isinstance(method.views, str):
            kinds = find_modality(self.modality).load("views").KINDS
            spec = input_spec(method.encoder) or {}
            method.views = kinds[method.views](**spec, **source.view_options)
        else:
            method.configure_views(source.view_options)
        method.setup(source)
        return method


@cache
def example(modality, kind):
    return find_modality(modality).load("example_source")(kind)


def cases():
    """Return every method of the catalog, those of any modality once a modality."""
    found = []
    for paper in PAPERS:
        if class_of(paper) is None:
            continue
        asks = contract_of(paper.key)
        anywhere = paper.modality == "any"
        for modality in [m.name for m in known_modalities()] if anywhere else [paper.modality]:
            kinds = asks.get("kinds", {} if anywhere else ("",))
            kinds = kinds.get(modality, ("",)) if anywhere else kinds
            found += [Case(paper.key, modality, kind) for kind in kinds]
    return found


def first_batch(method, source):
    own = method.batches(source)
    batches = own if own is not None else source
    batch = source.fitting_batch(BATCH, BATCH)
    return next(iter(batches.loader(batch, spec=input_spec(method.encoder), shuffle=True)))


def step(method, batch):
    seed_step(0, 0, 0)
    with torch.no_grad():
        views = method.views(batch)
    return method.loss(views)


def tensors(batch):
    fields = batch.to_dict() if hasattr(batch, "to_dict") else {}
    if dataclasses.is_dataclass(batch):
        fields = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    return {name: value for name, value in fields.items() if isinstance(value, Tensor)}


def gradients(case, path):
    """Every trainable parameter gets a gradient, a teacher's none; the input stays as it was."""
    method, source = case.method().train(), case.source()
    batch = first_batch(method, source)
    before = copy.deepcopy(tensors(batch))
    terms = step(method, batch)
    assert before and all(
        torch.equal(value.nan_to_num(), before[name].nan_to_num()) for name, value in tensors(batch).items()
    )
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


def arguments(case, path):
    """The arguments are the configuration: named, each with a default."""
    parameters = list(inspect.signature(case.cls.__init__).parameters.values())[1:]
    if issubclass(case.cls, Method):
        assert parameters.pop(0).name == "encoder"
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters)


def weights(run):
    return {name: value.clone() for name, value in run.encoder.state_dict().items()}


def resume(case, path):
    """A seed repeats a run, and one that was broken off goes on as it would have gone on."""
    source = case.source()
    batch = source.fitting_batch(BATCH, BATCH)
    if batch < len(source):
        source = source.subset(np.arange(4 * batch))
    start = {**case.settings(), **case.options, "batch_size": batch, "save_every": 1}
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
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    loaded = vergence.load(path / "whole").state_dict()
    assert all(torch.equal(whole[name], loaded[name]) for name in whole)


def learns(case, path):
    """Seconds of training beat the untrained encoder, and do not collapse."""
    source, method = case.source(), case.method(**case.asks.get("quick", {}))
    labels = torch.from_numpy(np.asarray(source.labels))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    known, asked = order[: len(order) // 2], order[len(order) // 2 :]

    def vote(encoder):
        x = torch.from_numpy(embed(encoder, source).vectors)
        return knn(x[known], labels[known], x[asked], labels[asked], k=5).value, feature_std(x)

    before, _ = vote(method.encoder)
    batch = source.fitting_batch(2 * BATCH, 2 * BATCH)
    settings = {"lr": 2e-3, "optimizer": "adamw", "weight_decay": 1e-4, "warmup": 1, "batch_size": batch}
    settings |= {"epochs": -(-STEPS * batch // len(source)), **case.asks.get("learn", {})}
    vergence.learn(method, source, out=path / "run", quiet=True, **settings)
    after, std = vote(method.encoder)
    assert after > before, f"k-NN {after:.3f}, untrained {before:.3f}"
    assert std > 0.05


def fits(case, path):
    """A seed repeats a fit, and the run is loaded again."""
    source = case.source()
    start = {"seed": 3, "quiet": True, **case.options}
    runs = [vergence.learn(case.key, source, out=path / str(i), **start) for i in range(2)]
    first, second = (embed(run.encoder, source).vectors for run in runs)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(embed(vergence.load(path / "0"), source).vectors, first)
    assert len(first) == len(source) and first.std() > 0


def checks(case):
    """Return the checks that are asked of a case, by name."""
    of_all = (
        (arguments, fits)
        if issubclass(case.cls, Estimator)
        else (arguments, gradients, alone, resume, learns)
    )
    return {check.__name__: check for check in of_all}


# Two processes of batch B give the loss, gradients and state of one process with batch 2B.
BOTH = 16


def divided(case):
    """Say whether two processes can share what a case learns from."""
    source = case.source()
    first = find(case.key).modality != "any" or case.modality == known_modalities()[0].name
    return issubclass(case.cls, Method) and first and source.fitting_batch(BOTH, BOTH) < len(source)


def part(views, rank, world):
    """Take one process's share of whatever a method calls views; rows may hold the batch several times."""
    if isinstance(views, Tensor):
        if not views.ndim or len(views) % BOTH:
            return views
        return views.unflatten(0, (-1, world, BOTH // world))[:, rank].flatten(0, 1)
    if isinstance(views, list | tuple):
        return type(views)(part(view, rank, world) for view in views)
    if dataclasses.is_dataclass(views):
        fields = {f.name: part(getattr(views, f.name), rank, world) for f in dataclasses.fields(views)}
        return dataclasses.replace(views, **fields)
    return views


def shares(case, variant, rank, world):
    """Return a method and the views of two steps: one process's part of them.

    Views with chance are made for both processes and divided, as each would draw its own. A contract that
    gives views without chance has every process load its part.
    """
    told = case.asks.get("two", {}).get(variant, {})
    source = told["source"]() if "source" in told else case.source().subset(np.arange(2 * BOTH))
    method = case.method(encoder=told.get("encoder"), **told.get("options", {})).train()
    spec = input_spec(method.encoder)
    if "views" in told:
        method.setup(source)
        made = told["views"](method) or method.views
        batches = source.loader(BOTH // world, spec=spec, shuffle=True, seed=1, rank=rank, world=world)
        method.views = lambda batch: made(batch)
        return method, list(batches)
    prepared = []
    for number, batch in enumerate(source.loader(BOTH, spec=spec, shuffle=True, seed=1)):
        seed_step(0, number, 0)
        with torch.no_grad():
            prepared.append(method.views(batch))
    method.views = lambda views: views
    return method, [part(views, rank, world) for views in prepared]
