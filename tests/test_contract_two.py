"""Two processes of batch B give what one gives with batch 2B: methods of graphs, events and tables.

Pictures have this in ``test_contract.py``. Here every process loads its own share, and views are made
without chance, so that both worlds see the same.
"""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.multiprocessing as mp
from lightning_fabric.plugins.environments.lightning import find_free_network_port

import vergence
from two_processes import assert_same, take_steps
from vergence.data.events.batch import stretches
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import GraphsSource
from vergence.data.tables import TableSchema, from_frame
from vergence.engine.devices import make_fabric
from vergence.methods.events import encoders as events
from vergence.methods.graph import encoders as graph
from vergence.methods.graph.views import with_x
from vergence.methods.tables import encoders as tables
from vergence.train import method_class

BOTH = 16


def rings():
    """32 rings of 8 nodes, every other one with chords: equally many nodes a process."""
    n, pairs = 8, []
    for i in range(2 * BOTH):
        ring = np.stack([np.arange(n), (np.arange(n) + 1) % n])
        chord = np.array([[0, 2], [i % 5 + 2, 7]])
        pairs.append(np.concatenate([ring, chord], axis=1) + n * i)
    x = np.random.default_rng(0).normal(size=(2 * BOTH * n, 5)).astype(np.float32)
    whole, _ = build(Edges(np.concatenate(pairs, axis=1), 2 * BOTH * n), "rings", x=x)
    return GraphsSource(whole, np.arange(2 * BOTH + 1) * n, "rings")


def histories(folder):
    """32 histories of 12 events: equally many a process."""
    rng, n, size = np.random.default_rng(0), 2 * BOTH, 12
    user = np.repeat(np.arange(n), size)
    shop = [f"s{v}" for v in rng.integers(0, 3, n * size)]
    log = {"user": user, "ts": np.arange(n * size), "shop": shop, "amount": np.exp(rng.normal(size=n * size))}
    pq.write_table(pa.table(log), folder / "log.parquet")
    return vergence.open(f"events:{folder}/log.parquet?id=user&time=ts&categorical=shop&numeric=amount")


def numbers():
    columns = np.random.default_rng(0).normal(size=(6, 2 * BOTH))
    return from_frame(pa.table({f"x{i}": column for i, column in enumerate(columns)}), TableSchema())


def two_copies(batch):
    return [batch, with_x(batch, 0.5 * batch.x + 1)]


def halves(batch):
    """The first six events of every history, and the last six."""
    owner = torch.arange(len(batch)).repeat_interleave(2)
    begin = batch.offsets[owner] + 6 * (torch.arange(len(owner)) % 2)
    rows, offsets = stretches(begin, torch.full_like(owner, 6))
    return batch.pick(rows, offsets, owner)


PLAIN = {"name": "gru", "dim": 8, "noise": 0.0}
CASES = {  # name -> modality, encoder, options, views without chance
    "graphcl": ("graph", {"name": "gin", "width": 8, "norm": "batch", "readout": "sum"}, {}, two_copies),
    "grace": ("graph", {"name": "gin", "width": 8, "norm": "none", "readout": "sum"}, {}, two_copies),
    "mvgrl": (
        "graph",
        {"name": "vergence.methods.graph.mvgrl:TwoViews", "width": 8},
        {},
        lambda b: (b, None),
    ),
    "coles": ("events", PLAIN, {"slices": 2, "shortest": 6}, halves),
    "mlem": ("events", PLAIN, {"slices": 2, "shortest": 6}, halves),
    "tldr": ("tables", {"name": "linear", "dim": 4}, {"hidden": 16}, None),
}
ENCODERS = {"graph": graph, "events": events, "tables": tables}


def made(name, folder):
    modality, encoder, options, views = CASES[name]
    source = {"graph": rings, "tables": numbers, "events": lambda: histories(folder)}[modality]()
    torch.manual_seed(0)
    spec = dict(encoder)
    method = method_class(name)(ENCODERS[modality].for_source(source, spec.pop("name"), **spec), **options)
    method.setup(source)
    if views is not None:
        method.views = views
    else:
        method.near = method.near[:, :1]  # the nearest, always
    return method.train(), source


def learn_a_little(name, fabric, folder):
    """Return the losses and gradients of two steps, and what the method is then."""
    method, source = made(name, folder)
    rank, world = fabric.global_rank, fabric.world_size
    batches = source.loader(BOTH // world, shuffle=True, seed=1, rank=rank, world=world)
    return take_steps(method, list(batches), fabric)


def one_of_two(rank, port, out):
    os.environ.update(LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), NODE_RANK="0")
    torch.set_num_threads(1)
    fabric = make_fabric("fp32", devices=2, find_unused_parameters=True)
    (out / str(rank)).mkdir()
    torch.save({name: learn_a_little(name, fabric, out / str(rank)) for name in CASES}, out / f"{rank}.pt")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    out = tmp_path_factory.mktemp("two")
    mp.spawn(one_of_two, args=(find_free_network_port(), out), nprocs=2)
    return [torch.load(out / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_give_the_loss_gradients_and_state_of_one_with_both_batches(name, two, tmp_path):
    one = learn_a_little(name, make_fabric("fp32", devices=1), tmp_path)
    for found in two:
        assert_same(found[name], one)
