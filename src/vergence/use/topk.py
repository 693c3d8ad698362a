"""Exact nearest neighbours (top k), a block at a time, on whatever device the vectors are."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.core.errors import unknown

Metric = Literal["cosine", "dot", "euclidean"]
METRICS: tuple[Metric, ...] = ("cosine", "dot", "euclidean")

BLOCK = 1 << 24  # scores held at a time: 64 MiB in float32
COLUMNS = 1 << 16  # rows of the bank a block
GROUP = 64  # rows of a large bank that are passed over at once
SLICE = 1 << 13  # rows of a large bank a block: their scores stay in the cache
QUERIES = 1024  # at most in turn of a large bank


def as_tensor(vectors: np.ndarray, *, move: bool = True) -> Tensor:
    """Return an array as a tensor that shares its memory; on a GPU if there is one and ``move``."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        tensor = torch.from_numpy(vectors)
    return tensor.cuda() if move and torch.cuda.is_available() else tensor


def topk(queries: Tensor, bank: Tensor, k: int, metric: str = "cosine") -> tuple[Tensor, Tensor]:
    """Find the ``k`` rows of ``bank`` nearest to each query, best first.

    Every score is computed, none approximated: both tensors are walked in blocks, so that memory
    stays bounded however many rows they have. Scores are accumulated in float32 even when the
    vectors are bfloat16. The work is done on the device of ``bank``.

    Args:
        queries: ``(Q, D)``, any floating type.
        bank: ``(N, D)``, any floating type.
        k: Neighbours a query, at least 1; more than N gives N.
        metric: ``"cosine"`` and ``"dot"`` score by similarity, ``"euclidean"`` by the *negative*
            distance: a higher score is always nearer.

    Returns:
        Scores ``(Q, k)`` float32 and rows of the bank ``(Q, k)`` int64.
    """
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if queries.ndim != 2 or bank.ndim != 2 or queries.shape[1] != bank.shape[1]:
        raise ValueError(
            "topk needs queries (Q, D) and a bank (N, D), "
            f"got {tuple(queries.shape)} and {tuple(bank.shape)}."
        )
    if k < 1:
        raise ValueError(f"topk needs k of at least 1, got {k}.")
    k = min(k, len(bank))
    if metric == "euclidean":
        return _nearest(queries.to(bank.device).float(), bank, k)
    return _best(queries, bank, k, metric, None)


def _best(
    queries: Tensor, bank: Tensor, k: int, metric: Metric, origin: Tensor | None
) -> tuple[Tensor, Tensor]:
    groups = len(bank) // GROUP
    if groups >= COLUMNS // GROUP and groups >= 8 * k:
        search, rows = topk_by_groups, min(QUERIES, max(1, BLOCK // groups))
    else:
        search, rows = _topk_rows, max(1, BLOCK // max(1, min(len(bank), COLUMNS)))
    parts = [part.to(bank.device) for part in queries.split(rows) if len(part)]
    blocks = [search(part, bank, k, metric, origin) for part in parts]
    if not blocks:
        empty = torch.empty(0, k, device=bank.device)
        return empty, empty.long()
    return torch.cat([score for score, _ in blocks]), torch.cat([row for _, row in blocks])


def _nearest(queries: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the nearest rows and the negative distances.

    Products round away what is small beside the distance from the origin: they are of vectors about the
    bank's mean, and find twice as many rows as are wanted, whose distances are computed by differences.
    """
    _, rows = _best(queries, bank, min(len(bank), 2 * k), "euclidean", bank.mean(0, dtype=torch.float32))
    few = max(1, BLOCK // max(1, rows.shape[1] * bank.shape[1]))
    away = [
        (bank[some].float() - part[:, None]).norm(dim=2)
        for part, some in zip(queries.split(few), rows.split(few), strict=True)
    ]
    score, place = torch.cat(away).neg_().topk(k, dim=1)
    return score, rows.gather(1, place)


def _topk_rows(
    queries: Tensor, bank: Tensor, k: int, metric: Metric, origin: Tensor | None
) -> tuple[Tensor, Tensor]:
    queries = _prepared(queries, metric, origin)
    best = queries.new_empty(len(queries), 0)
    rows = best.long()
    for start in range(0, len(bank), COLUMNS):
        score = _scores(queries, _prepared(bank[start : start + COLUMNS], metric, origin), metric)
        value, column = score.topk(min(k, score.shape[1]), dim=1)
        best, rows = torch.cat([best, value], 1), torch.cat([rows, column + start], 1)
        if best.shape[1] > k:
            best, keep = best.topk(k, dim=1)
            rows = rows.gather(1, keep)
    return best, rows


def topk_by_groups(
    queries: Tensor, bank: Tensor, k: int, metric: Metric, origin: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Do the same by the best score of each group of rows.

    The k best rows lie in the k groups whose best rows are the best ones, so that only those groups are
    looked at row by row, and no row but a group's best is ever sorted.
    """
    queries = _prepared(queries, metric, origin)
    whole = len(bank) // GROUP * GROUP
    best = queries.new_empty(len(queries), whole // GROUP)
    kept = queries.new_empty(len(queries) * min(SLICE, whole))  # fresh memory would take a third of the time
    for start in range(0, whole, SLICE):
        part = _prepared(bank[start : min(start + SLICE, whole)], metric, origin)
        score = kept[: len(queries) * len(part)].view(len(queries), len(part))
        torch.mm(queries, part.T, out=score)
        if metric == "euclidean":  # nearer where q·b - |b|²/2 is larger
            score -= part.square().sum(1) / 2
        first = start // GROUP
        torch.amax(score.unflatten(1, (-1, GROUP)), 2, out=best[:, first : first + len(part) // GROUP])
    rows = best.topk(k, dim=1).indices[:, :, None] * GROUP + torch.arange(GROUP, device=bank.device)
    rest = torch.arange(whole, len(bank), device=bank.device).expand(len(queries), -1)
    rows = torch.cat([rows.flatten(1), rest], 1)
    blocks = []
    few = max(1, BLOCK // (rows.shape[1] * bank.shape[1]))
    for some, columns in zip(queries.split(few), rows.split(few), strict=True):
        score = _scores(some[:, None], _prepared(bank[columns], metric, origin), metric)[:, 0]
        value, place = score.topk(k, dim=1)
        blocks.append((value, columns.gather(1, place)))
    return torch.cat([value for value, _ in blocks]), torch.cat([row for _, row in blocks])


def _prepared(vectors: Tensor, metric: Metric, origin: Tensor | None) -> Tensor:
    vectors = vectors.float()
    if origin is not None:
        vectors = vectors - origin
    return normalize(vectors, dim=-1) if metric == "cosine" else vectors


def _scores(queries: Tensor, bank: Tensor, metric: Metric) -> Tensor:
    if metric == "euclidean":
        return torch.cdist(queries, bank).neg_()
    return queries @ bank.mT
