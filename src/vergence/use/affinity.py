"""Affinities of tokens: graphs of who is like whom, cuts and walks on them, and labels carried along them.

Graphs are sparse and made a block of rows at a time, so that memory grows with their edges, not with the
square of the tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.csgraph import dijkstra
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.nn.functional import normalize

from vergence.core.errors import BadInput, unknown
from vergence.nets.eigenvectors import GAP, canonical
from vergence.use.topk import topk

KINDS = ("cosine", "dot")
BLOCK = 1 << 24  # scores held at a time
GROUP = 32  # scores that are passed over at once
DENSE = 256  # nodes up to which all eigenvectors are computed


def affinities(queries: Tensor, keys: Tensor, *, kind: str = "cosine") -> Tensor:
    """Return how alike tokens are, ``(..., N, M)``.

    Args:
        queries: ``(..., N, D)``.
        keys: ``(..., M, D)``.
        kind: "cosine", or "dot" for raw products.
    """
    if kind not in KINDS:
        raise unknown("kind of affinity", kind, KINDS)
    if kind == "cosine":
        queries, keys = normalize(queries, dim=-1), normalize(keys, dim=-1)
    return queries @ keys.mT


def threshold_graph(tokens: Tensor, threshold: float, *, kind: str = "cosine") -> csr_array:
    """Join the tokens that are alike.

    Args:
        tokens: ``(N, D)``.
        threshold: Least affinity of an edge, above 0.
        kind: As in ``affinities``.

    Returns:
        Symmetric ``(N, N)`` float64, an edge's affinity as its weight, without loops.
    """
    if threshold <= 0:
        raise ValueError(f"threshold_graph needs a threshold above 0; got {threshold}.")
    rows, columns, weights = [], [], []
    step = max(1, BLOCK // max(1, len(tokens)))
    for start in range(0, len(tokens), step):
        score = affinities(tokens[start : start + step], tokens, kind=kind)
        row, column = (score >= threshold).nonzero(as_tuple=True)
        weights.append(score[row, column].double())
        rows.append(row + start)
        columns.append(column)
    return _symmetric(len(tokens), torch.cat(rows), torch.cat(columns), torch.cat(weights))


def knn_graph(tokens: Tensor, k: int, *, kind: str = "cosine") -> csr_array:
    """Join every token with the ``k`` most like it, and with those that it is one of the k of.

    Args:
        tokens: ``(N, D)``.
        k: At least 1.
        kind: As in ``affinities``.

    Returns:
        As ``threshold_graph``; a neighbour of affinity 0 or less is left out.
    """
    if kind not in KINDS:
        raise unknown("kind of affinity", kind, KINDS)
    score, column = topk(tokens, tokens, k + 1, kind)
    row = torch.arange(len(tokens), device=column.device)[:, None].expand_as(column)
    other = row != column
    other &= other.cumsum(1) <= k  # among equal tokens, a token may not be the first of its own list
    other &= score > 0
    return _symmetric(len(tokens), row[other], column[other], score[other].double())


def _symmetric(n: int, row: Tensor, column: Tensor, weight: Tensor) -> csr_array:
    i, j, w = (part.cpu().numpy() for part in (row, column, weight))
    apart = i != j
    graph = coo_array((w[apart], (i[apart], j[apart])), shape=(n, n)).tocsr()
    return csr_array(graph.maximum(graph.T))


def geodesic_distances(graph: csr_array, sources: np.ndarray) -> np.ndarray:
    """Return the lengths of the shortest ways along a graph of cosines, ``(S, N)``, in radians.

    An edge is as long as the angle between its tokens; where no way leads the length is infinite.

    Args:
        graph: Of ``threshold_graph`` or ``knn_graph``, of cosines.
        sources: ``(S,)`` tokens.
    """
    angles = csr_array(graph, copy=True)
    # the shortest-way solver takes a length of 0 for no edge
    angles.data = np.maximum(np.arccos(np.clip(angles.data, -1.0, 1.0)), 1e-12)
    return np.asarray(dijkstra(angles, directed=False, indices=np.asarray(sources)))


@dataclass(frozen=True)
class Cut:
    """Vectors that part a graph where it holds together least.

    Args:
        values: ``(k,)`` ascending, in [0, 2]: about what each part of a cut along that vector loses.
        vectors: ``(N, k)``; weighted by the nodes' degrees, each sums to 0 and has length 1.
    """

    values: np.ndarray
    vectors: np.ndarray


def normalised_cut(graph: csr_array, k: int = 1) -> Cut:
    """Solve (D - W) y = λ D y for the k smallest λ beside the constant vector.

    A vector's sign, and the vectors of one λ, are chosen by a rule that neither the solver nor the machine
    reaches (``nets.eigenvectors``). A node without an edge is a part of its own.

    Args:
        graph: ``(N, N)`` symmetric, weights of 0 or more.
        k: 1 to N - 1.

    Raises:
        BadInput: If a weight is below 0 or not finite, or k is out of range.

    Source: Shi and Malik 2000.
    """
    n = graph.shape[0]
    if not 1 <= k < n:
        raise BadInput(f"A graph of {n} nodes has 1 to {n - 1} cuts; got k={k}.")
    if not (np.isfinite(graph.data) & (graph.data >= 0)).all():
        raise BadInput("normalised_cut needs affinities of 0 or more; cut the negative ones off first.")
    degree = np.asarray(graph.sum(1)).ravel()
    alone = degree == 0
    degree = degree + alone
    root = np.sqrt(degree)
    whole = csr_array(
        diags_array(1 / root) @ (graph + diags_array(alone.astype(float))) @ diags_array(1 / root)
    )
    constant = root / np.linalg.norm(root)
    values, vectors = _largest(whole, constant, k)
    vectors = canonical(1 - values[None], vectors[None], k)[0]
    return Cut(1 - values[:k], vectors / root[:, None])


def _largest(whole: csr_array, constant: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues, falling, and eigenvectors beside a known one of 1; whole eigenspaces, k or more."""
    n = len(constant)
    wanted = k + 2
    while n > DENSE and wanted < n // 2:
        # the known one is sent from 1 to -1, where it is out of the way
        rest = LinearOperator(
            (n, n), matvec=lambda x: whole @ x - 2 * constant * (constant @ x), dtype=np.float64
        )
        start = np.random.default_rng(0).standard_normal(n)
        values, vectors = eigsh(rest, wanted, which="LA", v0=start, ncv=min(n, max(2 * wanted + 1, 40)))
        values, vectors = values[::-1], vectors[:, ::-1]
        ends = np.flatnonzero(-np.diff(values) > GAP) + 1  # where an eigenspace is known to end
        if len(ends) and ends[-1] >= k:
            return values[: ends[-1]], vectors[:, : ends[-1]]
        wanted *= 2
    dense = whole.toarray() - 2 * np.outer(constant, constant)
    values, vectors = np.linalg.eigh((dense + dense.T) / 2)
    order = np.argsort(-values, kind="stable")[: n - 1]
    return values[order], vectors[:, order]


def cut_value(graph: csr_array, part: np.ndarray) -> float:
    """Return what a cut loses: the weight across it, as a share of each part's degrees, added up.

    Args:
        graph: ``(N, N)`` symmetric.
        part: ``(N,)`` bool; neither empty nor everything.
    """
    degree = np.asarray(graph.sum(1)).ravel()
    inside = part.astype(float)
    across = inside @ (graph @ (1 - inside))
    return float(across / degree[part].sum() + across / degree[~part].sum())


def split(graph: csr_array, vector: np.ndarray) -> np.ndarray:
    """Return the nodes ``(N,)`` bool above the threshold of a vector whose cut loses least.

    All N - 1 thresholds are looked at, in time that grows with the edges.

    Args:
        graph: ``(N, N)`` symmetric.
        vector: ``(N,)``, such as the first of ``normalised_cut``.
    """
    order = np.argsort(-vector, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    edges = graph.tocoo()
    low, high = np.minimum(rank[edges.row], rank[edges.col]), np.maximum(rank[edges.row], rank[edges.col])
    change = np.bincount(low, edges.data, len(order)) - np.bincount(high, edges.data, len(order))
    across = change.cumsum()[:-1] / 2  # every edge stands twice
    degree = np.asarray(graph.sum(1)).ravel()[order].cumsum()
    first, second = degree[:-1], degree[-1] - degree[:-1]
    possible = (np.diff(vector[order]) < 0) & (first > 0) & (second > 0)
    if not possible.any():
        raise BadInput("split needs a vector with two values or more, and edges on both sides of it.")
    loss = np.where(
        possible, across / np.maximum(first, 1e-300) + across / np.maximum(second, 1e-300), np.inf
    )
    return rank <= int(loss.argmin())


def transitions(queries: Tensor, keys: Tensor, *, temperature: float) -> Tensor:
    """Return the chances ``(..., N, M)`` of a step from token to token: a softmax over rows of cosines."""
    if temperature <= 0:
        raise ValueError(f"transitions needs a temperature above 0; got {temperature}.")
    return (affinities(queries, keys) / temperature).softmax(-1)


def walk(frames: Tensor, *, temperature: float) -> Tensor:
    """Return where walks through frames end: ``(B, N, N)`` chances from tokens of the first to the last.

    Args:
        frames: ``(B, T, N, D)``, T of 2 or more; for a way back put the frames once more, turned around.
        temperature: Of each step's softmax.

    Source: Jabri, Owens, Efros 2020, arXiv:2006.14613, Eq. 3.
    """
    steps = transitions(frames[:, :-1], frames[:, 1:], temperature=temperature)
    reached = steps[:, 0]
    for t in range(1, steps.shape[1]):
        reached = reached @ steps[:, t]
    return reached


def propagate(
    queries: Tensor,
    references: Tensor,
    labels: Tensor,
    *,
    k: int = 10,
    radius: int | None = 12,
    temperature: float = 0.07,
    block: int = BLOCK,
) -> Tensor:
    """Carry labels from reference maps to a map: each cell mixes the labels of the cells most like it.

    Of all references' cells no further than ``radius`` from a cell's own place, the ``k`` of highest cosine
    count, over all references together, by the softmax of their cosines: weights add up to 1.

    Args:
        queries: ``(B, D, h, w)``.
        references: ``(B, M, D, h, w)``.
        labels: ``(B, M, C, h, w)``.
        k: At least 1.
        radius: In cells, down and across; None looks everywhere.
        temperature: Divides the cosines; above 0.
        block: Cosines held at a time; cells are taken in rows as it allows.

    Returns:
        ``(B, C, h, w)``.
    """
    b, m, d, h, w = references.shape
    if queries.shape != (b, d, h, w) or labels.shape[:2] != (b, m) or labels.shape[3:] != (h, w):
        raise ValueError(
            "propagate needs queries (B, D, h, w), references (B, M, D, h, w) and labels (B, M, C, h, w); "
            f"got {tuple(queries.shape)}, {tuple(references.shape)} and {tuple(labels.shape)}."
        )
    if k < 1 or temperature <= 0 or (radius is not None and radius < 0):
        raise ValueError(
            f"propagate needs k >= 1, temperature > 0 and radius >= 0; got {k}, {temperature} and {radius}."
        )
    queries, references = normalize(queries, dim=1), normalize(references, dim=2)
    reach = h if radius is None else radius
    rows = _rows(block // max(1, b * m * w * w), reach, h)
    column = torch.arange(w, device=queries.device)
    mixed = []
    for top in range(0, h, rows):
        end = min(h, top + rows)
        low, high = max(0, top - reach), min(h, end + reach)
        near = references[:, :, :, low:high].permute(0, 1, 3, 4, 2).reshape(b, -1, d)
        score = queries[:, :, top:end].flatten(2).mT @ near.mT  # (B, rows * w, M * n * w)
        if radius is not None:
            row = torch.arange(top, end, device=queries.device)[:, None] - torch.arange(low, high).to(column)
            far_down, far_across = row.abs() > radius, (column[:, None] - column).abs() > radius
            far = far_down[:, None, :, None] | far_across[:, None]  # (rows, w, n, w)
            far = far.reshape(1, -1, 1, (high - low) * w).expand(b, -1, m, -1)
            score = score.unflatten(2, (m, -1)).masked_fill(far, -torch.inf).flatten(2)
        best, place = _largest_scores(score, min(k, score.shape[2]))
        weight = (best / temperature).softmax(2)
        known = labels[:, :, :, low:high].permute(0, 2, 1, 3, 4).flatten(2)  # (B, C, M * n * w)
        taken = known.gather(2, place.flatten(1)[:, None].expand(-1, known.shape[1], -1))
        mixed.append((taken.unflatten(2, place.shape[1:]) * weight[:, None]).sum(3))
    return torch.cat(mixed, 2).unflatten(2, (h, w))


def _rows(pairs: int, reach: int, h: int) -> int:
    """Return how many rows of cells are taken at once: rows * (rows + 2 reach) <= pairs, at most reach / 2.

    More rows would look at more cells in vain, which are out of the reach of most.
    """
    if reach >= h:
        return max(1, min(h, pairs // h))
    fitting = int((reach**2 + pairs) ** 0.5) - reach
    return max(1, min(h, fitting, reach // 2))


def _largest_scores(score: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest of each row ``(B, N, M)`` and their columns.

    They lie in the k groups of columns whose largest are the largest, so that only those are sorted.
    """
    groups = score.shape[2] // GROUP
    if groups < 4 * k:
        best, place = score.topk(k, dim=2)
        return best, place
    whole = groups * GROUP
    first = score[:, :, :whole].unflatten(2, (groups, GROUP)).amax(3).topk(k, dim=2).indices
    inside = torch.arange(GROUP, device=score.device)
    columns = (first[..., None] * GROUP + inside).flatten(2)
    rest = torch.arange(whole, score.shape[2], device=score.device).expand(*score.shape[:2], -1)
    columns = torch.cat([columns, rest], 2)
    best, place = score.gather(2, columns).topk(k, dim=2)
    return best, columns.gather(2, place)
