"""What two processes and one are compared by: losses, gradients and state of a few steps."""

import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import vergence
from vergence.core import Clock
from vergence.data.events.batch import stretches
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import GraphsSource
from vergence.engine.distributed import mean_over_processes
from vergence.engine.loop import _BatchHolder, _Step
from vergence.engine.sync_norm import synchronise_norms
from vergence.methods.graph.views import with_x


def take_steps(method, batches, fabric):
    """Return the losses and gradients of a step a batch, and what the method is then."""
    synchronise_norms(method, fabric.device)
    parameters = {n: p for n, p in method.named_parameters() if p.requires_grad}
    descend = torch.optim.SGD(parameters.values(), lr=1e-5)  # more would blow rounding up
    forward, update = fabric.setup(_Step(method, fabric.device), descend)
    found = {}
    for number, batch in enumerate(batches):
        method.clock = Clock(number, len(batches), 1)
        terms = forward(_BatchHolder(batch))
        fabric.backward(sum(terms.values()))
        found |= {f"{number} loss {n}": mean_over_processes(value.detach()) for n, value in terms.items()}
        taught = {n: p.grad.clone() for n, p in parameters.items() if p.grad is not None}
        assert method.find_unused_parameters or taught.keys() == parameters.keys()
        found |= {f"{number} gradient {n}": gradient for n, gradient in taught.items()}
        update.step()
        update.zero_grad()
        method.step_end(method.clock)
    return found | {f"then {n}": value.nan_to_num() for n, value in method.state_dict().items()}


def assert_same(found, one):
    assert found.keys() == one.keys()
    for what, value in one.items():
        scale = value.abs().max().item() if value.is_floating_point() else 0
        torch.testing.assert_close(
            found[what], value, rtol=1e-4, atol=2e-5 * scale + 1e-7,
            msg=lambda text, what=what: f"{what}: {text}",
        )  # fmt: skip


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
