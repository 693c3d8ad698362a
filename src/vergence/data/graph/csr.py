"""A graph as neighbour lists: what walks, samplers and peeling run on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from vergence.core.errors import BadInput


@dataclass(frozen=True, eq=False)
class CSR:
    """The out-neighbours of every node, each list ascending and without doubles.

    Build one with ``from_edges``, ``from_scipy`` or ``as_csr``; they check what they are given.

    Args:
        indptr: ``(N + 1,)`` int64; the neighbours of v are ``indices[indptr[v] : indptr[v + 1]]``.
        indices: ``(E,)`` int32. An undirected edge stands twice, a self-loop once.
        weights: ``(E,)`` float32, above 0; None where all edges count the same.
    """

    indptr: np.ndarray
    indices: np.ndarray
    weights: np.ndarray | None = None

    @classmethod
    def from_edges(
        cls,
        edge_index: Any,
        nodes: int | None = None,
        *,
        weights: Any = None,
        undirected: bool = False,
    ) -> CSR:
        """Sort ``edge_index`` into neighbour lists.

        Args:
            edge_index: ``(2, E)`` integers, sources above targets, as in PyG.
            nodes: N; None takes the largest index + 1.
            weights: ``(E,)`` or ``(E, 1)``, at least 0; edges of weight 0 are left out. Doubles are
                added up; without weights a double counts once.
            undirected: Add the reverse of every edge; where both were given, they count once, with
                the larger weight.

        Raises:
            BadInput: If there is no node, an edge ends outside of ``0..nodes-1``, or a weight is
                negative, not finite or missing.
        """
        edges = np.asarray(edge_index)
        if edges.ndim != 2 or edges.shape[0] != 2 or not (edges.size == 0 or edges.dtype.kind in "iu"):
            raise BadInput(f"A graph needs edge_index (2, E) of integers; got {edges.shape} {edges.dtype}.")
        n = int(nodes) if nodes is not None else int(edges.max(initial=-1)) + 1
        if n < 1:
            raise BadInput("The graph has no nodes; give it one or more.")
        if n > np.iinfo(np.int32).max:
            raise BadInput(f"A graph of {n:,} nodes is too large: up to {np.iinfo(np.int32).max:,} fit.")
        if edges.size and (edges.min() < 0 or edges.max() >= n):
            bad = int(edges[(edges < 0) | (edges >= n)][0])
            raise BadInput(f"An edge ends at node {bad}, but the graph has nodes 0 to {n - 1}.")
        values = np.ones(edges.shape[1], np.float32)
        if weights is not None:
            values = np.asarray(weights, dtype=np.float32).reshape(-1)
            if len(values) != edges.shape[1]:
                raise BadInput(f"Each edge needs one weight; got {len(values)} for {edges.shape[1]} edges.")
        matrix = sparse.csr_array((values, (edges[0], edges[1])), shape=(n, n))
        if undirected:
            matrix = matrix.maximum(matrix.T)
        graph = cls.from_scipy(matrix)
        return graph if weights is not None else cls(graph.indptr, graph.indices)

    @classmethod
    def from_scipy(cls, matrix: Any) -> CSR:
        """Read a square sparse matrix; entries of 0 are no edges, and all equal to 1 means unweighted.

        Raises:
            BadInput: If it is not square, has no rows, or holds a negative or non-finite value.
        """
        if matrix.shape[0] != matrix.shape[1] or matrix.shape[0] < 1:
            raise BadInput(f"An adjacency matrix is square and not empty; got {tuple(matrix.shape)}.")
        matrix = sparse.csr_array(matrix, copy=True)
        matrix.sum_duplicates()
        values = matrix.data.astype(np.float32)
        if not np.isfinite(values).all() or (values < 0).any():
            bad = values[~(np.isfinite(values) & (values >= 0))][0]
            raise BadInput(f"Walks need edge weights that are finite and at least 0; got {bad}.")
        if not values.all():
            matrix.eliminate_zeros()
            values = matrix.data.astype(np.float32)
        matrix.sort_indices()
        indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
        return cls(indptr, indices, None if (values == 1).all() else values)

    @property
    def nodes(self) -> int:
        """N."""
        return len(self.indptr) - 1

    @property
    def edges(self) -> int:
        """E: an undirected edge counts twice."""
        return len(self.indices)

    @cached_property
    def degrees(self) -> np.ndarray:
        """``(N,)`` int64, the number of neighbours of every node."""
        return np.diff(self.indptr)

    @cached_property
    def symmetric(self) -> bool:
        """Whether every edge can be walked both ways, at the same weight."""
        matrix = self.scipy()
        return bool((matrix != matrix.T).nnz == 0)

    def neighbours(self, node: int) -> np.ndarray:
        return self.indices[self.indptr[node] : self.indptr[node + 1]]

    def scipy(self) -> sparse.csr_array:
        """Return the adjacency matrix ``(N, N)`` float32."""
        values = np.ones(self.edges, np.float32) if self.weights is None else self.weights
        return sparse.csr_array((values, self.indices, self.indptr), shape=(self.nodes, self.nodes))

    def edge_index(self) -> np.ndarray:
        """Return ``(2, E)`` int64, as in PyG."""
        sources = np.repeat(np.arange(self.nodes), self.degrees)
        return np.stack([sources, self.indices.astype(np.int64)])

    def reversed(self) -> CSR:
        """Return the lists of in-neighbours."""
        turned = CSR.from_scipy(self.scipy().T)
        return turned if self.weights is not None else CSR(turned.indptr, turned.indices)

    def undirected(self) -> CSR:
        """Return the graph with every edge walkable both ways, at the larger of the two weights."""
        matrix = self.scipy()
        both = CSR.from_scipy(matrix.maximum(matrix.T))
        return both if self.weights is not None else CSR(both.indptr, both.indices)

    def without_loops(self) -> CSR:
        """Return the graph without edges from a node to itself."""
        keep = self.indices != np.repeat(np.arange(self.nodes), self.degrees)
        indptr = np.concatenate([[0], np.cumsum(keep)])[self.indptr]
        weights = None if self.weights is None else self.weights[keep]
        return CSR(indptr, self.indices[keep], weights)


def as_csr(graph: Any) -> CSR:
    """Return the neighbour lists of a graph, however it comes.

    Args:
        graph: A ``CSR``, a scipy sparse matrix, a PyG ``Data`` (``edge_weight`` is used where there
            is one), or a graph ``Source``, which holds such a ``Data`` as ``data``.

    Raises:
        BadInput: If it is none of these, or not a usable graph.
    """
    if isinstance(graph, CSR):
        return graph
    if sparse.issparse(graph):
        return CSR.from_scipy(graph)
    data = getattr(graph, "data", graph)
    if getattr(data, "edge_index", None) is None:
        raise BadInput(
            f"A graph is needed: a source of one graph, a PyG Data with edge_index, a scipy sparse matrix or "
            f"a CSR; got {type(graph).__name__}."
        )
    return CSR.from_edges(data.edge_index, data.num_nodes, weights=getattr(data, "edge_weight", None))
