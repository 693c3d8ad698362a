"""Meta-paths: which nodes of one type meet through nodes of others, and how alike they are."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.methods.graph.transforms import Weighted, edges_of


def relation(edge_index: Tensor, sources: int, targets: int) -> sp.csr_array:
    """Return the relation between two types of nodes as a matrix ``(sources, targets)`` of 0 and 1."""
    first, second = edge_index.cpu().numpy()
    if len(first) and (
        first.max() >= sources or second.max() >= targets or min(first.min(), second.min()) < 0
    ):
        raise BadInput(f"An edge of the relation ends outside of its {sources} and {targets} nodes.")
    matrix = sp.csr_array((np.ones(len(first)), (first, second)), shape=(sources, targets))
    matrix.data[:] = 1
    return matrix


def metapath(*relations: sp.csr_array) -> sp.csr_array:
    """Count the paths along relations, there and back: paper-author gives papers of a common author.

    Args:
        relations: Matrices of relations, each starting at the type where the last one ended. The way back is
            the way there reversed, so (paper-author, author-venue) is paper-author-venue-author-paper.

    Returns:
        ``(N, N)``: A_ij paths from i to j, A_ii those from i back to itself.
    """
    if not relations:
        raise BadInput("A meta-path needs one or more relations.")
    way = relations[0]
    for step in relations[1:]:
        if step.shape[0] != way.shape[1]:
            raise BadInput(f"A relation from {step.shape[0]} nodes cannot follow one to {way.shape[1]}.")
        way = way @ step
    return sp.csr_array(way @ way.T)


def pathsim(paths: sp.csr_array) -> sp.csr_array:
    """Return 2 A_ij / (A_ii + A_jj), in [0, 1] (Sun et al. 2011); the diagonal is left out."""
    coo = sp.coo_array(paths)
    apart = coo.row != coo.col
    row, column = coo.row[apart], coo.col[apart]
    own = paths.diagonal()
    return sp.csr_array((2 * coo.data[apart] / (own[row] + own[column]), (row, column)), shape=paths.shape)


def nearest(similar: sp.csr_array, top: int) -> Weighted:
    """Keep the ``top`` largest entries of every row as edges into its node; of equals, the lower columns."""
    coo = sp.coo_array(similar)
    order = np.lexsort((coo.col, -coo.data, coo.row))
    row = coo.row[order]
    starts = np.searchsorted(row, np.arange(similar.shape[0]))
    kept = order[np.arange(len(row)) - starts[row] < top]
    return edges_of(sp.csr_array((coo.data[kept], (coo.row[kept], coo.col[kept])), shape=similar.shape))
