"""Eigenvectors that do not depend on the solver: a fixed sign, and a fixed basis of equal eigenvalues.

What a solver returns beyond the eigenspaces is rounding: the sign of every vector, and any rotation among
vectors of one eigenvalue. Symmetric graphs have many of those (a cycle, a clique, two leaves of one node), so
a graph's positions would depend on the machine and on who shares its batch.
"""

from __future__ import annotations

import numpy as np

GAP = 1e-8  # eigenvalues that differ by less are one; the vectors of others are known to about 1e-7
TIE = 1e-6  # lengths and entries that differ by less are equal


def canonical(values: np.ndarray, vectors: np.ndarray, k: int) -> np.ndarray:
    """Return the first k eigenvectors of each matrix, chosen by a rule that rounding does not reach.

    The first vector of an eigenspace is the projection of a node on it, scaled: of the node whose projection
    is longest. The next is chosen likewise in what is left of the space, and so on; each is positive at its
    own node. Of equally long projections, that of the node with the highest score is taken, and of equal
    scores that of the lowest number. A score is a weighted sum of entries of a function of the matrix that
    gives each eigenvalue a number of its own: the node's on the diagonal, and those in the columns of the
    nodes chosen so far. So another numbering of the nodes reorders the rows and changes nothing else, up to
    nodes that these entries do not tell apart.

    Args:
        values: ``(B, m)`` float64, ascending or descending, of size about 1.
        vectors: ``(B, n, m)`` float64, orthonormal columns: whole eigenspaces.
        k: Vectors returned, 1 to m.

    Returns:
        ``(B, n, k)`` float64.
    """
    v, every, column = np.array(vectors, np.float64), np.arange(len(vectors)), np.arange(values.shape[1])
    space = np.cumsum(np.abs(np.diff(values, prepend=values[:, :1])) > GAP, axis=1)  # (B, m)
    weight, number = np.random.default_rng(0).uniform(1, 2, (2, len(column)))
    number = number[space]
    score = np.einsum("bnm,bnm,bm->bn", v, v, number)
    for j in range(k):
        left = v * ((space == space[:, j, None]) & (column >= j))[:, None]  # (B, n, m)
        length = np.square(left).sum(2)
        longest = length >= length.max(1, keepdims=True) * (1 - TIE)
        best = np.where(longest, score, -np.inf)
        pivot = (best >= best.max(1, keepdims=True) - TIE).argmax(1)
        score += weight[j] * (v @ (v[every, pivot] * number)[:, :, None])[:, :, 0]
        # a reflection of what is left that makes the pivot's row (its length, 0, ..., 0)
        u = left[every, pivot]
        sign = np.where(u[:, j] < 0, -1.0, 1.0)
        u[:, j] += sign * np.linalg.norm(u, axis=1)
        v -= (v @ u[:, :, None]) * (2 * u / np.square(u).sum(1, keepdims=True))[:, None]
        v[:, :, j] *= -sign[:, None]
    return v[:, :, :k]
