"""Temporal Generalization Estimation in Evolving Graphs, arXiv:2404.04969."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from vergence.core import BadInput, Estimator, Features
from vergence.core.features import pooled
from vergence.data import Source
from vergence.data.graph import pyg
from vergence.data.graph.source import degree_features
from vergence.data.graph.temporal import TemporalSource
from vergence.methods.graph.encoders import build, read_out
from vergence.methods.graph.transforms import normalised_adjacency, sparse
from vergence.methods.graph.views import negatives

PLACE = "vergence.methods.graph.smart:Monitor"
_LEAST = 3  # labelled snapshots


class Monitor(nn.Module):
    """Estimates the loss of a frozen graph network on a growing graph, snapshot by snapshot.

    The network's own answers O of the nodes, its logits, are the features of the snapshot ("feature graph");
    the extractor φ, a GCN of two layers, makes vectors of them, their standardised mean goes to a recurrent
    network, and a linear layer tells the loss. As an encoder it answers as the frozen network does.

    Args:
        in_dim: Width of the nodes' features.
        classes: C.
        model: The network: a graph -> logits ``(N, C)`` or ``Features``; None makes a GCN.
        width: Of φ and of the recurrent network.
        weight: λ of structure against features, in [0, 1].
        share: Of the edges that an augmented graph loses, and gains, in [0, 1).
        steps: Of adaptation, a snapshot; 0 leaves φ as it is.
        lr: Of Adam's steps.
        estimates: Length of ``guessed``.
        anchor: Nodes and edges of the last labelled snapshot, which is kept: what φ's own steps move there is
            taken off elsewhere, so that the recurrent network is told what the graph does, not what φ does.

    Attributes:
        guessed: ``(estimates,)``, what ``SMART.fit`` estimated of the source's unlabelled snapshots.
    """

    centre: Tensor
    spread: Tensor
    level: Tensor
    middle: Tensor
    reach: Tensor
    home: Tensor
    anchor_x: Tensor
    anchor_edges: Tensor
    memory: Tensor
    seen: Tensor
    guessed: Tensor

    def __init__(
        self,
        in_dim: int,
        classes: int,
        *,
        model: nn.Module | None = None,
        width: int = 16,
        weight: float = 0.5,
        share: float = 0.2,
        steps: int = 5,
        lr: float = 1e-3,
        estimates: int = 0,
        anchor: Sequence[int] = (1, 0),
    ) -> None:
        super().__init__()
        self.out_dim, self.weight, self.share, self.steps, self.lr = classes, weight, share, steps, lr
        own = network(in_dim, classes) if model is None else model
        self.model = own.eval().requires_grad_(False)
        self.phi = nn.ModuleList([nn.Linear(classes, width), nn.Linear(width, width)])
        self.decoder = nn.Linear(width, classes)
        self.rnn, self.read = nn.RNN(width, width, nonlinearity="relu"), nn.Linear(width, 1)
        self.register_buffer("centre", torch.zeros(classes))  # of O
        self.register_buffer("spread", torch.ones(classes))
        self.register_buffer("level", torch.tensor([0.0, 1.0]))  # mean and deviation of the losses
        self.register_buffer("middle", torch.zeros(width))  # of the vectors
        self.register_buffer("reach", torch.ones(width))
        self.register_buffer("home", torch.zeros(width))  # the mean of the last labelled snapshot's vectors
        self.register_buffer("anchor_x", torch.zeros(anchor[0], classes))
        self.register_buffer("anchor_edges", torch.zeros(2, anchor[1], dtype=torch.long))
        self.register_buffer("memory", torch.zeros(1, width))  # of the recurrent network
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.register_buffer("guessed", torch.zeros(estimates))

    @torch.no_grad()
    def said(self, graph: pyg.Data) -> Tensor:
        """Return the logits ``(N, C)`` of the frozen network."""
        return pooled(self.model.eval()(graph))

    def feature_graph(self, graph: pyg.Data) -> pyg.Data:
        """Return the snapshot with the network's standardised answers as features."""
        o = (self.said(graph) - self.centre) / self.spread
        return pyg.Data(x=o, edge_index=graph.edge_index, num_nodes=len(o))

    def vectors(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return φ of features ``(N, C)`` heard along these edges, ``(N, width)``."""
        s, (first, second) = hears(edge_index, len(x)), self.phi
        return s @ second((s @ first(x)).relu())

    def reconstruction(self, graph: pyg.Data) -> tuple[Tensor, Tensor]:
        """Return λ L_structure + (1 - λ) L_feature of a feature graph, and the vectors z."""
        absent = negatives(graph)
        z = self.vectors(graph.x, augmented(graph.edge_index, absent, self.share))
        pairs = torch.cat([graph.edge_index, absent], dim=1)
        truth = (torch.arange(pairs.shape[1], device=pairs.device) < graph.edge_index.shape[1]).float()
        structure = binary_cross_entropy_with_logits((z[pairs[0]] * z[pairs[1]]).sum(1), truth)
        guess = hears(graph.edge_index, len(z)) @ self.decoder(z)
        return self.weight * structure + (1 - self.weight) * mse_loss(guess, graph.x), z

    def pooled(self, z: Tensor, graph: pyg.Data) -> Tensor:
        """Return the mean of the vectors of each snapshot, ``(T, width)``, in tenths of their deviation."""
        return (read_out(z, graph, "mean") - self.middle) / self.reach

    def estimate(self, snapshot: pyg.Data) -> float:
        """Adapt φ to the next snapshot and return the network's estimated loss on it, in nats.

        No label is looked at. Call it once a snapshot, in the order of time: what it saw is remembered.

        Args:
            snapshot: With ``x`` ``(N, F)`` and ``edge_index``.
        """
        if not snapshot.num_edges:
            raise BadInput("smart estimates from what edges tell; this snapshot has none.")
        graph = self.feature_graph(snapshot)
        adam = torch.optim.Adam(self.phi.parameters(), lr=self.lr)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(int(self.seen))
            for _ in range(self.steps):
                adam.zero_grad()
                self.reconstruction(graph)[0].backward()
                adam.step()
        with torch.no_grad():
            z = self.vectors(graph.x, graph.edge_index)
            moved = self.vectors(self.anchor_x, self.anchor_edges).mean(0) - self.home
            state, memory = self.rnn(self.pooled(z - moved, graph), self.memory)
            self.memory.copy_(memory)
            self.seen += 1
            loss = self.level[0] + self.level[1] * self.read(state)[0, 0]
        return max(float(loss), 0.0)

    def forward(self, graph: pyg.Data) -> Features:
        return Features(pooled=read_out(self.said(graph), graph, None))


def hears(edge_index: Tensor, nodes: int) -> Tensor:
    """Return the matrix ``(N, N)`` of a GCN's layer."""
    return sparse(*normalised_adjacency(edge_index, nodes), nodes)


def augmented(edge_index: Tensor, absent: Tensor, share: float) -> Tensor:
    """Return the edges without a random share of them, and with as many, both ways, of the absent ones."""
    kept = torch.rand(edge_index.shape[1], device=edge_index.device) >= share
    added = absent[:, torch.rand(absent.shape[1], device=absent.device) < share / 2]
    return torch.cat([edge_index[:, kept], added, added.flip(0)], dim=1)


def loss_of(model: nn.Module, snapshot: pyg.Data) -> float:
    """Return the cross-entropy of a network on the labelled nodes of a snapshot, in nats.

    Args:
        model: A graph -> logits ``(N, C)`` or ``Features``.
        snapshot: With ``y`` ``(N,)`` int64, -1 where unknown.
    """
    known = snapshot.y >= 0
    if not known.any():
        raise BadInput("smart needs known labels (y of 0 or more) in every snapshot before deployment.")
    with torch.no_grad():
        return float(cross_entropy(pooled(model.eval()(snapshot))[known], snapshot.y[known]))


def distortion(model: nn.Module, first: pyg.Data, later: pyg.Data) -> float:
    """Return how far what a network says of the first snapshot's nodes has moved, on average (Sec. 2).

    Args:
        model: A graph -> ``(N, D)`` or ``Features``.
        first: Its node i is node i of ``later``.
        later: A snapshot that has grown out of it.
    """
    with torch.no_grad():
        then, now = (pooled(model.eval()(graph)) for graph in (first, later))
    return float((now[: len(then)] - then).norm(dim=1).mean())


class SMART(Estimator):
    """Tell how wrong a deployed graph network is by now, on a graph that grows, without new labels.

    Lu, Ma, Gan, Wang, Zhu, Zhou, Liang 2024, arXiv:2404.04969. Before deployment, an extractor and a
    recurrent network learn the frozen network's loss from the labelled snapshots. After it, the extractor
    alone follows the graph by reconstructing edges and features of each new snapshot; no label is read.

    ``fit`` takes the labelled snapshots, first to last, and ``estimate`` each later one; or ``fit`` takes
    a ``TemporalSource``, cuts it into ``snapshots``, reads the labels of the first ``known`` of them and
    estimates the others (``estimates``).

    Differs from the paper: no official code is known; sizes, rates and steps are ours; φ and the decoders
    reconstruct before deployment too, so that later steps start from decoders that mean something; the
    recurrent network has ReLUs, so that its estimates may leave the range of the known losses; what φ's own
    steps do to the last labelled snapshot is taken off (``Monitor``), without which they drown the drift.

    Args:
        model: The network whose loss is asked for, trained: a graph (``x``, ``edge_index``) -> logits
            ``(N, C)``. None, with a source, trains a GCN on half of the labels of its first snapshot; these
            nodes are left out of all losses.
        snapshots: Into how many a source is cut, equally many new edges between them; at least 4.
        known: Share of them whose labels are read, in (0, 1), at least 3 of them.
        width: Of the extractor and of the recurrent network, at least 1.
        weight: λ of structure against features, in [0, 1].
        share: Of the edges that augmented graphs lose and gain, in [0, 1).
        epochs: Passes over the labelled snapshots, at least 1.
        steps: Of adaptation, each later snapshot; 0 or more.
        lr: Of these steps, above 0.

    Attributes:
        estimates: ``(snapshots - known,)``, in nats.
    """

    encoder: Monitor

    def __init__(
        self,
        *,
        model: nn.Module | None = None,
        snapshots: int = 20,
        known: float = 0.3,
        width: int = 16,
        weight: float = 0.5,
        share: float = 0.2,
        epochs: int = 100,
        steps: int = 5,
        lr: float = 1e-3,
    ) -> None:
        if snapshots < 4 or not 0 < known < 1 or min(width, epochs) < 1 or steps < 0 or lr <= 0:
            raise BadInput(
                "SMART needs 4 or more snapshots, known in (0, 1), width and epochs of 1 or more, "
                f"steps of 0 or more, lr > 0; got {snapshots}, {known}, {width}, {epochs}, {steps} and {lr}."
            )
        if not 0 <= weight <= 1 or not 0 <= share < 1:
            raise BadInput(f"SMART needs weight in [0, 1] and share in [0, 1); got {weight} and {share}.")
        self.model, self.snapshots, self.known, self.width = model, snapshots, known, width
        self.weight, self.share, self.epochs, self.steps, self.lr = weight, share, epochs, steps, lr
        self.estimates = np.empty(0)

    def fit(self, source: Source | Sequence[pyg.Data], *, seed: int = 0) -> Self:
        """Learn from labelled snapshots; of a source, estimate the loss on the later ones.

        Args:
            source: A ``TemporalSource`` with labels, or 3 or more snapshots (``Data`` with ``x``,
                ``edge_index`` and ``y``, -1 where unknown), oldest first.
            seed: Of weights and draws.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if not isinstance(source, TemporalSource):
                return self._watch(_checked(source), self.model, 0)
            shots = snapshots_of(source, self.snapshots)
            early = min(max(_LEAST, math.ceil(self.known * len(shots))), len(shots) - 1)
            model = self.model
            if model is None:
                classes = int(source.labels.max()) + 1  # type: ignore[union-attr]
                model, shots = trained(shots[0], classes), unseen(shots)
            self._watch(shots[:early], model, len(shots) - early)
        for i, shot in enumerate(shots[early:]):
            self.encoder.guessed[i] = self.estimate(pyg.Data(x=shot.x, edge_index=shot.edge_index))
        self.estimates = self.encoder.guessed.double().numpy()
        return self

    def estimate(self, snapshot: pyg.Data) -> float:
        """Return the estimated loss on the next snapshot, in nats; once each, in the order of time."""
        return self.encoder.estimate(snapshot)

    def _watch(self, shots: Sequence[pyg.Data], model: nn.Module | None, later: int) -> Self:
        if model is None:
            raise BadInput("smart needs the network whose loss it shall estimate: SMART(model=...).")
        model = copy.deepcopy(model)  # the user's own stays as it is
        truth = torch.tensor([loss_of(model, shot) for shot in shots])
        with torch.no_grad():
            classes = pooled(model(shots[0])).shape[1]
        options: dict[str, Any] = {
            "width": self.width, "weight": self.weight, "share": self.share, "steps": self.steps,
            "lr": self.lr, "estimates": later, "anchor": [len(shots[-1].x), shots[-1].num_edges],
        }  # fmt: skip
        monitor = Monitor(shots[0].x.shape[1], classes, model=model, **options)
        if self.model is None:
            monitor.spec = {  # type: ignore[assignment]
                "name": PLACE, "in_dim": shots[0].x.shape[1], "classes": classes, **options,
            }  # fmt: skip
        every = torch.cat([monitor.said(shot) for shot in shots])
        monitor.centre.copy_(every.mean(0))
        monitor.spread.copy_(every.std(0).clamp(min=1e-6))
        monitor.level.copy_(torch.stack([truth.mean(), truth.std().clamp(min=1e-6)]))
        learn_losses(monitor, shots, truth, self.epochs)
        self.encoder = monitor
        return self


def learn_losses(monitor: Monitor, shots: Sequence[pyg.Data], truth: Tensor, epochs: int) -> None:
    """Train φ, the decoder and the recurrent network: squared error of losses ``(T,)`` and reconstruction."""
    graph = pyg.Batch.from_data_list([monitor.feature_graph(shot) for shot in shots])
    wanted = (truth - monitor.level[0]) / monitor.level[1]
    adam = torch.optim.Adam([p for p in monitor.parameters() if p.requires_grad], lr=1e-2, weight_decay=1e-4)
    for _ in range(epochs):
        adam.zero_grad()
        cost, z = monitor.reconstruction(graph)
        _standardise(monitor, z)
        guess = monitor.read(monitor.rnn(monitor.pooled(z, graph))[0])[:, 0]
        (mse_loss(guess, wanted) + cost).backward()
        adam.step()
    with torch.no_grad():
        z = monitor.vectors(graph.x, graph.edge_index)
        _standardise(monitor, z)
        monitor.memory.copy_(monitor.rnn(monitor.pooled(z, graph))[1])
        monitor.seen.fill_(len(shots))
        last = monitor.feature_graph(shots[-1])
        monitor.anchor_x.copy_(last.x)
        monitor.anchor_edges.copy_(last.edge_index)
        monitor.home.copy_(monitor.vectors(last.x, last.edge_index).mean(0))


def _standardise(monitor: Monitor, z: Tensor) -> None:
    z = z.detach()
    monitor.middle.copy_(z.mean(0))
    monitor.reach.copy_(0.1 * z.std(0).clamp(min=1e-6))  # means of many nodes move little


def network(in_dim: int, classes: int) -> nn.Module:
    return build("gcn", in_dim=in_dim, width=(32, classes), dropout=0.5, final=False)


def trained(shot: pyg.Data, classes: int) -> nn.Module:
    """Train a GCN on every second labelled node of a snapshot."""
    rows = torch.nonzero(shot.y >= 0)[::2, 0]
    net = network(shot.x.shape[1], classes)
    adam = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=5e-4)
    for _ in range(200):
        adam.zero_grad()
        cross_entropy(pooled(net(shot))[rows], shot.y[rows]).backward()
        adam.step()
    return net.eval()


def unseen(shots: Sequence[pyg.Data]) -> list[pyg.Data]:
    """Return the snapshots without the labels that ``trained`` reads of the first one."""
    taught, views = shots[0].node[torch.nonzero(shots[0].y >= 0)[::2, 0]], []
    for shot in shots:
        view = copy.copy(shot)
        view.y = torch.where(torch.isin(shot.node, taught), -1, shot.y)
        views.append(view)
    return views


def snapshots_of(source: TemporalSource, count: int) -> list[pyg.Data]:
    """Return a growing graph at up to ``count`` moments: nodes that are joined by then, and their labels.

    Moments at which nothing is new are left out. ``node`` holds the nodes' ids in the source.

    Raises:
        BadInput: If no labels are known, or none of two classes in the first snapshot.
    """
    if source.labels is None or len(source) < int(source.data.num_nodes or 0):
        raise BadInput(
            f"smart needs labels of the nodes of {source.uri}, to measure losses before deployment: put them "
            "beside it in a file of the same name that ends in .labels, a node and its class a line."
        )
    labels = torch.from_numpy(source.labels)
    shots: list[pyg.Data] = []
    for graph in source.snapshots(count):
        if shots and shots[-1].num_edges == graph.num_edges:
            continue
        degrees = torch.bincount(graph.edge_index[0], minlength=int(graph.num_nodes or 0))
        node = torch.nonzero(degrees)[:, 0]
        place = torch.zeros_like(degrees)
        place[node] = torch.arange(len(node))
        x = degree_features(degrees[node]) if source.data.x is None else source.x[node]
        shot = pyg.Data(x=x, edge_index=place[graph.edge_index], y=labels[node], num_nodes=len(node))
        shot.node = node
        shots.append(shot)
    if len(torch.unique(shots[0].y[shots[0].y >= 0])) < 2:
        raise BadInput(f"smart needs labels of two classes in the first snapshot of {source.uri}.")
    if len(shots) <= _LEAST:
        raise BadInput(f"smart needs 4 or more moments at which {source.uri} grows; it has {len(shots)}.")
    return shots


def _checked(snapshots: Source | Sequence[pyg.Data]) -> list[pyg.Data]:
    shots = list(snapshots) if isinstance(snapshots, Sequence) else []
    if len(shots) < _LEAST or not all(isinstance(s, pyg.Data) and "y" in s and "x" in s for s in shots):
        raise BadInput(
            "smart watches a graph that grows: temporal:FILE with labels beside it, or 3 or more snapshots "
            f"(Data with x, edge_index, y); {getattr(snapshots, 'uri', type(snapshots).__name__)} is neither."
        )
    return shots
