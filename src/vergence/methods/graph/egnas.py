"""Edge-featured Graph Neural Architecture Search (EGNAS), arXiv:2109.01356."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from vergence.core import BadInput, Estimator, Features
from vergence.data.graph import pyg
from vergence.data.graph.source import GraphsSource
from vergence.methods.graph.encoders import build, read_out

PLACE = "vergence.methods.graph.egnas:EGNASNet"
NODE_OPS = ("none", "identity", "max", "mean", "sum")
EDGE_OPS = ("none", "identity", "difference", "gaussian", "product", "sum", "mean", "max")
KEPT = 2  # inputs of every state, after the search

Input = tuple[int, str]  # an earlier state and the operation on it
Genotype = dict[str, list[list[Input]]]  # "nodes" and "edges": the inputs of every new state


class Message(nn.Module):
    """New nodes from messages ``sigmoid(B E) * V_src + C E``, combined by max, mean or sum (Sec. 4.1)."""

    def __init__(self, kind: str, width: int, affine: bool) -> None:
        super().__init__()
        self.kind, self.width = kind, width
        self.gate, self.shift = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.after = nn.Sequential(nn.Linear(width, width, bias=False), nn.BatchNorm1d(width, affine=affine))

    def messages(self, v: Tensor, e: Tensor, edges: Tensor) -> Tensor:
        return self.gate(e).sigmoid() * v[edges[0]] + self.shift(e)

    def forward(self, v: Tensor, e: Tensor, edges: Tensor) -> Tensor:
        messages, target = self.messages(v, e, edges), edges[1]
        if self.kind == "max":
            where = target[:, None].expand_as(messages)
            got = torch.zeros_like(v).scatter_reduce(0, where, messages, "amax", include_self=False)
        else:
            got = torch.zeros_like(v).index_add(0, target, messages)
            if self.kind == "mean":
                got = got / torch.bincount(target, minlength=len(v)).clamp(min=1)[:, None]
        return self.after(got)


class Relation(nn.Module):
    """New edges ``sigmoid(scale(t)) * E + shift(t)`` with t made of both ends (Sec. 4.2)."""

    def __init__(self, kind: str, width: int, affine: bool) -> None:
        super().__init__()
        self.kind = kind
        self.scale, self.shift = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.after = nn.Sequential(nn.Linear(width, width, bias=False), nn.BatchNorm1d(width, affine=affine))

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """Return t ``(E, width)``, the same whichever end comes first."""
        if self.kind == "difference":
            return (a - b).abs()
        if self.kind == "gaussian":
            return (-((a - b) ** 2)).exp()
        if self.kind == "product":
            return a * b
        if self.kind == "max":
            return torch.maximum(a, b)
        return (a + b) / 2 if self.kind == "mean" else a + b

    def forward(self, v: Tensor, e: Tensor, edges: Tensor) -> Tensor:
        t = self.between(v[edges[0]], v[edges[1]])
        return self.after(self.scale(t).sigmoid() * e + self.shift(t))


class Identity(nn.Module):
    """The earlier state as it is; of "nodes" V, of "edges" E."""

    def __init__(self, side: str) -> None:
        super().__init__()
        self.side = side

    def forward(self, v: Tensor, e: Tensor, edges: Tensor) -> Tensor:
        return v if self.side == "nodes" else e


def operation(side: str, name: str, width: int, *, affine: bool) -> nn.Module:
    """Make an operation; "none" has no module and is not asked for."""
    if name == "identity":
        return Identity(side)
    return (Message if side == "nodes" else Relation)(name, width, affine)


class Choice(nn.Module):
    """Which operation leads from one earlier state to a new one; all cells share it.

    Attributes:
        alpha: Logits of the operations' weights.
        chosen: What was decided for; "" while open, "none" where the input was dropped.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names, self.chosen = tuple(names), ""
        self.alpha = nn.Parameter(1e-3 * torch.randn(len(names)))

    def shares(self) -> dict[str, Tensor]:
        """Return the weight of every operation; they sum to 1."""
        return dict(zip(self.names, self.alpha.softmax(0), strict=True))

    def certainty(self) -> float:
        """Return how sure the choice is, in [0, 1] (SGAS's first criterion, arXiv:1912.00195, Eq. 4).

        It is the weight that "none" does not have, times 1 less the normalised entropy of the others.
        """
        share = {name: float(weight.detach()) for name, weight in self.shares().items() if name != "none"}
        total = sum(share.values())
        entropy = -sum(w / total * math.log(w / total) for w in share.values() if w > 0)
        return total * (1 - entropy / math.log(max(2, len(share))))

    def decide(self) -> None:
        """Take the heaviest operation but "none"."""
        share = self.shares()
        self.chosen = max((n for n in self.names if n != "none"), key=lambda n: float(share[n].detach()))


class Mixed(nn.Module):
    """All operations at once, weighted by an open choice; the chosen one alone afterwards."""

    def __init__(self, side: str, choice: Choice, width: int) -> None:
        super().__init__()
        self.choice = choice
        self.ops = nn.ModuleDict(
            {n: operation(side, n, width, affine=False) for n in choice.names if n != "none"}
        )

    def forward(self, v: Tensor, e: Tensor, edges: Tensor) -> Tensor | int:
        if self.choice.chosen:
            return 0 if self.choice.chosen == "none" else self.ops[self.choice.chosen](v, e, edges)
        share = self.choice.shares()
        return sum(share[name] * op(v, e, edges) for name, op in self.ops.items())


class Cell(nn.Module):
    """New states of nodes and edges, each the sum of operations on earlier pairs of states.

    Args:
        inputs: "nodes" and "edges" -> of every new state, (earlier state, operation).
        width: Of all states.
    """

    def __init__(self, inputs: dict[str, list[list[tuple[int, nn.Module]]]], width: int) -> None:
        super().__init__()
        self.places = {side: [[j for j, _ in state] for state in states] for side, states in inputs.items()}
        self.ops = nn.ModuleDict(
            {
                side: nn.ModuleList(nn.ModuleList(op for _, op in state) for state in states)
                for side, states in inputs.items()
            }
        )
        new = len(inputs["nodes"])
        self.join = nn.ModuleDict({side: nn.Linear(new * width, width) for side in inputs})

    def _state(self, side: str, i: int, vs: list[Tensor], es: list[Tensor], edges: Tensor) -> Tensor:
        operations = zip(self.places[side][i], self.ops[side][i], strict=True)  # type: ignore[index]
        total = sum(op(vs[j], es[j], edges) for j, op in operations)
        return total if isinstance(total, Tensor) else torch.zeros_like((vs if side == "nodes" else es)[0])

    def forward(self, v: Tensor, e: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        vs, es = [v], [e]
        for i in range(len(self.places["nodes"])):
            new = [self._state(side, i, vs, es, edges) for side in ("nodes", "edges")]
            vs, es = [*vs, new[0]], [*es, new[1]]
        joined = self.join["nodes"](torch.cat(vs[1:], 1)), self.join["edges"](torch.cat(es[1:], 1))
        return v + relu(joined[0]), e + relu(joined[1])


class EGNASNet(nn.Module):
    """Graphs with features of nodes and edges -> a prediction a graph, ``(B, outputs)``.

    A graph's vector is the mean of its nodes' and of its edges' last states.

    Args:
        in_dim: Width of the nodes' features.
        edge_dim: Width of the edges' features; 0 gives every edge a 1.
        width: Of all states.
        cells: One behind the other, all of one genotype.
        states: New states a cell.
        outputs: Width of the answer.
        genotype: What the cells are; None mixes all operations, for a search.
        edge_ops: What a search knows of edges.
    """

    def __init__(
        self,
        in_dim: int,
        edge_dim: int,
        width: int,
        cells: int,
        states: int,
        outputs: int,
        genotype: Genotype | None = None,
        edge_ops: Sequence[str] = EDGE_OPS,
    ) -> None:
        super().__init__()
        self.edge_dim, self.out_dim, self.states = edge_dim, outputs, states
        self.nodes_in, self.edges_in = nn.Linear(in_dim, width), nn.Linear(max(1, edge_dim), width)
        self.choices = nn.ModuleDict()
        if genotype is None:
            for side, names in (("nodes", NODE_OPS), ("edges", edge_ops)):
                for i, j in places(states):
                    self.choices[f"{side}-{i}-{j}"] = Choice(names)
        self.cells = nn.ModuleList(Cell(self._inputs(genotype, width), width) for _ in range(cells))
        self.read = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, outputs))
        self.register_buffer("offset", torch.zeros(outputs))
        self.register_buffer("unit", torch.ones(outputs))
        self.spec: dict[str, Any] = {}

    offset: Tensor
    unit: Tensor

    def _inputs(self, genotype: Genotype | None, width: int) -> dict[str, list[list[tuple[int, nn.Module]]]]:
        if genotype is not None:
            return {
                side: [
                    [(j, operation(side, name, width, affine=True)) for j, name in state] for state in states
                ]
                for side, states in genotype.items()
            }
        return {
            side: [
                [(j, Mixed(side, self.choice(side, i, j), width)) for j in range(i + 1)]
                for i in range(self.states)
            ]
            for side in ("nodes", "edges")
        }

    def choice(self, side: str, i: int, j: int) -> Choice:
        choice = self.choices[f"{side}-{i}-{j}"]
        assert isinstance(choice, Choice)
        return choice

    def genotype(self) -> Genotype:
        """Return what was decided."""
        return {
            side: [
                [
                    (j, name)
                    for j in range(i + 1)
                    if (name := self.choice(side, i, j).chosen) not in ("", "none")
                ]
                for i in range(self.states)
            ]
            for side in ("nodes", "edges")
        }

    def predict(self, graph: pyg.Data) -> Tensor:
        """Return predictions ``(B, outputs)`` in units of the standard deviation, or logits."""
        edges = graph.edge_index
        e = graph.edge_attr.float() if self.edge_dim else edges.new_ones(edges.shape[1], 1).float()
        v, e = self.nodes_in(graph.x.float()), self.edges_in(e)
        for cell in self.cells:
            v, e = cell(v, e, edges)
        of_edges = copy.copy(graph)
        of_edges.batch = graph.batch[edges[0]]
        return self.read(torch.cat([read_out(v, graph, "mean"), read_out(e, of_edges, "mean")], dim=1))

    def forward(self, graph: pyg.Data) -> Features:
        return Features(pooled=self.predict(graph) * self.unit + self.offset)


def places(states: int) -> list[tuple[int, int]]:
    """Return (new state i, earlier state j): new state i may hear states 0 to i."""
    return [(i, j) for i in range(states) for j in range(i + 1)]


def random_genotype(states: int, rng: np.random.Generator) -> Genotype:
    """Draw inputs and operations, "none" excepted, uniformly."""
    drawn: Genotype = {"nodes": [], "edges": []}
    for side, names in (("nodes", NODE_OPS[1:]), ("edges", EDGE_OPS[1:])):
        for i in range(states):
            heard = sorted(rng.choice(i + 1, min(KEPT, i + 1), replace=False).tolist())
            drawn[side].append([(j, str(rng.choice(names))) for j in heard])
    return drawn


def decide_one(net: EGNASNet) -> bool:
    """Decide for the surest open choice, drop what a full state no longer needs; False if all are decided."""
    open_ = {name: c for name, c in net.choices.items() if isinstance(c, Choice) and not c.chosen}
    if not open_:
        return False
    name = max(open_, key=lambda n: open_[n].certainty())
    open_[name].decide()
    side, i, _ = name.split("-")
    rivals = [net.choice(side, int(i), j) for j in range(int(i) + 1)]
    if sum(c.chosen not in ("", "none") for c in rivals) >= KEPT:
        for rival in rivals:
            rival.chosen = rival.chosen or "none"
    return True


class Batches:
    """Shuffled batches of some graphs with what is to be predicted.

    Args:
        source: Of graphs, with targets or labels.
        rows: Of the source.
        size: Graphs a batch.
        rng: Of the order.
    """

    def __init__(self, source: GraphsSource, rows: np.ndarray, size: int, rng: np.random.Generator) -> None:
        self.source, self.rows, self.size, self.rng = source, rows, size, rng

    def __iter__(self) -> Iterator[pyg.Data]:
        order = self.rng.permutation(self.rows)
        count = max(1, len(order) // self.size)
        return (self.source.batch(part) for part in np.array_split(order, count))


def error(net: Any, graph: pyg.Data) -> Tensor:
    """Return the squared error in standard deviations where targets are known; of labels, cross-entropy."""
    guess = net.predict(graph)
    if "target" not in graph:
        return cross_entropy(guess, graph.label)
    truth = (graph.target - net.offset) / net.unit
    known = truth.isfinite()
    return ((guess - truth)[known] ** 2).mean()


def train(
    net: Any, source: GraphsSource, *, epochs: int, batch: int, lr: float = 3e-3, seed: int = 0
) -> nn.Module:
    """Train a network from scratch and keep its weights of least error on a ninth held out.

    Args:
        net: With ``predict``, ``offset`` and ``unit``.
        source: Of graphs, with targets or labels.
        epochs: Passes over the other eight ninths.
        batch: Graphs a step.
        lr: First rate of Adam; falls along half a cosine.
        seed: Of order and hold-out.
    """
    if source.values is not None:
        net.offset.copy_(torch.from_numpy(np.nanmean(source.values, axis=0)))
        net.unit.copy_(torch.from_numpy(np.nanstd(source.values, axis=0)).clamp(min=1e-6))
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(source))
    held, rows = rows[: max(1, len(rows) // 9)], rows[max(1, len(rows) // 9) :]
    adam, least, best = torch.optim.Adam(net.parameters(), lr=lr), math.inf, copy.deepcopy(net.state_dict())
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, epochs)
    for _ in range(epochs):
        net.train()
        for graph in Batches(source, rows, batch, rng):
            adam.zero_grad()
            error(net, graph).backward()
            adam.step()
        rate.step()
        net.eval()
        with torch.no_grad():
            now = float(error(net, source.batch(np.sort(held))))
        if now <= least:
            least, best = now, copy.deepcopy(net.state_dict())
    net.load_state_dict(best)
    return net.eval().requires_grad_(False)


class EGNAS(Estimator):
    """Let a search decide how nodes and edges of graphs feed each other, then train what it found.

    Cai et al. 2021, arXiv:2109.01356. A network that mixes all operations is trained on one half of the
    graphs by SGD, the weights of the operations on the other half by Adam (DARTS, first order). After a
    warm-up the surest choice is made every few epochs (SGAS); a state keeps two inputs. The cells found
    are trained anew. Graphs need targets or labels; rows that are given are all learned from.

    Differs from the released code: operations are weighed on a batch of the other half, not on the one that
    trains. Differs from the paper: no standard deviation, minimum or generalised mean among the
    aggregations; the search goes through as many cells as the final network; a graph's vector holds the mean
    of its edges too.

    Args:
        width: Of all states.
        cells: One behind the other.
        states: New states of nodes, and of edges, a cell.
        search_epochs: Of the search.
        warmup: Epochs before the first choice.
        every: Epochs between choices; what is open at the end is chosen then.
        alpha_lr: Rate of Adam on the operations' weights.
        edge_ops: What edges may become, names of ``EDGE_OPS``.
        epochs: Of training what was found.
        batch: Graphs a step.

    Attributes:
        genotype_: After ``fit``: of every new state, (earlier state, operation).
    """

    genotype_: Genotype

    def __init__(
        self,
        *,
        width: int = 32,
        cells: int = 2,
        states: int = 3,
        search_epochs: int = 50,
        warmup: int = 10,
        every: int = 5,
        alpha_lr: float = 3e-4,
        edge_ops: Sequence[str] = EDGE_OPS,
        epochs: int = 100,
        batch: int = 64,
    ) -> None:
        if min(width, cells, states, search_epochs, every, epochs) < 1 or batch < 2 or warmup < 0:
            raise BadInput(
                "EGNAS needs sizes and epochs of 1 or more, warmup of 0 or more and batch of 2 or more."
            )
        if not set(edge_ops) <= set(EDGE_OPS) or set(edge_ops) <= {"none"}:
            raise BadInput(f"EGNAS needs edge_ops among {', '.join(EDGE_OPS)}; got {', '.join(edge_ops)}.")
        self.width, self.cells, self.states, self.search_epochs = width, cells, states, search_epochs
        self.warmup, self.every, self.alpha_lr = warmup, every, alpha_lr
        self.edge_ops, self.epochs, self.batch = tuple(edge_ops), epochs, batch

    def fit(self, source: GraphsSource, *, seed: int = 0) -> Self:  # type: ignore[override]
        """Search, and train what was found.

        Args:
            source: A set of graphs with targets or labels.
            seed: Of weights, halves and order.

        Raises:
            BadInput: If the source is not that.
        """
        if not isinstance(source, GraphsSource) or (source.values is None and source.labels is None):
            raise BadInput(
                f"EGNAS searches on a set of graphs with targets or labels; {source.uri} is not one."
            )
        if len(source) < 8:
            raise BadInput(f"EGNAS needs 8 graphs or more; {source.uri} has {len(source)}.")
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.genotype_ = self.search(source, seed)
            plain = {side: [[list(i) for i in s] for s in states] for side, states in self.genotype_.items()}
            net = build(
                PLACE, **self.sizes(source), genotype=plain
            )  # lists: a run's config.yaml knows no tuples
            self.encoder = train(net, source, epochs=self.epochs, batch=self.batch, seed=seed)
        return self

    def sizes(self, source: GraphsSource) -> dict[str, Any]:
        """Return the arguments of a network for this source, but for its genotype."""
        if source.values is not None:
            many = source.values.shape[1]
        elif source.labels is not None:
            many = int(source.labels.max()) + 1
        else:
            raise BadInput(f"EGNAS learns to predict; {source.uri} has neither labels nor targets.")
        wide = source.data.edge_attr.shape[1] if "edge_attr" in source.data else 0
        return {
            "in_dim": source.in_dim, "edge_dim": wide, "width": self.width, "cells": self.cells,
            "states": self.states, "outputs": many,
        }  # fmt: skip

    def search(self, source: GraphsSource, seed: int) -> Genotype:
        """Return the genotype that the operations' weights end at."""
        net = EGNASNet(**self.sizes(source), edge_ops=self.edge_ops)
        if source.values is not None:
            net.offset.copy_(torch.from_numpy(np.nanmean(source.values, axis=0)))
            net.unit.copy_(torch.from_numpy(np.nanstd(source.values, axis=0)).clamp(min=1e-6))
        alphas = list(net.choices.parameters())
        ours = {id(p) for p in alphas}
        weights = [p for p in net.parameters() if id(p) not in ours]
        sgd = torch.optim.SGD(weights, lr=0.025, momentum=0.9, weight_decay=3e-4)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, self.search_epochs, eta_min=1e-3)
        adam = torch.optim.Adam(alphas, lr=self.alpha_lr, betas=(0.5, 0.999), weight_decay=1e-3)
        rng = np.random.default_rng([seed, 1])
        halves = np.array_split(rng.permutation(len(source)), 2)
        teach, weigh = (Batches(source, half, self.batch, rng) for half in halves)
        for epoch in range(self.search_epochs):
            for graph, other in zip(teach, itertools.cycle(weigh), strict=False):
                if any(not c.chosen for c in net.choices.values()):
                    adam.zero_grad()
                    error(net, other).backward()
                    adam.step()
                sgd.zero_grad()
                error(net, graph).backward()
                nn.utils.clip_grad_norm_(weights, 5.0)
                sgd.step()
            rate.step()
            if epoch >= self.warmup and (epoch - self.warmup) % self.every == 0:
                decide_one(net)
        while decide_one(net):
            pass
        return net.genotype()
