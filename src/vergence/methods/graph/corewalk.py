"""About Graph Degeneracy, Representation Learning and Scalability (CoreWalk), arXiv:2009.02085."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
import torch
from scipy import sparse

from vergence.core import BadInput, Estimator, unknown
from vergence.data import Source
from vergence.data.graph.csr import CSR, as_csr
from vergence.data.graph.sampling import induced
from vergence.data.graph.walks import Walker
from vergence.methods.graph.encoders import Table
from vergence.methods.graph.skipgram import skip_gram
from vergence.methods.graph.structure import core_numbers

Schedule = Literal["linear", "power", "sigmoid"]
SCHEDULES = ("linear", "power", "sigmoid")


class CoreWalk(Estimator):
    """Walk often from the core of a graph and seldom from its rim; or embed the core and spread it outwards.

    Brandeis, Jarret, Sevestre 2020, arXiv:2009.02085. Walks and skip-gram are node2vec's with
    p = q = 1. Directions and self-loops are ignored, as core numbers ask for.

    Differs from the released code: a propagated vector is the mean of its own neighbours' vectors;
    the code may take another node's, as it lists embedded nodes in an order of its own. Differs from
    the paper: negatives shared by the contexts of a position, see ``skip_gram``.

    Args:
        walks: n, from each node of the innermost core.
        schedule: Walks from a node of core number k, of at most k_max: "linear" n k / k_max, "power"
            n (k / k_max)^a, "sigmoid" n σ(10 (k - k_max / 2) / k_max); rounded down, at least 1.
        exponent: a, of "power", above 0.
        core: k0; only the k0-core is walked on, the rest is propagated. 0 walks everywhere.
        sweeps: Jacobi sweeps a wave of the propagation.
        dim: Width of the vectors.
        length: Nodes a walk.
        window: Farthest context, in steps.
        negatives: A pair.
        epochs: Passes over the walks.
        lr: First learning rate; falls linearly.
        repeatable: As of node2vec.

    Attributes:
        cores_: After ``fit``: ``(N,)`` int64, the core number of every node.
        walked_: Number of walks that were made.
    """

    cores_: np.ndarray
    walked_: int

    def __init__(
        self,
        *,
        walks: int = 15,
        schedule: Schedule = "linear",
        exponent: float = 2.0,
        core: int = 0,
        sweeps: int = 20,
        dim: int = 150,
        length: int = 30,
        window: int = 5,
        negatives: int = 5,
        epochs: int = 1,
        lr: float = 0.025,
        repeatable: bool = True,
    ) -> None:
        if schedule not in SCHEDULES:
            raise unknown("schedule", schedule, SCHEDULES)
        if min(walks, sweeps, dim, length, window, negatives, epochs) < 1 or core < 0 or exponent <= 0:
            raise BadInput(
                "CoreWalk needs walks, sweeps, dim, length, window, negatives and epochs of 1 or more, "
                "core of 0 or more and exponent above 0."
            )
        self.walks, self.schedule, self.exponent, self.core, self.sweeps = (
            walks,
            schedule,
            exponent,
            core,
            sweeps,
        )
        self.dim, self.length, self.window, self.negatives = dim, length, window, negatives
        self.epochs, self.lr, self.repeatable = epochs, lr, repeatable

    def fit(self, source: Source | CSR, *, seed: int = 0) -> Self:
        """Learn a vector for every node of a graph.

        Args:
            source: The nodes of one graph, or whatever ``as_csr`` takes.
            seed: Of walks, learning and propagation.

        Raises:
            BadInput: If the graph has no k0-core.
        """
        graph = as_csr(source).without_loops()
        graph = graph if graph.symmetric else graph.undirected()
        self.cores_ = core_numbers(torch.from_numpy(graph.edge_index()), graph.nodes).numpy()
        inside = np.flatnonzero(self.cores_ >= self.core)
        if not len(inside):
            raise BadInput(f"The graph has no {self.core}-core; its deepest is {self.cores_.max()}.")
        starts = np.repeat(inside, self.walks_from(self.cores_)[inside])
        starts = np.random.default_rng([seed, 1]).permutation(starts)
        self.walked_ = len(starts)
        walked = graph
        if self.core > 0:
            walked, starts = _subgraph(graph, inside), np.searchsorted(inside, starts)
        vectors = skip_gram(
            Walker(walked), starts, self.length, dim=self.dim, window=self.window, negatives=self.negatives,
            epochs=self.epochs, lr=self.lr, seed=seed, repeatable=self.repeatable,
        )  # fmt: skip
        if self.core > 0:
            vectors = propagate(graph, inside, vectors, sweeps=self.sweeps, seed=seed)
        self.encoder = Table(torch.from_numpy(vectors))
        return self

    def walks_from(self, cores: np.ndarray) -> np.ndarray:
        """Return how many walks start at nodes of these core numbers, ``(N,)`` int64 (Sec. 3.1)."""
        most = max(1, int(cores.max()))
        share = cores / most
        if self.schedule == "power":
            share = share**self.exponent
        elif self.schedule == "sigmoid":
            share = 1 / (1 + np.exp(-10 * (cores - most / 2) / most))
        return np.maximum(1, np.floor(self.walks * share + 1e-9)).astype(np.int64)


def _subgraph(graph: CSR, nodes: np.ndarray) -> CSR:
    piece = induced(graph, nodes)
    weights = None if graph.weights is None else graph.weights[piece.edges]
    return CSR.from_edges(piece.edge_index, len(nodes), weights=weights)


def propagate(
    graph: CSR, known: np.ndarray, vectors: np.ndarray, *, sweeps: int = 20, seed: int = 0
) -> np.ndarray:
    """Spread vectors from some nodes to all that can be reached, wave by wave.

    A wave is every node without a vector that has a neighbour with one. Its vectors solve
    Z2 = D^-1 (A21 Z1 + A22 Z2): each is the mean of those of its neighbours that have one or are of
    the same wave, whose number is in D.

    Args:
        graph: Undirected; weights are ignored.
        known: ``(n,)`` nodes, each once.
        vectors: ``(n, D)``, row i of node ``known[i]``.
        sweeps: Jacobi sweeps a wave, from U(-1, 1).
        seed: Of these first values.

    Returns:
        ``(N, D)`` float32; zeros where no path leads to a known node.

    Source: arXiv:2009.02085, Sec. 3.2.
    """
    links = sparse.csr_array(
        (np.ones(graph.edges, np.float32), graph.indices, graph.indptr), shape=(graph.nodes, graph.nodes)
    )
    rng = np.random.default_rng([seed, 2])
    z = np.zeros((graph.nodes, vectors.shape[1]), np.float32)
    z[known] = vectors
    done = np.zeros(graph.nodes, bool)
    done[known] = True
    while True:
        wave = np.flatnonzero((links @ done.astype(np.float32) > 0) & ~done)
        if not len(wave):
            return z
        rows = links[wave]
        inner = rows[:, wave]  # A22
        outer = rows @ (z * done[:, None])  # A21 Z1
        degree = (rows @ done.astype(np.float32) + inner.sum(axis=1))[:, None]  # later waves do not count
        solution = rng.uniform(-1, 1, (len(wave), z.shape[1])).astype(np.float32)
        for _ in range(sweeps):
            solution = (outer + inner @ solution) / degree
        z[wave] = solution
        done[wave] = True
