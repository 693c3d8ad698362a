"""Graph Representation Learning for Road Type Classification, arXiv:2107.07791."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, normalize, softplus

from vergence.core import BadInput, Features, Method, Recipe
from vergence.data import Source
from vergence.data.graph import pyg
from vergence.data.graph.build import Edges, build
from vergence.data.graph.csr import CSR
from vergence.data.graph.source import NodeSource
from vergence.data.graph.walks import Walker, has_edge
from vergence.methods.graph.encoders import GraphEncoder, read_out
from vergence.methods.graph.structure import line_graph
from vergence.nets import Dropout
from vergence.nets.links import Links

LOCAL, GLOBAL = "local", "global"


def edges_as_nodes(graph: pyg.Data, uri: str, *, labels: Tensor | None = None) -> NodeSource:
    """Return the line graph of a graph as a source: roads, bonds or pipes become the nodes.

    Two edges are joined where they share an end, which takes memory of the sum of squared degrees.

    Args:
        graph: Undirected. What it has of ``edge_attr`` ``(E, G)``, the mean of both directions, and of ``x``
            ``(N, F)``, the sum of both ends, becomes the features ``(M, G + F)``. Positions on earth must be
            projected to a plane before lengths and midpoints are taken of them.
        uri: Name of the new source.
        labels: ``(E,)`` int64, of edges, the same of both directions; -1 where unknown.

    Raises:
        BadInput: If the graph has no edges, or neither has features.
    """
    line = line_graph(graph.edge_index, int(graph.num_nodes or 0))
    proper = line.place >= 0
    place = line.place[proper]
    if not line.nodes:
        raise BadInput(f"{uri} has no edges that could become nodes.")
    parts = []
    if graph.get("edge_attr") is not None:
        values = graph.edge_attr.float()[proper]
        total = values.new_zeros(line.nodes, values.shape[1]).index_add_(0, place, values)
        parts.append(total / torch.bincount(place, minlength=line.nodes)[:, None])
    if graph.x is not None:
        parts.append(graph.x[line.edges[0]] + graph.x[line.edges[1]])
    if not parts:
        raise BadInput(f"{uri} has features neither of edges nor of nodes; the line graph would have none.")
    y = None
    if labels is not None:
        y = np.full(line.nodes, -1)
        y[place.numpy()] = labels[proper].numpy()
    pairs = Edges(line.edge_index.numpy(), line.nodes)
    graph_of_edges, notes = build(pairs, uri, x=torch.cat(parts, dim=1).numpy(), y=y)
    return NodeSource(graph_of_edges, uri, notes=notes)


class GAINLayer(nn.Module):
    """Graph attention isomorphism: attention over the neighbours, an injective term of the node itself.

    ``MLP((1 + eps) W h_i + sum_j a_ij W h_j)`` with ``a_ij`` the softmax over the neighbours j of i of
    ``LeakyReLU(a . [W h_i, W h_j])``; each of the MLP's three layers is followed by batch norm and
    LeakyReLU, of slope 0.2 in the attention and 0.1 here, as released.

    Args:
        into: Width of the nodes' vectors.
        width: Of the answer.
        hidden: Of the MLP.
        dropout: Of the input, and of each of the MLP's layers, in [0, 1).
        attention: Without it all neighbours weigh the same and sum to 1.
    """

    def __init__(self, into: int, width: int, hidden: int, dropout: float, attention: bool) -> None:
        super().__init__()
        self.drop, self.w = Dropout(dropout), nn.Linear(into, width, bias=False)
        self.attend = nn.Linear(2 * width, 1, bias=False) if attention else None
        self.eps = nn.Parameter(torch.tensor(0.5))
        layers: list[nn.Module] = []
        for a, b in pairwise((width, hidden, hidden, width)):
            linear = nn.Linear(a, b, bias=False)
            layers += [Dropout(dropout), linear, nn.BatchNorm1d(b), nn.LeakyReLU(0.1)]
        self.mlp = nn.Sequential(*layers)

    def attention(self, h: Tensor, links: Links) -> Tensor:
        """Return the weight of each link ``(E,)`` from j to i, of nodes ``W h (N, width)``; i's sum to 1."""
        if self.attend is None:
            return links.softmax(h.new_zeros(len(links.source)))
        a_i, a_j = self.attend.weight[0].chunk(2)
        return links.softmax(leaky_relu((h @ a_i)[links.target] + (h @ a_j)[links.source], 0.2))

    def forward(self, h: Tensor, links: Links) -> Tensor:
        h = self.w(self.drop(h))
        return self.mlp((1 + self.eps) * h + links.sum(h, self.attention(h, links)))


class GAINEncoder(nn.Module):
    """A graph -> one vector a sample ``(B, width)``.

    Args:
        in_dim: Width of the nodes' features.
        width: Of the answer and between layers.
        layers: Hops.
        hidden: Width of the layers' MLPs.
        dropout: See ``GAINLayer``, in [0, 1).
        attention: See ``GAINLayer``.
    """

    def __init__(
        self,
        in_dim: int,
        width: int = 64,
        layers: int = 2,
        hidden: int = 128,
        dropout: float = 0.1,
        attention: bool = True,
    ) -> None:
        super().__init__()
        if min(in_dim, width, layers, hidden) < 1 or not 0 <= dropout < 1:
            raise BadInput(
                "A GAIN encoder needs in_dim, width, layers and hidden of 1 or more and dropout in [0, 1); "
                f"got {in_dim}, {width}, {layers}, {hidden} and {dropout}."
            )
        self.in_dim, self.out_dim = in_dim, width
        self.convs = nn.ModuleList(
            GAINLayer(a, width, hidden, dropout, attention) for a in [in_dim, *[width] * (layers - 1)]
        )

    def attention(self, graph: pyg.Data) -> list[tuple[Tensor, Tensor]]:
        """Return whom nodes listen to, as ``GraphEncoder.attention`` does, but without loops."""
        h, links, layers = graph.x, Links(graph.edge_index, len(graph.x)), []
        for conv in self.convs:
            shares = conv.attention(conv.w(h), links)  # type: ignore[operator]
            layers.append((graph.edge_index, shares[:, None]))
            h = conv(h, links)
        return layers

    def nodes(self, graph: pyg.Data) -> Tensor:
        """Return the vectors of all nodes of the batch, ``(N, width)``."""
        h = graph.x
        if h.shape[1] != self.in_dim:
            raise BadInput(f"This encoder was built for {self.in_dim} features; the graph has {h.shape[1]}.")
        with torch.autocast(h.device.type, enabled=False):
            links = Links(graph.edge_index, len(h))
            for conv in self.convs:
                h = conv(h, links)
        return h

    def forward(self, graph: pyg.Data) -> Features:
        return Features(pooled=read_out(self.nodes(graph), graph, None))


class GAIN(Method):
    """Draw together what lies on a walk: near each other, and at the far end of a road that leads away.

    Gharaee, Kowshik, Stromann, Felsberg 2021, arXiv:2107.07791: the unsupervised task, on a line graph
    (``edges_as_nodes``) or any other. A step draws a new walk of each kind from every node, where the paper
    draws 50 beforehand, and compares with random nodes. Of a set of roads, learn from a graph without those
    that judge: walks go through everything that is there. Differs from the released code: a global walk
    keeps its last node (the code forgets its pairs) and does not turn straight back.

    Args:
        encoder: Maps a graph to ``(B, D)``; by default ``GAINEncoder``. Its vectors must be able to point
            away from each other: one that ends in ReLU is refused.
        walks: "local", "global" or both: where positives come from.
        length: Steps of a local walk, at least 1; a global one has twice as many.
        negatives: Random nodes to tell each node from, at least 1, by degree to the power of 0.75.
    """

    recipe = Recipe(
        optimizer="adam", lr=1e-3, lr_scaling="none", batch=1024, epochs=200, schedule="constant",
        encoder="vergence.methods.graph.gain:GAINEncoder",
    )  # fmt: skip

    def __init__(
        self,
        encoder: nn.Module,
        *,
        walks: tuple[str, ...] = (LOCAL, GLOBAL),
        length: int = 5,
        negatives: int = 20,
    ) -> None:
        super().__init__(encoder)
        if not walks or set(walks) - {LOCAL, GLOBAL} or min(length, negatives) < 1:
            raise BadInput(
                "GAIN needs walks of 'local' and 'global', and length and negatives of 1 or more; "
                f"got {walks}, {length} and {negatives}."
            )
        if isinstance(encoder, GraphEncoder) and encoder.ends_in_relu:
            raise BadInput(
                "GAIN compares vectors by the sign of their product, and this encoder ends in ReLU, so that "
                "none is below 0; build it with final=False."
            )
        self.walks, self.length, self.negatives = tuple(walks), length, negatives

    def setup(self, source: Source) -> None:
        if not isinstance(source, NodeSource):
            raise BadInput(f"gain learns vectors of one graph's nodes, and {source.uri} is a set of graphs.")

    def views(self, graph: pyg.Data) -> tuple[pyg.Data, Tensor, Tensor]:
        """Return the graph, pairs that belong together ``(2, P)`` and others for each pair ``(P, Q)``.

        Both are places among the batch's samples.
        """
        nodes = int(graph.num_nodes or 0)
        seeds = graph.get("seeds")
        samples = torch.arange(nodes, device=graph.edge_index.device) if seeds is None else seeds
        roads = CSR.from_edges(graph.edge_index.cpu().numpy(), nodes, undirected=True).without_loops()
        starts = samples.cpu().numpy()
        pieces = []
        for kind in self.walks:
            draw = int(torch.randint(2**62, ()))
            pieces.append(
                near_pairs(roads, starts, self.length, seed=draw)
                if kind == LOCAL
                else far_pairs(roads, starts, 2 * self.length, seed=draw)
            )
        place = np.full(nodes, -1)
        place[starts] = np.arange(len(starts))
        pairs = place[np.concatenate(pieces, axis=1)]
        both = torch.from_numpy(pairs[:, (pairs >= 0).all(0)]).to(samples.device)
        weight = torch.from_numpy(roads.degrees[starts].clip(1) ** 0.75).to(samples.device)
        drawn = torch.multinomial(weight, both.shape[1] * self.negatives, replacement=True)
        return graph, both, drawn.view(-1, self.negatives)

    def loss(self, views: tuple[pyg.Data, Tensor, Tensor]) -> dict[str, Tensor]:
        graph, (u, v), others = views
        z = normalize(self.encode(graph), dim=1)
        if not len(u):
            raise BadInput("gain found no pair of nodes on a walk: the graph, or the batch, has no edges.")
        near = softplus(-(z[u] * z[v]).sum(1)).mean()  # -log sigmoid(z_u . z_v)
        far = softplus(torch.einsum("pd,pqd->pq", z[u], z[others])).sum(1).mean()
        return {"near": near, "far": far}


def near_pairs(graph: CSR, starts: np.ndarray, length: int, *, seed: int) -> np.ndarray:
    """Return for each start one of the other nodes on a walk of ``length`` steps, columns ``(2, P)``."""
    steps = Walker(graph).walks(starts, length + 1, seed=seed)[:, 1:]
    luck = np.random.default_rng(seed).random(steps.shape)
    usable = (steps >= 0) & (steps != starts[:, None])
    chosen = np.where(usable, luck, -1.0).argmax(1)
    rows = np.arange(len(starts))
    kept = usable[rows, chosen]
    return np.stack([starts[kept], steps[rows, chosen][kept]])


def far_pairs(graph: CSR, starts: np.ndarray, length: int, *, seed: int) -> np.ndarray:
    """Return for each start where a depth-first walk of at most ``length`` steps ends, columns ``(2, P)``.

    Each step leads to a node that is neither the last one nor joined to it; the walk ends where there is
    none. What ends within one step of its start, or comes back to it, is left out.
    """
    luck = np.random.default_rng(seed).random((len(starts), length))
    ends = _depth_first(graph.indptr, graph.indices, starts.astype(np.int64), luck)
    kept = ends >= 0
    return np.stack([starts[kept], ends[kept]])


@njit(cache=False, nogil=True)
def _depth_first(indptr: np.ndarray, indices: np.ndarray, starts: np.ndarray, luck: np.ndarray) -> np.ndarray:
    ends = np.full(len(starts), -1, dtype=np.int64)
    for walk in range(len(starts)):
        start = starts[walk]
        before, node, taken = np.int64(-1), start, 0
        for step in range(luck.shape[1]):
            away = 0
            for k in range(indptr[node], indptr[node + 1]):
                x = indices[k]
                if before < 0 or (x != before and not has_edge(indptr, indices, before, x)):
                    away += 1
            if away == 0:
                break
            skip = np.int64(luck[walk, step] * away)
            for k in range(indptr[node], indptr[node + 1]):
                x = indices[k]
                if before < 0 or (x != before and not has_edge(indptr, indices, before, x)):
                    if skip == 0:
                        before, node = node, np.int64(x)
                        break
                    skip -= 1
            taken += 1
        if taken > 1 and node != start:
            ends[walk] = node
    return ends
