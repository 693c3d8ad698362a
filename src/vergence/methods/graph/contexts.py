"""Meta-path contexts: through whom two nodes meet, whom to keep, and a masked twin of it all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from vergence.core import BadInput
from vergence.methods.graph.metapaths import metapath, nearest, pathsim, relation
from vergence.methods.graph.transforms import normalised_adjacency, sparse

DENSE = 0.05  # share of entries above which a product with the full matrix is the faster one


@dataclass(frozen=True)
class Context:
    """One meta-path of a typed graph.

    Attributes:
        path: Its name, such as "pap".
        via: Type of the nodes in the middle.
        mean: ``(N, n)`` sparse, takes the mean over each node's neighbours of that type; 0 of none.
        edge_index: ``(2, E)``, the kept neighbours, into the node that keeps them; no loops.
        spread: ``(N, N)``, their normalised adjacency with loops, sparse or full.
    """

    path: str
    via: str
    mean: Tensor
    edge_index: Tensor
    spread: Tensor


@dataclass(frozen=True)
class Twin:
    """Masked features ``(N, F)``, None of nodes without, and a masked ``spread`` for each meta-path."""

    x: Tensor | None
    spread: list[Tensor]


def contexts_of(graph: Any, target: str, paths: Sequence[str], neighbours: Sequence[int]) -> list[Context]:
    """Prepare the meta-paths of a ``HeteroData`` in HeCo's layout.

    Paths of three types are counted from the list of neighbours; of longer ones the given graph is taken as
    counts of 0 and 1.

    Raises:
        BadInput: If the list of the neighbours in the middle of a path is missing.
    """
    n, contexts = int(graph[target].num_nodes), []
    for path, many in zip(paths, neighbours, strict=True):
        via = path[len(path) // 2]
        if (target, "to", via) not in graph.edge_types:
            raise BadInput(f"Meta-path {path} needs the list of neighbours nei_{via}.npy, which is missing.")
        pairs = graph[target, "to", via].edge_index
        met = relation(pairs, n, int(graph[via].num_nodes))
        if len(path) == 3:
            counts = metapath(met)
        else:
            ends = graph[target, path, target].edge_index
            counts = sp.csr_array(relation(ends, n, n).maximum(sp.eye_array(n, format="csr")))
        edge_index = nearest(pathsim(counts), many)[0].to(pairs.device)
        contexts.append(Context(path, via, _mean(met).to(pairs.device), edge_index, spread(edge_index, n)))
    return contexts


def spread(edge_index: Tensor, n: int) -> Tensor:
    """Return D^-1/2 (A + I) D^-1/2, full where it is not sparse enough to gain from it."""
    matrix = sparse(*normalised_adjacency(edge_index, n, loops=True), n)
    return matrix.to_dense() if edge_index.shape[1] > DENSE * n * n else matrix


def twin_of(
    x: Tensor | None, contexts: Sequence[Context], features: float, edges: Sequence[float], *, seed: int
) -> Twin:
    """Set a share of the features' entries to 0 and drop a share of each meta-path's edges."""
    rng = np.random.default_rng(seed)

    def keep(count: int, share: float) -> Tensor:
        kept = np.ones(count, bool)
        kept[rng.permutation(count)[: int(share * count)]] = False
        return torch.from_numpy(kept)

    masked = None if x is None else x.clone()
    if masked is not None:
        cells = masked.nonzero()
        row, column = cells[~keep(len(cells), features).to(cells.device)].T
        masked[row, column] = 0
    parts = []
    for context, share in zip(contexts, edges, strict=True):
        kept = keep(context.edge_index.shape[1], share).to(context.edge_index.device)
        parts.append(spread(context.edge_index[:, kept], context.spread.shape[0]))
    return Twin(masked, parts)


def _mean(met: sp.csr_array) -> Tensor:
    many = np.maximum(np.asarray(met.sum(axis=1)).ravel(), 1)
    coo = sp.coo_array(met)
    places = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
    values = torch.from_numpy((coo.data / many[coo.row]).astype(np.float32))
    return torch.sparse_coo_tensor(places, values, met.shape, check_invariants=False).coalesce()
