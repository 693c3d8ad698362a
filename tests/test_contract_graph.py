"""What is asked of every method that learns on graphs. An exemption is a name with a reason."""

import inspect
from functools import cache

import numpy as np
import pytest
import torch

import vergence
from vergence.catalog import PAPERS
from vergence.core import Estimator, Method
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import GraphsSource, NodeSource
from vergence.engine import embed
from vergence.engine.health import feature_std
from vergence.engine.loop import seed_step
from vergence.evaluate.protocols.graph import node_probe
from vergence.methods.graph import encoders
from vergence.methods.graph.views import KINDS
from vergence.train import method_class

PAIRS = ("simclr", "vicreg", "barlow", "byol")
OPTIONS = {"byol": {"momentum": 0.9}}
# key -> "nodes" or "graphs", where a method takes one of them only
GRAIN = {
    "jointgraphdiff": "graphs",
    "selftask": "nodes",
    "gcc": "graphs",
    "graphcl": "graphs",
    "gain": "nodes",
    "ehgnn": "graphs",
    "supergat": "nodes",
}
# key -> why it cannot learn from a plain graph; its own tests ask the contract
OTHER_DATA = {
    "egnas": "it searches on sets of graphs with targets or labels",
    "hypeboy": "learns from hyperedges",
    "meow": "learns from typed graphs",
    "neuralfp": "learns from numbers that are known of molecules",
    "smart": "watches a graph that grows",
    "tagraph": "learns from point clouds",
}
NO_GAIN = {}  # key -> why a probe of labels is not what it gets better at in seconds


def class_of(paper):
    if paper.code is None or ":" not in paper.code:
        return None
    try:
        return method_class(paper.key)
    except vergence.BadInput:  # a backbone, a protocol, …
        return None


GRAPH = {p.key: cls for p in PAPERS if p.modality == "graph" and (cls := class_of(p)) is not None}
METHODS = [*PAIRS, *(key for key, cls in GRAPH.items() if issubclass(cls, Method) and key not in OTHER_DATA)]
ESTIMATORS = [key for key, cls in GRAPH.items() if issubclass(cls, Estimator) and key not in OTHER_DATA]
CASES = [(key, grain) for key in METHODS for grain in ("nodes", "graphs") if GRAIN.get(key, grain) == grain]


@cache
def nodes():
    """240 nodes of three kinds: links mostly within a kind, features that say a little."""
    rng, n = np.random.default_rng(0), 240
    y = np.arange(n) % 3
    share = np.where(y[:, None] == y, 0.08, 0.01)
    pairs = np.argwhere(np.triu(rng.random((n, n)) < share, 1)).T
    x = (rng.random((n, 24)) < 0.15 + 0.12 * (np.arange(24) % 3 == y[:, None])).astype(np.float32)
    graph, _ = build(Edges(pairs, n), "parts", x=x, y=y)
    return NodeSource(graph, "parts", classes=["a", "b", "c"])


@cache
def graphs():
    """96 small graphs: rings, and rings with a chord from every other node."""
    rng, pairs, ptr, y = np.random.default_rng(0), [], [0], []
    for i in range(96):
        n, start = int(rng.integers(6, 13)), ptr[-1]
        ring = np.stack([np.arange(n), (np.arange(n) + 1) % n])
        chords = np.stack([np.arange(0, n - 2, 2), np.arange(2, n, 2)]) if i % 2 else ring[:, :0]
        pairs.append(np.concatenate([ring, chords], axis=1) + start)
        ptr.append(start + n)
        y.append(i % 2)
    every, _ = build(Edges(np.concatenate(pairs, axis=1), ptr[-1]), "rings")
    return GraphsSource(every, np.array(ptr), "rings", labels=np.array(y), classes=["ring", "chords"])


def source_of(grain):
    return nodes() if grain == "nodes" else graphs()


def make(key, source, seed=0):
    cls = method_class(key)
    torch.manual_seed(seed)
    small = {"width": 32} if ":" not in (cls.recipe.encoder or "") else {}
    method = cls(encoders.for_source(source, cls.recipe.encoder, **small), **OPTIONS.get(key, {}))
    if isinstance(method.views, str):
        method.views = KINDS[method.views]()
    method.setup(source)
    return method


def step(method, batch):
    seed_step(0, 0, 0)
    with torch.no_grad():
        views = method.views(batch)
    return method.loss(views)


def first_batch(source):
    return next(source.loader(source.fitting_batch(64, 64), shuffle=True))


@pytest.mark.parametrize(("key", "grain"), CASES)
def test_every_trainable_parameter_gets_a_gradient_and_frozen_ones_none(key, grain):
    method = make(key, source_of(grain)).train()
    terms = step(method, first_batch(source_of(grain)))
    assert terms and all(t.ndim == 0 and torch.isfinite(t) for t in terms.values())
    sum(terms.values()).backward()
    assert [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
    assert all(p.grad is None for p in method.parameters() if not p.requires_grad)


@pytest.mark.parametrize(("key", "grain"), CASES)
def test_the_input_batch_stays_as_it_was(key, grain):
    source = source_of(grain)
    method, batch = make(key, source), first_batch(source)
    before = {name: value.clone() for name, value in batch.to_dict().items() if torch.is_tensor(value)}
    step(method, batch)
    assert all(torch.equal(batch[name], value) for name, value in before.items())


@pytest.mark.parametrize("key", [key for key, grain in CASES if grain == "graphs"])
def test_an_embedding_does_not_depend_on_who_shares_its_batch(key):
    source = graphs()
    method = make(key, source).eval()
    together = method.embed(source.batch(np.arange(20)))
    alone = method.embed(source.batch(np.array([7])))
    torch.testing.assert_close(alone[0], together[7], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("key", [key for key, grain in CASES if grain == "nodes"])
def test_an_embedding_does_not_depend_on_the_numbers_of_the_nodes(key):
    source = nodes()
    method = make(key, source).eval()
    batch = source.whole_graph()
    turn = torch.randperm(len(source), generator=torch.Generator().manual_seed(0))
    place = torch.argsort(turn)
    other = batch.clone()
    other.x, other.edge_index = batch.x[turn], place[batch.edge_index]
    torch.testing.assert_close(method.embed(other), method.embed(batch)[turn], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("key", [*METHODS, *ESTIMATORS])
def test_arguments_are_the_configuration(key):
    cls = method_class(key)
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    if issubclass(cls, Method):
        assert parameters.pop(0).name == "encoder"
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters)


@pytest.mark.parametrize(("key", "grain"), CASES)
def test_a_seed_repeats_a_run_and_resume_is_exact(key, grain, tmp_path):
    source, cls = source_of(grain), method_class(key)
    start = {"quiet": True, "epochs": 4 if grain == "nodes" else 2, "save_every": 1, **OPTIONS.get(key, {})}
    if ":" not in (cls.recipe.encoder or ""):
        start["encoder_options"] = {"width": 16}

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


@pytest.mark.parametrize("key", [key for key, grain in CASES if grain == "nodes" and key not in NO_GAIN])
def test_seconds_of_training_beat_the_untrained_encoder_and_do_not_collapse(key, tmp_path):
    source, method = nodes(), make(key, nodes())
    rng = np.random.default_rng(0).permutation(len(source))

    def probe(encoder):
        z = embed(encoder, source).vectors
        found = node_probe(z, source.labels, rng[:15], rng[15:45], rng[45:], scale="standard")
        return found["accuracy"].value, feature_std(torch.from_numpy(z))

    before, _ = probe(method.encoder)
    settings = {"epochs": 80, "lr": 3e-3, "optimizer": "adam", "weight_decay": 0.0}
    vergence.learn(method, source, out=tmp_path / "run", quiet=True, warmup=1, **settings)
    after, std = probe(method.encoder)
    assert after > before
    assert std > 0.05


@pytest.mark.parametrize("key", ESTIMATORS)
def test_a_fit_is_repeated_by_its_seed_and_loaded_again(key, tmp_path):
    source = nodes()
    runs = [vergence.learn(key, source, out=tmp_path / str(i), seed=3, quiet=True) for i in range(2)]
    first, second = (embed(run.encoder, source).vectors for run in runs)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(embed(vergence.load(tmp_path / "0"), source).vectors, first)
    assert first.std() > 0
