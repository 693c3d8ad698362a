"""Matrices and features of a graph: normalised adjacency, nearest neighbours, spectral positions.

A graph is ``edge_index (2, E)`` and its number of nodes. A matrix S comes back as (edge_index, weight) in
PyG's direction: column (j, i) holds S_ij, the weight of what i takes from j, so that a PyG layer with these
edge weights and ``sparse(...) @ x`` both give S x.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.data.graph.csr import CSR
from vergence.nets.eigenvectors import GAP, canonical

Weighted: TypeAlias = tuple[Tensor, Tensor]
_DENSE = 512  # nodes up to which all eigenvectors are found at once
_COPIES = 16  # of eigenvalues, looked for among more nodes


def adjacency(
    edge_index: Tensor, nodes: int, weight: Tensor | None = None, *, undirected: bool = False
) -> sp.csr_array:
    """Return A ``(N, N)`` float64 with A_ij above 0 where an edge goes from j to i.

    Repeated edges count once, or add up where they have weights.

    Args:
        edge_index: ``(2, E)``.
        nodes: N.
        weight: ``(E,)``, at least 0.
        undirected: Add the reverse of every edge; of two weights the larger counts.

    Raises:
        BadInput: If there is no node, an edge ends outside of the graph, or a weight is negative or not
            finite.
    """
    ends = edge_index.detach().cpu().numpy() if isinstance(edge_index, Tensor) else np.asarray(edge_index)
    values = None if weight is None else weight.detach().cpu().numpy()
    graph = CSR.from_edges(ends[::-1], nodes, weights=values, undirected=undirected)
    return graph.scipy().astype(np.float64)


def edges_of(matrix: sp.sparray | sp.spmatrix) -> Weighted:
    """Return (edge_index ``(2, E)``, weight ``(E,)`` float32) of a sparse matrix, by receiving node."""
    m = sp.csr_array(matrix)
    m.sort_indices()
    rows = np.repeat(np.arange(m.shape[0]), np.diff(m.indptr))
    edge_index = np.stack([m.indices.astype(np.int64), rows.astype(np.int64)])
    return torch.from_numpy(edge_index), torch.from_numpy(m.data.astype(np.float32))


def sparse(edge_index: Tensor, weight: Tensor, nodes: int) -> Tensor:
    """Return S ``(N, N)`` as a sparse tensor whose product with x ``(N, F)`` has a gradient for x."""
    size = (nodes, nodes)
    return torch.sparse_coo_tensor(edge_index.flip(0), weight, size, check_invariants=True).coalesce()


def normalised_adjacency(
    edge_index: Tensor, nodes: int, weight: Tensor | None = None, *, loops: bool = True
) -> Weighted:
    """Return D^-1/2 (A + I) D^-1/2, D the row sums (GCN, arXiv:1609.02907, Eq. 2).

    Args:
        edge_index: ``(2, E)``.
        nodes: N.
        weight: ``(E,)``.
        loops: Give a loop of weight 1 to every node that has none; False takes A as it is, and a
            node without edges gets a row of zeros.
    """
    return edges_of(symmetric(adjacency(edge_index, nodes, weight), loops=loops))


def symmetric(a: sp.csr_array, *, loops: bool) -> sp.csr_array:
    """Scale a matrix to D^-1/2 A D^-1/2, after adding missing loops where ``loops``."""
    a = with_loops(a) if loops else a
    degree = np.asarray(a.sum(axis=1)).ravel()
    root = np.zeros_like(degree)
    np.divide(1.0, np.sqrt(degree), out=root, where=degree > 0)
    return sp.csr_array(sp.diags_array(root) @ a @ sp.diags_array(root))


def with_loops(a: sp.csr_array) -> sp.csr_array:
    """Add a loop of weight 1 to every node that has none."""
    return sp.csr_array(a + sp.diags_array((a.diagonal() == 0).astype(a.dtype)))


def spectral_vectors(edge_index: Tensor, nodes: int, k: int) -> tuple[Tensor, Tensor]:
    """Return the k lowest eigenpairs of the normalised Laplacian I - D^-1/2 A D^-1/2.

    They are the highest of the normalised adjacency. Signs, and bases of equal eigenvalues, mean nothing:
    here they are those of ``canonical``, and every vector lies on one component, of equal eigenvalues on the
    largest first. (Where one component of more than 512 nodes has an eigenvalue more than 16 times, its basis
    is the solver's.) Training should flip signs at random. Direction and self-loops are ignored; a node
    without edges is a component of its own, of eigenvalue 0 and of a vector that is 1 there.

    Args:
        edge_index: ``(2, E)``.
        nodes: N.
        k: At least 1; above N, vectors of zeros are added at eigenvalue 2, the highest there is.

    Returns:
        Eigenvalues ``(k,)`` ascending, in [0, 2], and vectors ``(N, k)``, unit columns.
    """
    if k < 1:
        raise BadInput(f"spectral_vectors needs k of at least 1, got {k}.")
    a = adjacency(edge_index, nodes, undirected=True)
    a.setdiag(0)
    a.eliminate_zeros()
    t = symmetric(a, loops=False)
    part = connected_components(a, directed=False)[1]
    members = np.split(np.argsort(part, kind="stable"), np.cumsum(np.bincount(part))[:-1])
    members.sort(key=lambda rows: (-len(rows), rows[0]))
    pairs = [_highest(t[rows][:, rows], k) if len(rows) > 1 else _ALONE for rows in members]
    owner = np.repeat(np.arange(len(members)), [len(values) for values, _ in pairs])
    every = np.concatenate([values for values, _ in pairs])
    order = np.argsort(-every, kind="stable")
    space = np.empty(len(every), np.int64)  # equal values of several components count as one
    space[order] = np.cumsum(np.diff(-every[order], prepend=-every[order[0]]) > GAP)
    order = np.lexsort((owner, space))[:k]
    values, vectors = np.full(k, 2.0), np.zeros((nodes, k))
    values[: len(order)] = (1 - every[order]).clip(0, 2)
    first = np.searchsorted(owner, owner[order])
    for column, (pair, own) in enumerate(zip(order, first, strict=True)):
        vectors[members[owner[pair]], column] = pairs[owner[pair]][1][:, pair - own]
    return torch.from_numpy(values).float(), torch.from_numpy(vectors).float()


_ALONE = np.ones(1), np.ones((1, 1))


def _highest(t: sp.csr_array, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k highest eigenpairs, or all where there are fewer, of a connected graph's matrix."""
    n = t.shape[0]
    if n <= _DENSE or k >= n // 2:
        values, vectors = np.linalg.eigh(t.toarray())
        values, vectors = values[::-1], vectors[:, ::-1]
    else:
        start = np.linspace(1, 2, n)
        values, vectors = eigsh(t, k=k, which="LA", v0=start)
        while True:  # it may have passed over copies of an eigenvalue: ask what is left beside the found
            order = np.argsort(-values, kind="stable")
            values, vectors = values[order], vectors[:, order]
            if len(values) == k + _COPIES:
                break
            low, high = (values + 2) * vectors, vectors.T
            rest = LinearOperator((n, n), lambda x, low=low, high=high: t @ x - low @ (high @ x), dtype=float)
            value, vector = eigsh(rest, k=1, which="LA", v0=start)
            if value[0] < values[k - 1] - GAP:
                break
            values, vectors = np.append(values, value), np.concatenate([vectors, vector], axis=1)
        whole = values > values[k - 1] - GAP
        values, vectors = values[whole], vectors[:, whole]
    k = min(k, n)
    return values[:k], canonical(values[None], vectors[None], k)[0]
