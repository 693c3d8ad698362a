"""GCC: Graph Contrastive Coding for Graph Neural Network Pre-Training, arXiv:2006.09963."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import BadInput, Clock, Features, Method, Recipe
from vergence.data.graph import pyg
from vergence.data.graph.base import GraphSource
from vergence.data.graph.csr import CSR
from vergence.data.graph.source import ragged
from vergence.data.graph.walks import Walker
from vergence.engine.distributed import gather_by_rank
from vergence.losses import info_nce, queue_nce
from vergence.methods.graph.encoders import build, read_out
from vergence.nets import Dropout, Teacher, width_of
from vergence.nets.eigenvectors import canonical
from vergence.nets.links import Links
from vergence.nets.memory import MemoryQueue

PLACE = "vergence.methods.graph.gcc:StructureGIN"
_AT_ONCE = 1024  # subgraphs, when nodes are embedded


class GCC(Method):
    """Tell whether two subgraphs were walked from one node; what is learned moves to other graphs.

    Qiu, Chen, Dong, Zhang, Yang, Ding, Wang, Tang 2020, arXiv:2006.09963. An instance is a node; its two
    views are subgraphs of random walks with restart, without names and features (Sec. 3.2). Each step
    draws ``instances`` nodes of its batch in proportion to degree^0.75, so that a whole graph, which is one
    batch, is one step an epoch. Differs from the paper: the rate falls along half a cosine after its
    warm-up, not along a line, and the epochs are for one small graph.

    Args:
        encoder: Maps graphs to ``(B, D)`` or ``Features``; a ``StructureGIN``.
        instances: Nodes a step, at least 2.
        temperature: Softmax temperature, above 0, τ.
        queue: Keys of earlier steps that are kept as negatives, K (MoCo, 16384 there), with an encoder of
            keys that follows slowly; 0 takes the other instances of the step, and one encoder (E2E).
        momentum: Share of the encoder of keys that is kept each step, in [0, 1), m.
        restart: Chance of a walk to go back to its node, in (0, 1).
        one_view: Take one subgraph for both views: no variation, an ablation.
    """

    recipe = Recipe(
        optimizer="adam", lr=5e-3, lr_scaling="none", weight_decay=1e-5, epochs=150, schedule="cosine",
        warmup=15, clip=1.0, encoder=PLACE,
    )  # fmt: skip
    keys: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        instances: int = 256,
        temperature: float = 0.07,
        queue: int = 0,
        momentum: float = 0.999,
        restart: float = 0.8,
        one_view: bool = False,
    ) -> None:
        super().__init__(encoder)
        if instances < 2 or temperature <= 0 or queue < 0 or not 0 <= momentum < 1 or not 0 < restart < 1:
            raise BadInput(
                f"GCC needs 2 or more instances, temperature > 0, queue >= 0, momentum in [0, 1) and restart "
                f"in (0, 1); got {instances}, {temperature}, {queue}, {momentum} and {restart}."
            )
        if not isinstance(encoder, StructureGIN):
            raise BadInput(f"GCC reads subgraphs without features by {PLACE}; leave --encoder out.")
        self.instances, self.temperature, self.restart = instances, temperature, restart
        self.momentum, self.one_view = momentum, one_view
        self.teacher = Teacher(encoder) if queue else None
        self.queue = MemoryQueue(queue, width_of(encoder)) if queue else None
        self.fresh_keys: list[Tensor] = []

    def views(self, graph: pyg.Data) -> list[pyg.Data]:
        """Return two subgraphs of each of the nodes that are drawn."""
        csr = lists_of(graph)
        weight = torch.from_numpy(csr.degrees).double() ** 0.75
        drawn = min(self.instances, int((weight > 0).sum()))
        if drawn < 2:
            raise BadInput("GCC needs two or more nodes with edges in every batch.")
        nodes = torch.multinomial(weight, drawn).numpy()
        seeds = torch.randint(2**62, (2,)).tolist()
        made = [subgraphs(csr, nodes, restart=self.restart, seed=s) for s in seeds[: 2 - self.one_view]]
        return [view.to(graph.edge_index.device) for view in (made * 2)[:2]]

    def loss(self, views: list[pyg.Data]) -> dict[str, Tensor]:
        queries = self.encode(views[0])
        if self.teacher is None or self.queue is None:
            return {"contrast": info_nce(queries, self.encode(views[1]), temperature=self.temperature)}
        fresh = self.teacher(views[1]).pooled
        self.fresh_keys.append(fresh)
        (old,) = self.queue.rows
        return {"contrast": queue_nce(queries, fresh, old, temperature=self.temperature)}

    def step_end(self, clock: Clock) -> None:
        if self.teacher is not None and self.queue is not None:
            self.teacher.follow(keep=self.momentum)
            self.queue.push(gather_by_rank(torch.cat(self.fresh_keys)))
            self.fresh_keys.clear()


class StructureGIN(nn.Module):
    """Graphs without names and features -> unit vectors ``(B, width)``.

    A node's input is what its graph alone says: entries of the leading eigenvectors of the normalised
    adjacency (scaled to a unit row, their signs flipped at random while training), its degree, learned, and
    whether the walk began there (Sec. 3.3). Of one large graph every sample is encoded by a subgraph walked
    from it, always the same one; of a set, every graph as a whole, as if walked from its node of highest
    degree. As in the released code every layer ends in batch norm and ReLU twice, and the answer is the sum
    of a linear map of each layer's sum over the graph, the inputs' too.

    Args:
        width: D, and of every layer.
        layers: Of GIN; the paper counts the inputs as one more.
        positions: Eigenvectors.
        degree_width: Of a degree's vector; degrees of 512 and more share one.
        restart: Of the walks.
        dropout: Of what each layer adds to the answer, in [0, 1).
    """

    def __init__(
        self,
        *,
        width: int = 64,
        layers: int = 4,
        positions: int = 32,
        degree_width: int = 16,
        restart: float = 0.8,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.out_dim, self.positions, self.restart = width, positions, restart
        self.degree = nn.Embedding(513, degree_width)
        widths = [positions + degree_width + 1, *[width] * layers]
        self.layers = nn.ModuleList(gin_layer(a, width) for a in widths[:-1])
        self.reads = nn.ModuleList(nn.Linear(a, width) for a in widths)
        self.drop = Dropout(dropout)
        self.spec: dict[str, Any] = {}

    @classmethod
    def for_source(cls, source: GraphSource, **options: Any) -> nn.Module:
        """Make the network; it needs nothing of the source, and suits all others too."""
        return build(PLACE, **options)

    def inputs(self, graph: pyg.Data) -> Tensor:
        """Return ``(N, positions + degree_width + 1)``."""
        place = positions(graph.edge_index, graph.ptr, self.positions)
        if self.training:
            signs = torch.randint(2, (len(graph.ptr) - 1, self.positions), device=place.device) * 2 - 1
            place = place * signs[graph.batch]
        source, target = graph.edge_index
        degree = torch.bincount(target[source != target], minlength=len(graph.batch)).clamp(max=512)
        flag = torch.zeros(len(graph.batch), 1, device=place.device)
        start = graph.get("start")
        flag[hubs(graph.edge_index, graph.batch, len(graph.ptr) - 1) if start is None else start] = 1.0
        return torch.cat([place, self.degree(degree), flag], dim=1)

    def whole(self, graph: pyg.Data) -> Tensor:
        """Return one unit vector a graph ``(B, D)`` of a batch of graphs."""
        with torch.autocast(graph.edge_index.device.type, enabled=False):
            x = self.inputs(graph)
            links, total = Links(graph.edge_index, len(x)), x.new_zeros(())
            for number, read in enumerate(self.reads):
                if number:
                    x = self.layers[number - 1](x + links.sum(x))
                total = total + self.drop(read(read_out(x, graph, "sum")))
            return normalize(total, dim=1, eps=1e-5)

    def forward(self, graph: pyg.Data) -> Features:
        if "ptr" in graph:
            return Features(pooled=self.whole(graph))
        csr, seeds = lists_of(graph), graph.get("seeds")
        nodes = np.arange(csr.nodes) if seeds is None else seeds.cpu().numpy()
        device = graph.edge_index.device
        pieces = [nodes[i : i + _AT_ONCE] for i in range(0, len(nodes), _AT_ONCE)]
        vectors = [self.whole(subgraphs(csr, p, restart=self.restart, seed=0).to(device)) for p in pieces]
        return Features(pooled=torch.cat(vectors))


def gin_layer(into: int, width: int) -> nn.Sequential:
    """Return what a layer makes of the sum of a node and its neighbours."""
    return nn.Sequential(
        nn.Linear(into, width), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(),
        nn.BatchNorm1d(width), nn.ReLU(),
    )  # fmt: skip


def hubs(edge_index: Tensor, graph: Tensor, count: int) -> Tensor:
    """Return the node of highest degree of each graph ``(B,)``.

    Of equals it is the one that begins most walks of two, then three and four steps, which does not depend on
    the order of the nodes, then the first.

    Args:
        edge_index: ``(2, E)``, both directions; loops do not count.
        graph: ``(N,)``, ascending, the graph each node is part of.
        count: B.
    """
    source, target = edge_index[:, edge_index[0] != edge_index[1]]
    walks = torch.ones(len(graph), dtype=torch.float64, device=graph.device)
    most = torch.ones_like(graph, dtype=torch.bool)
    for _ in range(4):
        walks = torch.zeros_like(walks).index_add(0, target, walks[source])
        best = walks.new_full((count,), -1.0).scatter_reduce(0, graph, walks.where(most, -1.0), "amax")
        most &= walks == best[graph]
    place = torch.nonzero(most)[:, 0]
    first = torch.searchsorted(graph[place], torch.arange(count, device=graph.device))
    return place[first]


def lists_of(graph: pyg.Data) -> CSR:
    """Return the neighbour lists of a batch, undirected and without loops."""
    edges = graph.edge_index.cpu().numpy()
    return CSR.from_edges(edges, int(graph.num_nodes or 0), undirected=True).without_loops()


def subgraphs(graph: CSR, nodes: np.ndarray, *, restart: float = 0.8, seed: int = 0) -> pyg.Batch:
    """Walk from each node with restarts and return what was visited, with all edges in between.

    A walk takes max(256, deg^0.75 e / ((e - 1) 0.8)) steps; it and the numbers of the nodes do not depend on
    the other walks' starts, only on ``seed`` and the place in ``nodes``.

    Args:
        graph: Neighbour lists.
        nodes: ``(B,)``, where to begin.
        restart: Chance of going back before each step.
        seed: Of all walks.

    Returns:
        A batch of B graphs with ``edge_index``, ``batch``, ``ptr`` and ``start`` ``(B,)``, and ``node``
        ``(N,)``, the nodes' numbers in ``graph``, ascending within each.
    """
    steps = np.maximum(256, np.ceil(graph.degrees[nodes] ** 0.75 * math.e / ((math.e - 1) * 0.8))).astype(int)
    walks = Walker(graph, restart=restart).walks(nodes, int(steps.max()) + 1, seed=seed)
    made = np.arange(walks.shape[1]) <= steps[:, None]
    row, column = np.nonzero(made & (walks >= 0))
    n = graph.nodes
    keys = np.unique(row * n + walks[row, column])  # (walk, node), each once
    walk, node = keys // n, keys % n
    ptr = np.searchsorted(walk, np.arange(len(nodes) + 1))
    place, starts = ragged(graph.indptr, node)
    source = np.repeat(np.arange(len(node)), np.diff(starts))
    wanted = walk[source] * n + graph.indices[place]
    target = np.searchsorted(keys, wanted)
    target[target == len(keys)] = 0
    inside = keys[target] == wanted
    batch = pyg.Batch(
        edge_index=torch.from_numpy(np.stack([source[inside], target[inside]])),
        batch=torch.from_numpy(walk),
        ptr=torch.from_numpy(ptr.astype(np.int64)),
    )
    batch.num_nodes = len(node)
    batch.start = torch.from_numpy(np.searchsorted(keys, np.arange(len(nodes)) * n + nodes))
    batch.node = torch.from_numpy(node)
    return batch


@torch.no_grad()
def positions(edge_index: Tensor, ptr: Tensor, k: int) -> Tensor:
    """Return the leading eigenvectors of each graph's normalised adjacency, a row of unit length a node.

    Graphs of equal size are solved together. Signs and bases are those of ``canonical``: a graph has the same
    positions in every batch and on every machine.

    Args:
        edge_index: ``(2, E)`` of graphs that lie one after the other; taken undirected, without loops.
        ptr: ``(B + 1,)``, where each begins.
        k: At most; a graph of n nodes has n - 2, the other columns are 0.

    Returns:
        ``(N, k)`` on the device of ``ptr``.
    """
    sizes, device = (ptr[1:] - ptr[:-1]).cpu(), ptr.device
    edges, ptr = edge_index.cpu(), ptr.cpu()
    graph = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    result = torch.zeros(len(graph), k)
    for size in torch.unique(sizes[sizes > 2]).tolist():
        which = torch.nonzero(sizes == size)[:, 0]
        slot = torch.full((len(sizes),), -1)
        slot[which] = torch.arange(len(which))
        u, v = edges[:, (slot[graph[edges[0]]] >= 0) & (edges[0] != edges[1])]
        a = torch.zeros(len(which), size, size, dtype=torch.float64)
        owner, u, v = slot[graph[u]], u - ptr[graph[u]], v - ptr[graph[v]]
        a[owner, u, v] = a[owner, v, u] = 1.0
        root = a.sum(2).clamp(min=1).rsqrt()
        values, vectors = torch.linalg.eigh(root[:, :, None] * a * root[:, None])
        chosen = canonical(values.flip(1).numpy(), vectors.flip(2).numpy(), min(k, size - 2))  # highest first
        rows = ptr[which][:, None] + torch.arange(size)
        result[rows, : chosen.shape[2]] = normalize(torch.from_numpy(chosen), dim=2).float()
    return result.to(device)
