"""Diffusion: a graph whose edges say how much of a walk from one node ends at another."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp
import torch
from numba import njit
from scipy.stats import poisson
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.methods.graph.transforms import Weighted, adjacency, edges_of, symmetric, with_loops

EXACT = 20_000  # nodes up to which the whole matrix is made: 1.6 GB
_SEEDS = 4096  # nodes pushed from at a time


def ppr(edge_index: Tensor, nodes: int, *, alpha: float = 0.2) -> Tensor:
    """Return personalised PageRank α (I - (1 - α) T)^-1, T = D^-1/2 (A + I) D^-1/2, dense ``(N, N)`` float32.

    Hassani & Khasahmadi, arXiv:2006.05582, Eq. 3. The graph is taken as undirected.

    Args:
        edge_index: ``(2, E)``.
        nodes: N, up to 20,000; see ``push`` for more.
        alpha: Share of walks that return to their start each step, in (0, 1].
    """
    _check_alpha(alpha)
    t = symmetric(_small(edge_index, nodes, "push"), loops=True).toarray()
    system = np.eye(nodes) - (1 - alpha) * t
    return torch.from_numpy(alpha * np.linalg.inv(system)).float()


def heat(edge_index: Tensor, nodes: int, *, t: float = 5.0) -> Tensor:
    """Return the heat kernel exp(t (A D^-1 - I)), dense ``(N, N)`` float32, columns of sum 1.

    Hassani & Khasahmadi, arXiv:2006.05582, Eq. 2: the exponential of the matrix, not of its entries as in the
    released code. It is summed as the mixture of walks of Poisson(t) steps, up to 1e-12 of the walks. The
    graph is taken as undirected; a node without edges keeps its heat.

    Args:
        edge_index: ``(2, E)``.
        nodes: N, up to 20,000.
        t: Time, above 0.
    """
    if not t > 0:
        raise BadInput(f"heat needs a time t above 0, got {t}.")
    a = _small(edge_index, nodes, "push with PPR")
    degree = np.asarray(a.sum(axis=0)).ravel()
    a = sp.csr_array(a + sp.diags_array((degree == 0).astype(np.float64)))
    step = sp.csr_array(a @ sp.diags_array(1 / np.maximum(degree, 1e-300) * (degree > 0) + (degree == 0)))
    power = np.eye(nodes)
    total = math.exp(-t) * power
    for k in range(1, int(poisson.isf(1e-12, t)) + 1):
        power = step @ power
        total += poisson.pmf(k, t) * power
    return torch.from_numpy(total).float()


def sparsify(
    matrix: Tensor, *, degree: float | None = None, top: int | None = None, eps: float | None = None
) -> Weighted:
    """Keep the large entries of a dense diffusion, as a graph.

    Args:
        matrix: S ``(N, N)``.
        degree: Keep the N * degree largest of the whole matrix, so that this is the mean degree (the
            diagonal counts), as MVGRL's threshold does.
        top: Keep the largest of every row.
        eps: Keep entries of at least this; just one of the three is given.
    """
    if sum(v is not None for v in (degree, top, eps)) != 1:
        raise BadInput("sparsify needs one of degree, top and eps.")
    n = len(matrix)
    if top is not None:
        largest = matrix.topk(min(top, n), dim=1)
        receiving = torch.arange(n, device=matrix.device)[:, None].expand_as(largest.indices)
        kept = largest.values > 0
        return torch.stack([largest.indices[kept], receiving[kept]]), largest.values[kept]
    if degree is not None:
        count = min(max(round(n * degree), 1), n * n)
        places = matrix.flatten().topk(count).indices.sort().values
        places = places[matrix.flatten()[places] > 0]
        rows, columns = places // n, places % n
    else:
        assert eps is not None
        rows, columns = (matrix >= eps).nonzero(as_tuple=True)
    return torch.stack([columns, rows]), matrix[rows, columns]


def push(
    edge_index: Tensor, nodes: int, *, alpha: float = 0.2, eps: float = 1e-4, top: int | None = None
) -> Weighted:
    """Return ``ppr`` up to an error, in time that does not grow with the graph for each node.

    Andersen, Chung & Lang 2006: from each node, walks are pushed on only where more than eps times the degree
    is waiting. An entry is too small by at most eps * sqrt(d_i d_j), d counting the loop that is added, and
    never too large.

    Args:
        edge_index: ``(2, E)``, taken as undirected.
        nodes: N.
        alpha: As in ``ppr``.
        eps: Above 0; a node costs at most 1 / (alpha * eps) edge visits.
        top: Keep so many entries a row, the largest; None keeps all that are found.
    """
    _check_alpha(alpha)
    if not eps > 0 or (top is not None and top < 1):
        raise BadInput(f"push needs eps above 0 and top of at least 1, got {eps} and {top}.")
    a = with_loops(adjacency(edge_index, nodes, undirected=True))
    parts = [
        _push(a.indptr, a.indices, first, min(first + _SEEDS, nodes), alpha, eps, top or nodes)
        for first in range(0, nodes, _SEEDS)
    ]
    counts, columns, values = (np.concatenate([part[i] for part in parts]) for i in range(3))
    pointers = np.concatenate([[0], np.cumsum(counts)])
    result = sp.csr_array((values, columns, pointers), shape=(nodes, nodes))
    result.sort_indices()
    return edges_of(result)


@njit(cache=False, nogil=True)
def _push(
    pointers: np.ndarray,
    neighbours: np.ndarray,
    first: int,
    last: int,
    alpha: float,
    eps: float,
    top: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = len(pointers) - 1
    kept = np.zeros(n)
    waiting = np.zeros(n)
    queued = np.zeros(n, dtype=np.bool_)
    queue = np.empty(n, dtype=np.int64)
    touched = np.empty(n, dtype=np.int64)
    met = np.zeros(n, dtype=np.bool_)
    counts = np.zeros(last - first, dtype=np.int64)
    columns = np.empty(1024, dtype=np.int64)
    values = np.empty(1024)
    used = 0
    for seed in range(first, last):
        waiting[seed] = 1.0
        queue[0] = seed
        queued[seed] = True
        touched[0] = seed
        met[seed] = True
        head, length, size = 0, 1, 1
        while length > 0:
            u = queue[head]
            head = (head + 1) % n
            length -= 1
            queued[u] = False
            degree = pointers[u + 1] - pointers[u]
            if waiting[u] <= eps * degree:
                continue
            kept[u] += alpha * waiting[u]
            share = (1 - alpha) * waiting[u] / degree
            waiting[u] = 0.0
            for i in range(pointers[u], pointers[u + 1]):
                v = neighbours[i]
                waiting[v] += share
                if not met[v]:
                    met[v] = True
                    touched[size] = v
                    size += 1
                if not queued[v] and waiting[v] > eps * (pointers[v + 1] - pointers[v]):
                    queue[(head + length) % n] = v
                    queued[v] = True
                    length += 1
        root = math.sqrt(pointers[seed + 1] - pointers[seed])
        count = 0
        scores = np.empty(size)
        for i in range(size):
            v = touched[i]
            if kept[v] > 0:
                # walks from the seed, turned into the symmetric matrix
                scores[count] = kept[v] * root / math.sqrt(pointers[v + 1] - pointers[v])
                touched[count] = v
                count += 1
            kept[v] = 0.0
            waiting[v] = 0.0
            met[v] = False
        take = min(top, count)
        if take < count:
            order = np.argsort(-scores[:count], kind="mergesort")[:take]
        else:
            order = np.arange(count)
        while used + take > len(columns):
            columns = np.concatenate((columns, np.empty_like(columns)))
            values = np.concatenate((values, np.empty_like(values)))
        for i in range(take):
            columns[used + i] = touched[order[i]]
            values[used + i] = scores[order[i]]
        used += take
        counts[seed - first] = take
    return counts, columns[:used], values[:used]


def _small(edge_index: Tensor, nodes: int, instead: str) -> sp.csr_array:
    if nodes > EXACT:
        raise BadInput(
            f"The whole diffusion of {nodes:,} nodes does not fit (up to {EXACT:,} do); use {instead}."
        )
    return adjacency(edge_index, nodes, undirected=True)


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha <= 1:
        raise BadInput(f"PageRank needs alpha in (0, 1], got {alpha}.")
