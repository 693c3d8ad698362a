"""What is asked of every method in the catalog. An exemption is a name with a reason."""

import dataclasses
import inspect
import os

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from PIL import Image
from torch import Tensor

import vergence
from two_processes import assert_same, take_steps
from vergence.catalog import PAPERS
from vergence.core import Method
from vergence.core.specs import innermost
from vergence.engine import embed
from vergence.engine.devices import make_fabric
from vergence.engine.health import feature_std
from vergence.engine.loop import seed_step
from vergence.evaluate import knn
from vergence.methods.image import encoders
from vergence.methods.image.views import KINDS
from vergence.train import method_class

SIZE, BATCH = 16, 32
LIGHT = {  # heads as wide as the papers' would take most of the time here
    "dinov2": {"prototypes": 64, "hidden": 64, "bottleneck": 32, "n_local": 2},
    "mocov3": {"hidden": 128, "dim": 64},
    "sscd": {"dim": 64, "entropy": 5.0},
}
QUICK = {"mocov3": {"momentum": 0.9, "crop": 0.2}}  # 240 steps, not 100,000
NO_GAIN = {
    "byol": "pulls itself up too slowly for 240 steps; its run of record is longer",
    "gmml": "learns to paint, which a k-NN vote does not reward; its run of record fine-tunes",
    "mocov3": "240 steps gain nothing over five seeds (28 to 29 %, untrained 31); its run of record does",
}


def trained(paper):
    if paper.code is None or ":" not in paper.code:
        return False
    try:
        return issubclass(method_class(paper.key), Method)
    except vergence.BadInput:  # a readout, a protocol, …
        return False


# Those that look at images; of other modalities a file of their own asks, such as test_contract_graph.py.
ELSEWHERE = ["cores"]  # learns from labels; tests/methods/image/test_cores.py asks
IMAGES = [p for p in PAPERS if p.modality in ("image", "any") and p.key not in ELSEWHERE]
METHODS = [paper.key for paper in IMAGES if trained(paper)]


def test_the_contract_is_asked_of_every_learner_that_is_in():
    assert len(METHODS) == sum(p.kind == "learner" and p.code is not None for p in IMAGES)
    assert len(METHODS) >= 9
    assert set(NO_GAIN) | set(LIGHT) <= set(METHODS)


@pytest.fixture(scope="module")
def digits():
    return vergence.open("digits").subset(np.arange(600))


def make(key, digits, seed=0, registers=0, **options):
    cls = method_class(key)
    torch.manual_seed(seed)
    transformer = (cls.recipe.encoder or "").startswith("vit")
    spec = {"name": "vit-micro", "patch": 4} if transformer else {"name": "resnet-tiny", "width": 24}
    if registers:
        spec["registers"] = registers
    method = cls(encoders.build(**spec, size=SIZE), **LIGHT.get(key, {}), **options)
    if isinstance(method.views, str):
        method.views = KINDS[method.views](SIZE, **digits.view_options)
    method.setup(digits)
    return method


def first_batch(digits):
    return next(iter(digits.loader(BATCH, spec={"size": SIZE}, shuffle=True)))


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
    alone = next(iter(digits.subset(batch.index[:1].numpy()).loader(1, spec={"size": SIZE})))
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
    start = {"encoder": innermost(make(key, few).encoder.spec)["name"], "size": SIZE, "batch_size": BATCH}
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


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    """512 patterns of four kinds in random colours: colour says nothing, the pattern everything."""
    rng, n = np.random.default_rng(0), 512
    kind = np.arange(n) % 4
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    cycles = 2 * np.pi * rng.uniform(2, 4, (n, 1, 1))
    shift = rng.uniform(0, 2 * np.pi, (2, n, 1, 1))
    columns, rows = np.sin(cycles * x + shift[0]), np.sin(cycles * y + shift[1])
    slanted = np.sin(cycles * (x + y) / 1.4 + shift[0])
    wave = np.choose(kind[:, None, None], [columns, rows, 1.5 * columns * rows, slanted]).clip(-1, 1)
    share = (wave[..., None] + 1) / 2
    ink, paper = rng.uniform(0, 255, (2, n, 1, 1, 3))
    folder = tmp_path_factory.mktemp("textures")
    for i, pixels in enumerate((ink * share + paper * (1 - share)).astype(np.uint8)):
        (folder / str(kind[i])).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / str(kind[i]) / f"{i}.png")
    return vergence.open(folder)


@pytest.mark.parametrize("key", [k for k in METHODS if k not in NO_GAIN])
def test_seconds_of_training_beat_the_untrained_encoder_and_do_not_collapse(key, textures, tmp_path):
    method = make(key, textures, **QUICK.get(key, {}))
    labels = torch.from_numpy(textures.labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    known, asked = order[:256], order[256:]

    def vote(encoder):
        x = torch.from_numpy(embed(encoder, textures).vectors)
        return knn(x[known], labels[known], x[asked], labels[asked], k=5).value, feature_std(x)

    before, _ = vote(method.encoder)
    settings = {"epochs": 30, "batch_size": 64, "lr": 2e-3, "optimizer": "adamw", "weight_decay": 1e-4}
    vergence.learn(method, textures, out=tmp_path / "run", quiet=True, warmup=1, **settings)
    after, std = vote(method.encoder)
    assert after > before
    assert std > 0.05


# Two processes of batch B give the loss, gradients and state of one process with batch 2B. Both worlds
# get the same views, made beforehand: left to themselves, processes draw their own.
BOTH, STEPS = 16, 2
HOMES = ("vergence.methods.pairs.", "vergence.methods.image.")  # whose batches rows can be taken of
CASES = {
    paper.key: (paper.key, {}) for paper in PAPERS if trained(paper) and paper.code.startswith(HOMES)
} | {
    "dinov2": ("dinov2", {"freeze_prototypes": 0}),
    "dinov2-frozen": ("dinov2", {}),
    "dinov2-centre": ("dinov2", {"freeze_prototypes": 0, "centring": "centre"}),
    "dinov2-registers": ("dinov2", {"freeze_prototypes": 0, "registers": 2}),
}


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


def learn_a_little(name, fabric):
    """Return the losses and gradients of two steps, and what the method is then."""
    key, options = CASES[name]
    digits = vergence.open("digits").subset(np.arange(4 * BOTH))
    method = make(key, digits, **options).train()
    batches = digits.loader(BOTH, spec={"size": SIZE}, shuffle=True, seed=1)
    prepared = []
    for number, batch in zip(range(STEPS), batches, strict=False):
        seed_step(0, number, 0)
        with torch.no_grad():
            prepared.append(method.views(batch))
    method.views = lambda views: views
    shares = [part(views, fabric.global_rank, fabric.world_size) for views in prepared]
    return take_steps(method, shares, fabric)


def one_of_two(rank, port, out):
    os.environ.update(LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), NODE_RANK="0")
    torch.set_num_threads(1)
    fabric = make_fabric("fp32", devices=2, find_unused_parameters=True)
    torch.save({name: learn_a_little(name, fabric) for name in CASES}, out / f"{rank}.pt")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    out = tmp_path_factory.mktemp("two")
    mp.spawn(one_of_two, args=(find_free_network_port(), out), nprocs=2)
    return [torch.load(out / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_give_the_loss_gradients_and_state_of_one_with_both_batches(name, two):
    one = learn_a_little(name, make_fabric("fp32", devices=1))
    for found in two:
        assert_same(found[name], one)


def test_the_processes_end_with_the_same_state(two):
    for name in CASES:
        first, second = (found[name] for found in two)
        apart = [what for what in first if "then " in what and not torch.equal(first[what], second[what])]
        assert (name, apart) == (name, [])
