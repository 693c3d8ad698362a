"""Two processes of batch B are held against one of batch 2B: losses, gradients and state of a few steps."""

import dataclasses
import os
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.multiprocessing as mp
from filelock import FileLock
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from torch import Tensor

import vergence
from vergence.catalog import find
from vergence.core import Clock, Method, input_spec
from vergence.core.modality import known_modalities
from vergence.data.events.batch import stretches
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import GraphsSource
from vergence.engine.devices import make_fabric
from vergence.engine.distributed import mean_over_processes
from vergence.engine.loop import seed_step
from vergence.engine.sync_norm import synchronise_norms
from vergence.engine.turns import BatchHolder, Objective
from vergence.methods.graph.views import with_x

BOTH = 16  # samples that both processes see in one step


def variants(case):
    """Return the ways in which a case is compared, none where two processes cannot share what it learns from.

    Methods of any modality are asked on the first one alone.
    """
    if not issubclass(case.cls, Method) or case.exempt("two"):
        return []
    source = case.source()
    first = find(case.key).modality != "any" or case.modality == known_modalities()[0].name
    if not first or source.fitting_batch(BOTH, BOTH) >= len(source):
        return []
    return list(case.asks.get("two", {"": {}}))


def part(views, rank, world):
    """Take one process's share of whatever a method calls views; rows may hold the batch several times."""
    if isinstance(views, Tensor):
        if not views.ndim or len(views) % BOTH:
            return views
        return views.unflatten(0, (-1, world, BOTH // world))[:, rank].flatten(0, 1)
    if isinstance(views, list | tuple):
        return type(views)(part(view, rank, world) for view in views)
    if isinstance(views, dict):
        return {name: part(view, rank, world) for name, view in views.items()}
    if dataclasses.is_dataclass(views):
        fields = {f.name: part(getattr(views, f.name), rank, world) for f in dataclasses.fields(views)}
        return dataclasses.replace(views, **fields)
    return views


def shares(case, variant, rank, world):
    """Return a method and the views of two steps: one process's part of them.

    Views with chance are made for both processes and divided, as each would draw its own. A contract that
    gives views without chance has every process load its part.
    """
    asks = case.asks.get("two", {}).get(variant, {})
    source = asks["source"]() if "source" in asks else case.source().subset(np.arange(2 * BOTH))
    method = case.method(source=source, encoder=asks.get("encoder"), **asks.get("options", {})).train()
    spec = input_spec(method.encoder)
    if "views" in asks:
        made = asks["views"](method)
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


def take_steps(method, batches, fabric):
    """Return the losses and gradients of a step a batch, and what the method is then."""
    synchronise_norms(method, fabric.device)
    parameters = {n: p for n, p in method.named_parameters() if p.requires_grad}
    descend = torch.optim.SGD(parameters.values(), lr=1e-5)  # more would blow rounding up
    forward, update = fabric.setup(Objective(method, fabric.device), descend)
    result = {}
    for number, batch in enumerate(batches):
        method.clock = Clock(number, len(batches), 1)
        terms = forward(BatchHolder(batch))
        fabric.backward(sum(terms.values()))
        result |= {f"{number} loss {n}": mean_over_processes(value.detach()) for n, value in terms.items()}
        reached = {n: p.grad.clone() for n, p in parameters.items() if p.grad is not None}
        assert method.find_unused_parameters or reached.keys() == parameters.keys()
        result |= {f"{number} gradient {n}": gradient for n, gradient in reached.items()}
        update.step()
        update.zero_grad()
        method.step_end(method.clock)
    return result | {f"then {n}": value.nan_to_num() for n, value in method.state_dict().items()}


def assert_same(result, one):
    assert result.keys() == one.keys()
    for what, value in one.items():
        scale = value.abs().max().item() if value.is_floating_point() else 0
        torch.testing.assert_close(
            result[what], value, rtol=1e-4, atol=2e-5 * scale + 1e-7,
            msg=lambda text, what=what: f"{what}: {text}",
        )  # fmt: skip


def learn_a_little(case, variant, fabric):
    """Return the losses and gradients of two steps, and what the method is then."""
    method, batches = shares(case, variant, fabric.global_rank, fabric.world_size)
    return take_steps(method, batches, fabric)


def one_of_two(rank, port, pairs, out):
    os.environ.update(LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), NODE_RANK="0")
    torch.set_num_threads(1)
    fabric = make_fabric("fp32", devices=2, find_unused_parameters=True)
    torch.save([learn_a_little(*pair, fabric) for pair in pairs], out / f"{rank}.pt")


def in_two_processes(pairs, folder):
    """Return what both processes come to, in pairs' order; workers of one test run share one answer."""
    with FileLock(folder / "two.lock"):
        if not (folder / "1.pt").exists():
            mp.spawn(one_of_two, args=(find_free_network_port(), pairs, folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def few_digits():
    """32 photos: in the patterns of the example hundreds of equal pixels pass a ReLU's edge at once."""
    return vergence.open("digits").subset(np.arange(2 * BOTH))


def rings():
    """32 rings of 8 nodes, every one with two chords: equally many nodes a process."""
    n, pairs = 8, []
    for i in range(32):
        ring = np.stack([np.arange(n), (np.arange(n) + 1) % n])
        chord = np.array([[0, 2], [i % 5 + 2, 7]])
        pairs.append(np.concatenate([ring, chord], axis=1) + n * i)
    x = np.random.default_rng(0).normal(size=(32 * n, 5)).astype(np.float32)
    whole, _ = build(Edges(np.concatenate(pairs, axis=1), 32 * n), "rings", x=x)
    return GraphsSource(whole, np.arange(33) * n, "rings")


def two_copies(batch):
    return [batch, with_x(batch, 0.5 * batch.x + 1)]


def histories():
    """32 histories of 12 events: equally many a process."""
    rng, n, size = np.random.default_rng(0), 32, 12
    user = np.repeat(np.arange(n), size)
    shop = [f"s{v}" for v in rng.integers(0, 3, n * size)]
    log = {"user": user, "ts": np.arange(n * size), "shop": shop, "amount": np.exp(rng.normal(size=n * size))}
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(pa.table(log), f"{folder}/log.parquet")
        return vergence.open(f"events:{folder}/log.parquet?id=user&time=ts&categorical=shop&numeric=amount")


def halves(batch):
    """The first six events of every history, and the last six."""
    owner = torch.arange(len(batch)).repeat_interleave(2)
    begin = batch.offsets[owner] + 6 * (torch.arange(len(owner)) % 2)
    rows, offsets = stretches(begin, torch.full_like(owner, 6))
    return batch.pick(rows, offsets, owner)
