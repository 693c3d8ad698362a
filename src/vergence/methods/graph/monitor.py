"""The network of SMART (arXiv:2404.04969): it estimates the loss of another one on a growing graph."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from vergence.core import BadInput, Features
from vergence.core.features import pooled
from vergence.data.graph import pyg
from vergence.methods.graph.encoders import build, read_out
from vergence.methods.graph.transforms import normalised_adjacency, sparse
from vergence.methods.graph.views import negatives


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
        """Return the logits ``(N, C)`` of the frozen network, of all nodes whichever are the samples."""
        whole = copy.copy(graph)
        whole.seeds = None
        return pooled(self.model.eval()(whole))

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

    def standardise(self, z: Tensor) -> None:
        """Take over the mean and deviation of vectors ``(N, width)``."""
        z = z.detach()
        self.middle.copy_(z.mean(0))
        self.reach.copy_(0.1 * z.std(0).clamp(min=1e-6))  # means of many nodes move little

    def pooled(self, z: Tensor, graph: pyg.Data) -> Tensor:
        """Return the mean of the vectors of each snapshot, ``(T, width)``, in tenths of their deviation."""
        return (read_out(z, graph, "mean") - self.middle) / self.reach

    @torch.no_grad()
    def remember(self, graph: pyg.Batch, last: pyg.Data) -> None:
        """Set everything that later estimates begin with.

        Args:
            graph: The feature graphs of the labelled snapshots.
            last: The last one of them.
        """
        z = self.vectors(graph.x, graph.edge_index)
        self.standardise(z)
        self.memory.copy_(self.rnn(self.pooled(z, graph))[1])
        self.seen.fill_(graph.num_graphs)
        self.anchor_x.copy_(last.x)
        self.anchor_edges.copy_(last.edge_index)
        self.home.copy_(self.vectors(last.x, last.edge_index).mean(0))

    def estimate(self, snapshot: pyg.Data) -> float:
        """Adapt φ to the next snapshot and return the network's estimated loss on it, in nats.

        No label is looked at. Call it once a snapshot, in the order of time: what it saw is remembered.

        Args:
            snapshot: With ``x`` ``(N, F)`` and ``edge_index``.
        """
        if not snapshot.num_edges:
            raise BadInput("smart estimates from what edges tell; this snapshot has none.")
        graph = self.feature_graph(copy.copy(snapshot).to(self.home.device))
        adam = torch.optim.Adam(self.phi.requires_grad_(True).parameters(), lr=self.lr)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(int(self.seen))
            for _ in range(self.steps):
                adam.zero_grad()
                self.reconstruction(graph)[0].backward()
                adam.step()
        self.phi.requires_grad_(False)
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


def network(in_dim: int, classes: int) -> nn.Module:
    return build("gcn", in_dim=in_dim, width=(32, classes), dropout=0.5, final=False)


def hears(edge_index: Tensor, nodes: int) -> Tensor:
    """Return the matrix ``(N, N)`` of a GCN's layer."""
    return sparse(*normalised_adjacency(edge_index, nodes), nodes)


def augmented(edge_index: Tensor, absent: Tensor, share: float) -> Tensor:
    """Return the edges without a random share of them, and with as many, both ways, of the absent ones."""
    kept = torch.rand(edge_index.shape[1], device=edge_index.device) >= share
    added = absent[:, torch.rand(absent.shape[1], device=absent.device) < share / 2]
    return torch.cat([edge_index[:, kept], added, added.flip(0)], dim=1)
