"""Self-supervised Learning on Graphs: Deep Insights and New Direction, arXiv:2006.10141."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, normalize, one_hot

from vergence.core import BadInput, Features, Recipe, unknown
from vergence.data import Source
from vergence.data.graph import pyg
from vergence.data.graph.base import GraphSource, row_normalise
from vergence.data.graph.source import NodeSource
from vergence.methods.graph.encoders import build, read_out
from vergence.methods.graph.label_filling import Fill, corrected, filled
from vergence.methods.graph.layers import GCN
from vergence.methods.graph.node_labels import NodeLabels
from vergence.methods.graph.structure import degrees, distances
from vergence.methods.graph.transforms import adjacency, spectral_vectors
from vergence.methods.graph.views import with_edges, with_x
from vergence.nets import Dropout

PLACE = "vergence.methods.graph.selftask:ClassGCN"
_MOST = 8_000_000  # pairs of nodes looked at, at most, when pairs are chosen


class ClassGCN(nn.Module):
    """Two graph convolutions (Kipf and Welling 2017), the second one with a number a class.

    Args:
        in_dim: F.
        classes: C, width of the answer.
        width: Of the first layer.
        dropout: Between the layers, in [0, 1).
    """

    def __init__(self, in_dim: int, classes: int, *, width: int = 128, dropout: float = 0.5) -> None:
        super().__init__()
        if min(in_dim, classes, width) < 1 or not 0 <= dropout < 1:
            raise BadInput("ClassGCN needs in_dim, classes and width of 1 or more and dropout in [0, 1).")
        self.in_dim, self.width, self.out_dim = in_dim, width, classes
        self.first, self.second, self.drop = GCN(in_dim, width), GCN(width, classes), Dropout(dropout)
        self.spec: dict[str, Any] = {}

    @classmethod
    def for_source(cls, source: GraphSource, **options: Any) -> nn.Module:
        """Make the network with a number for each class of the source."""
        if source.labels is None or source.labels.max() < 0:
            raise BadInput(
                f"SelfTask needs one graph whose nodes have labels and a split; {source.uri} is none."
            )
        return build(PLACE, in_dim=source.in_dim, classes=int(source.labels.max()) + 1, **options)

    def layers(self, graph: pyg.Data) -> tuple[Tensor, Tensor, Tensor]:
        """Return the first layer's vectors ``(N, width)``, what dropout leaves of them, and the logits."""
        with torch.autocast(graph.x.device.type, enabled=False):  # sums over neighbours want all the digits
            x, links = graph.x.float(), GCN.links(graph.edge_index, len(graph.x))
            hidden = self.first(x, links).relu()
            dropped = self.drop(hidden)
            return hidden, dropped, self.second(dropped, links)

    def forward(self, graph: pyg.Data) -> Features:
        return Features(pooled=read_out(self.layers(graph)[2], graph, None))


class SelfTask(NodeLabels):
    """Teach a graph network a second task, made from the graph, beside the few labels.

    Jin, Derr, Liu, Wang, Wang, Liu, Tang 2020, arXiv:2006.10141: L = L_task + λ L_self, together ("joint
    training", which the paper finds better than one after the other). What a GCN sees anyway (degrees,
    adjacent edges) helps little; a node's place in the whole graph and the labels around it help. As released
    the pretext task is answered from the first convolution's vectors, after dropout, and classes are the
    second one's. Labels are those of the training nodes of the source's usual split, and, to choose the
    weights that are kept, of its validation nodes; no other label is read. Differs from the paper: parts of
    "cluster_distance" come from k-means on spectral vectors, not from METIS; degrees are standardised,
    distances to labels are 1 / hops. Differs from the released code: masks are drawn anew each step, the
    centre of a part is really its node of highest degree, and of a context a node counts once that is one
    hop away and also two.

    Args:
        encoder: A ``ClassGCN``.
        task: A key of ``PRETEXTS``, or "none" for labels alone.
        weight: λ, 0 or more; None takes the paper's for the task on Cora.
        fill: How "context_label" and "corrected_label" guess missing labels at first: iterative
            classification, label propagation, or the mean of both.
        alpha: Weight of the corrected beside the first guesses, 0 or more, of "corrected_label".
        relabelled: Unlabelled nodes, drawn anew each step, whose guesses are corrected, at least 1.
        share: Share of the edges or nodes that are masked, in (0, 1).
        parts: Of the graph, at least 2, of "cluster_distance".
    """

    recipe = Recipe(
        optimizer="adam", lr=0.01, lr_scaling="none", weight_decay=5e-4, epochs=200, schedule="constant",
        encoder=PLACE,
    )  # fmt: skip
    encoder: ClassGCN

    def __init__(
        self,
        encoder: nn.Module,
        *,
        task: str = "corrected_label",
        weight: float | None = None,
        fill: Fill = "ica",
        alpha: float = 1.5,
        relabelled: int = 1000,
        share: float = 0.1,
        parts: int = 10,
    ) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, ClassGCN):
            raise BadInput(f"SelfTask reads both layers of {PLACE}; leave --encoder out.")
        if task not in (*PRETEXTS, "none"):
            raise unknown("pretext task", task, (*PRETEXTS, "none"))
        if fill not in ("ica", "lp", "ensemble"):
            raise unknown("way to fill labels", fill, ("ica", "lp", "ensemble"))
        numbers = (weight is None or weight >= 0) and alpha >= 0 and relabelled >= 1
        if not numbers or not 0 < share < 1 or parts < 2:
            raise BadInput(
                f"SelfTask needs weight and alpha of 0 or more, relabelled of 1 or more, share in (0, 1) and "
                f"2 or more parts; got {weight}, {alpha}, {relabelled}, {share} and {parts}."
            )
        self.task, self.fill, self.alpha, self.share, self.parts = task, fill, alpha, share, parts
        self.weight, self.relabelled = weight, relabelled
        self.pretext: Pretext | None = None

    def setup(self, source: Source) -> None:
        """Build the targets of the pretext task, and its head, from the graph and its training labels."""
        if not isinstance(source, NodeSource) or source.labels is None or not source.protocols:
            raise BadInput(
                f"SelfTask needs one graph whose nodes have labels and a split; {source.uri} is none."
            )
        super().setup(source)
        whole = source.data
        y = np.full(int(whole.num_nodes), -1)
        y[source.rows[self.teaches]] = source.labels[self.teaches]
        if len(np.unique(y[y >= 0])) < 2:
            raise BadInput(f"SelfTask needs training labels of two or more classes; {source.uri} has fewer.")
        self.y = torch.from_numpy(y)
        if self.task != "none" and self.weight != 0:
            made, usual = PRETEXTS[self.task]
            self.pretext = made(self, source.x, whole.edge_index, self.y, self.encoder.out_dim)
            self.head = nn.Linear(self.encoder.width, self.pretext.width)
            self.scale = usual if self.weight is None else self.weight  # λ

    def views(self, graph: pyg.Data) -> tuple[pyg.Data, Any]:
        """Return the graph, masked where the task masks, and what the task asks this time."""
        if len(graph.x) != len(self.y):
            raise BadInput("SelfTask's targets are of the whole graph; leave --batch-size out.")
        return (graph, None) if self.pretext is None else self.pretext.draw(graph)

    def loss(self, views: tuple[pyg.Data, Any]) -> dict[str, Tensor]:
        graph, target = views
        hidden, dropped, logits = self.encoder.layers(graph)
        y = self.y.to(logits.device)
        known = y >= 0
        terms = {"label": cross_entropy(logits[known], y[known])}
        if self.pretext is not None:
            z = dropped if self.pretext.dropped else hidden
            terms["self"] = self.scale * self.pretext.loss(z, self.head, target)
        return terms


class Pretext:
    """What a task asks of the nodes' vectors.

    Attributes:
        width: Of the head's answer.
        dropped: Whether it is given the vectors that dropout has left.
    """

    width, dropped = 1, True

    def draw(self, graph: pyg.Data) -> tuple[pyg.Data, Any]:
        """Return the graph that the encoder sees, and what is asked of it."""
        return graph, None

    def loss(self, z: Tensor, head: nn.Module, target: Any) -> Tensor:
        raise NotImplementedError


class Numbers(Pretext):
    """Regress numbers ``(N, K)`` of each node: squared error."""

    def __init__(self, targets: Tensor) -> None:
        self.targets, self.width = targets.float(), targets.shape[1]

    def loss(self, z: Tensor, head: nn.Module, target: Any) -> Tensor:
        return mse_loss(head(z), self.targets.to(z.device))


def degree(method: SelfTask, x: Tensor, edges: Tensor, y: Tensor, classes: int) -> Numbers:
    """Degrees, standardised: what a GCN knows already."""
    d = degrees(edges, len(y)).float()
    return Numbers(((d - d.mean()) / d.std().clamp(min=1e-6))[:, None])


def cluster_distance(method: SelfTask, x: Tensor, edges: Tensor, y: Tensor, classes: int) -> Numbers:
    """1 / hops to the node of highest degree of each part of the graph."""
    from sklearn.cluster import KMeans

    place = spectral_vectors(edges, len(y), method.parts)[1]
    part = KMeans(method.parts, n_init=4, random_state=0).fit_predict(normalize(place, dim=1).numpy())
    d = degrees(edges, len(y)).numpy()
    order = np.lexsort((-d, part))
    _, first = np.unique(part[order], return_index=True)
    return Numbers(nearness(distances(edges, len(y), torch.from_numpy(order[first])).T))


def label_distance(method: SelfTask, x: Tensor, edges: Tensor, y: Tensor, classes: int) -> Numbers:
    """The mean, most and least of 1 / hops to the labelled nodes of each class."""
    rows = torch.nonzero(y >= 0)[:, 0]
    near, marks = nearness(distances(edges, len(y), rows)).T, one_hot(y[rows], classes).float()  # (N, L)
    mean = near @ marks / marks.sum(0).clamp(min=1)
    groups = [near[:, marks[:, c] > 0] for c in range(classes) if marks[:, c].any()]
    ends = [torch.stack([g.amax(1), g.amin(1)], dim=1) for g in groups]
    return Numbers(torch.cat([mean, *ends], dim=1))


def nearness(hops: Tensor) -> Tensor:
    """Return 1 / hops, 0 where nothing leads there and 1 at the place itself."""
    return torch.where(hops < 0, 0.0, 1.0 / hops.clamp(min=1))


class EdgeMask(Pretext):
    """Hide edges, and tell their ends from pairs that no edge joins: two classes of |z_u - z_v|."""

    width = 2

    def __init__(self, method: SelfTask, x: Tensor, edges: Tensor, y: Tensor, classes: int) -> None:
        self.share, self.n = method.share, len(y)
        low, high = edges.sort(0).values
        self.keys = torch.unique((low * self.n + high)[low != high])

    def draw(self, graph: pyg.Data) -> tuple[pyg.Data, Any]:
        device = graph.edge_index.device
        keys, n = self.keys.to(device), self.n
        many = max(1, int(self.share * len(keys)))
        hidden = keys[torch.randperm(len(keys), device=device)[:many]]
        low, high = graph.edge_index.sort(0).values
        drawn = torch.randint(n, (2, 4 * many + 16), device=device).sort(0).values
        free = (drawn[0] != drawn[1]) & ~torch.isin(drawn[0] * n + drawn[1], keys)
        absent = drawn[:, free][:, :many]
        pairs = torch.cat([torch.stack([hidden // n, hidden % n]), absent], dim=1)
        truth = (torch.arange(pairs.shape[1], device=device) < many).long()
        return with_edges(graph, ~torch.isin(low * n + high, hidden)), (pairs, truth)

    def loss(self, z: Tensor, head: nn.Module, target: Any) -> Tensor:
        (u, v), truth = target
        return cross_entropy(head((z[u] - z[v]).abs()), truth)


def some_nodes(n: int) -> Tensor:
    """Draw as many nodes as may be paired with all ``n`` within the limit; the same every time."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(0))[: max(1, _MOST // n)]


class PairDistance(Pretext):
    """How far two nodes are apart: 1, 2, 3, or 4 hops and more; as many pairs of each."""

    width, each = 4, 4000

    def __init__(self, method: SelfTask, x: Tensor, edges: Tensor, y: Tensor, classes: int) -> None:
        n = len(y)
        self.starts = some_nodes(n)
        hops = distances(edges, n, self.starts, most=3)
        self.n, kind = n, torch.where(hops < 0, 4, hops).flatten()
        self.places = [p for k in range(1, 5) if len(p := torch.nonzero(kind == k)[:, 0].int())]
        self.kinds = [k for k in range(4) if (kind == k + 1).any()]

    def draw(self, graph: pyg.Data) -> tuple[pyg.Data, Any]:
        drawn = [p[torch.randint(len(p), (min(self.each, len(p)),))].long() for p in self.places]
        place = torch.cat(drawn)
        pairs = torch.stack([self.starts[place // self.n], place % self.n])
        truth = torch.cat([torch.full((len(p),), k) for p, k in zip(drawn, self.kinds, strict=True)])
        return graph, (pairs.to(graph.x.device), truth.to(graph.x.device))

    def loss(self, z: Tensor, head: nn.Module, target: Any) -> Tensor:
        (u, v), truth = target
        return cross_entropy(head((z[u] - z[v]).abs()), truth)


class AttributeMask(Pretext):
    """Zero some nodes' features and reconstruct them: squared error."""

    def __init__(self, method: SelfTask, x: Tensor, edges: Tensor, y: Tensor, classes: int) -> None:
        self.share, self.width = method.share, x.shape[1]

    def draw(self, graph: pyg.Data) -> tuple[pyg.Data, Any]:
        many = max(1, int(self.share * len(graph.x)))
        rows = torch.randperm(len(graph.x), device=graph.x.device)[:many]
        return with_x(graph, graph.x.index_fill(0, rows, 0.0)), (rows, graph.x[rows])

    def loss(self, z: Tensor, head: nn.Module, target: Any) -> Tensor:
        rows, truth = target
        return mse_loss(head(z[rows]), truth)


class AttributeSimilarity(Pretext):
    """Regress the cosine between features of the most and the least alike, from |z_u - z_v|."""

    near, each = 3, 5000

    def __init__(self, method: SelfTask, x: Tensor, edges: Tensor, y: Tensor, classes: int) -> None:
        n = len(y)
        rows = some_nodes(n)
        x = normalize(x, dim=1)
        alike = x[rows] @ x.T
        itself = rows[:, None] == torch.arange(n)
        k = min(self.near, n - 1)
        most = alike.masked_fill(itself, -torch.inf).topk(k, dim=1)
        least = alike.masked_fill(itself, torch.inf).topk(k, dim=1, largest=False)
        self.pairs = torch.stack([rows.repeat_interleave(2 * k), torch.cat([most[1], least[1]], 1).flatten()])
        self.cosine = torch.cat([most[0], least[0]], 1).flatten()

    def draw(self, graph: pyg.Data) -> tuple[pyg.Data, Any]:
        some = torch.randperm(len(self.cosine))[: self.each]
        return graph, (self.pairs[:, some].to(graph.x.device), self.cosine[some].to(graph.x.device))

    def loss(self, z: Tensor, head: nn.Module, target: Any) -> Tensor:
        (u, v), truth = target
        return mse_loss(head((z[u] - z[v]).abs())[:, 0], truth)


class ContextLabel(Pretext):
    """Predict the shares of the classes within two hops, missing labels guessed: squared error.

    Args:
        method: Tells ``fill``, and how many guesses are corrected.
        corrected: Also predict the shares by labels that the present vectors correct.
    """

    dropped = False  # labels are corrected by all of the vectors

    def __init__(
        self, method: SelfTask, x: Tensor, edges: Tensor, y: Tensor, classes: int, *, corrected: bool = False
    ) -> None:
        self.width, self.y, self.alpha = classes, y, method.alpha if corrected else 0.0
        self.relabelled, self.drop = method.relabelled, method.encoder.drop
        a = adjacency(edges, len(y), undirected=True)
        a.data[:] = 1
        self.near = sp.csr_array(a + a @ a)
        self.near.setdiag(0)
        self.near.eliminate_zeros()
        self.near.data[:] = 1
        self.unlabelled = torch.nonzero(y < 0)[:, 0]
        self.guess = filled(x, a, y, classes, method.fill)  # (N,)
        self.shares = self.context(self.guess)

    def context(self, labels: Tensor) -> Tensor:
        """Return the share of each class among the nodes within two hops, ``(N, C)``."""
        counts = self.near @ np.eye(self.width, dtype=np.float32)[labels.numpy()]
        return row_normalise(torch.from_numpy(counts).float())

    def loss(self, z: Tensor, head: nn.Module, target: Any) -> Tensor:
        rows = self.unlabelled
        said = head(self.drop(z[rows.to(z.device)])).softmax(1)
        cost = mse_loss(said, self.shares[rows].to(z.device))
        if self.alpha:
            some = torch.randperm(len(rows))[: self.relabelled]
            guess = self.guess.clone()
            guess[rows[some]] = corrected(z.detach().cpu(), self.guess, self.y, self.width)[rows[some]]
            better = self.context(guess)[rows[some]].to(z.device)
            cost = cost + self.alpha * mse_loss(said[some.to(z.device)], better)
        return cost


def corrected_label(method: SelfTask, x: Tensor, edges: Tensor, y: Tensor, classes: int) -> ContextLabel:
    """Context labels, and again with guesses that are corrected by the vectors learned so far."""
    return ContextLabel(method, x, edges, y, classes, corrected=True)


# builder and λ
PRETEXTS: dict[str, tuple[Any, float]] = {
    "degree": (degree, 5.0),
    "edge_mask": (EdgeMask, 10.0),
    "pair_distance": (PairDistance, 20.0),
    "cluster_distance": (cluster_distance, 100.0),
    "attribute_mask": (AttributeMask, 100.0),
    "attribute_similarity": (AttributeSimilarity, 100.0),
    "label_distance": (label_distance, 100.0),
    "context_label": (ContextLabel, 10.0),
    "corrected_label": (corrected_label, 10.0),
}
