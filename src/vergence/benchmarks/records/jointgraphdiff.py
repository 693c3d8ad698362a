"""Joint diffusion on generated grids: do the values of edges fit those of their ends?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.integrate import quad

from vergence.benchmarks.arms import Training
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.tasks import Metric, generated
from vergence.core import Method
from vergence.data.graph import pyg
from vergence.data.graph.source import GraphsSource
from vergence.evaluate.protocols.graph import sample_mmd
from vergence.methods.graph.jointgraphdiff import BETA, JointGraphDiff, ScoreNet, marginal, pairs

GRAPHS, NOISE = 256, 0.1


def grids(source: GraphsSource | None, seed: int, *, most: int = 3) -> tuple[GraphsSource, GraphsSource]:
    """Return two sets of grids, 2 to ``most`` nodes a side: an edge's value is its ends' sum and noise."""
    del source
    rng = np.random.default_rng([37, seed])
    return _grids(rng, most), _grids(rng, most)


def _grids(rng: np.random.Generator, most: int) -> GraphsSource:
    ptr, edges = [0], []
    for high, wide in rng.integers(2, most + 1, (GRAPHS, 2)):
        ids = np.arange(high * wide).reshape(high, wide) + ptr[-1]
        across = np.stack([ids[:, :-1].ravel(), ids[:, 1:].ravel()])
        down = np.stack([ids[:-1].ravel(), ids[1:].ravel()])
        edges.append(np.concatenate([across, down], axis=1))
        ptr.append(ptr[-1] + high * wide)
    u, v = np.concatenate(edges, axis=1)
    x = rng.normal(size=ptr[-1])
    value = x[u] + x[v] + NOISE * rng.normal(size=len(u))
    order = np.lexsort((np.concatenate([v, u]), np.concatenate([u, v])))
    both = np.concatenate([[u, v], [v, u]], axis=1)[:, order]
    data = pyg.Data(
        x=torch.from_numpy(x[:, None]).float(), edge_index=torch.from_numpy(both), num_nodes=ptr[-1],
        edge_attr=torch.from_numpy(np.tile(value, 2)[order][:, None]).float(),
    )  # fmt: skip
    return GraphsSource(data, np.array(ptr), "generated grids")


def triples(graphs: list[pyg.Data]) -> np.ndarray:
    """Return a row (value of one end, of the other, of the edge) for every edge and direction."""
    rows = [
        torch.cat([g.x[g.edge_index[0]], g.x[g.edge_index[1]], g.edge_attr], dim=1).numpy() for g in graphs
    ]
    every = np.concatenate(rows)
    return every if len(every) else np.zeros((1, 3))


def fit_of_edges(encoder: Any, train: Any, test: Any, seed: int) -> float:
    """Return the MMD of edges with their ends, between unseen graphs and as many drawn ones."""
    torch.manual_seed(seed)
    drawn = encoder.sample(GRAPHS, steps=100)
    real = [test.sample(i) for i in range(len(test))]
    return float(sample_mmd(triples(real), triples(drawn), seed=seed).value) ** 0.5


class Shuffled(ScoreNet):
    """Draws graphs, then gives each edge the value of any edge drawn."""

    def sample(self, count: int, *, steps: int = 200) -> list[pyg.Data]:
        graphs = super().sample(count, steps=steps)
        values = torch.cat([g.edge_attr for g in graphs])
        values = values[torch.randperm(len(values))]
        for graph, part in zip(graphs, values.split([g.num_edges for g in graphs]), strict=True):
            graph.edge_attr = part
        return graphs


def shuffled(encoder: ScoreNet) -> Method:
    encoder.__class__ = Shuffled
    return JointGraphDiff(encoder)


MMD = Metric(
    "MMD of (value of both ends, of the edge), 256 unseen against 256 drawn graphs",
    fit_of_edges,
    less_is_better=True,
)
train = Training("vergence.methods.graph.jointgraphdiff:ScoreNet", {"layers": 2}, epochs=100, batch=64)


def derived() -> Iterator[tuple[Any, Any]]:
    """Give the SDE's marginal by quadrature of β, and the loss written pair by pair."""
    for moment in (0.01, 0.3, 0.7, 1.0):
        area = quad(lambda s: BETA[0] + s * (BETA[1] - BETA[0]), 0.0, moment)[0]
        mean, deviation = marginal(torch.tensor(moment, dtype=torch.double))
        yield mean.item(), np.exp(-area / 2)
        yield deviation.item(), np.sqrt(1 - np.exp(-area))
    torch.manual_seed(0)
    net = ScoreNet(2, 1, most=4, width=8, layers=2, heads=2).double()
    method, mask = JointGraphDiff(net), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]], dtype=torch.bool)
    x, e = (torch.randn(2, *shape, dtype=torch.double) for shape in ((4, 2), (4, 4, 2)))
    z_x, z_e = (torch.randn_like(part) for part in (x, e))
    t = torch.tensor([0.2, 0.9], dtype=torch.double)
    terms = method.loss((x, e, z_x, z_e, mask, t))
    found_x, found_e = net.predict(x, e, mask, t)
    nodes = [(k, i) for k in range(2) for i in range(4) if mask[k, i]]
    both = [(k, i, j) for k, i in nodes for m, j in nodes if m == k and i != j]
    # where no node or pair is, both noises are 0 in training; here ours counts what is drawn there
    x_apart = torch.stack([(found_x[k, i] - z_x[k, i]).square().sum() for k, i in nodes]).sum()
    e_apart = torch.stack([(found_e[k, i, j] - z_e[k, i, j]).square().sum() for k, i, j in both]).sum()
    spare_x = z_x[~mask].square().sum()
    spare_e = z_e[~pairs(mask)].square().sum()
    yield terms["nodes"].item(), (x_apart + spare_x).item() / (2 * len(nodes))
    yield terms["edges"].item(), (e_apart + spare_e).item() / (2 * len(both))


PARITY = Parity(
    "second", "the marginal by quadrature of β, the loss written node by node and pair by pair, float64",
    compare=derived,
)  # fmt: skip
short = Training(train.encoder, train.options, epochs=60, batch=64)
MECHANISM = Mechanism(
    "256 squares of four nodes whose edges have the sum of their ends' values, with noise of 0.1: what fits "
    "an edge can be told from its ends alone, and only noise taken from both together can fit it. Each "
    "arm's nodes, edges and links by themselves are as they should be; their fit is asked.",
    task=generated(partial(grids, most=2), MMD),
    arms={
        "paper": short(JointGraphDiff),
        "separate diffusions": short(JointGraphDiff, options={"joint": False}),
        "edge values shuffled": short(shuffled),
        "untrained": short.untrained,
    },
)

RECORD = Record(
    key="jointgraphdiff",
    claim="Noise taken from nodes and edges together leaves edges that fit their ends.",
    task=generated(grids, MMD),
    arms={
        "paper": train(JointGraphDiff),
        "separate diffusions": train(JointGraphDiff, options={"joint": False}),
        "edge values shuffled": train(shuffled),
        "untrained": train.untrained,
    },
    mechanism=MECHANISM,
    parity=PARITY,
    note="Generated grids of 4 to 9 nodes; an edge's value is the sum of its ends' with noise of 0.1. Both "
    "of an edge's directions count. 2 layers in place of 5. The paper's scenes are missing.",
)
