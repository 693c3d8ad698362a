"""Near-duplicate pairs of vectors: all of them, or in a large table those of neighbouring cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.engine.devices import best_precision
from vergence.use.kmeans import closest, coarse_centres
from vergence.use.topk import as_tensor

SIDE = 2048  # rows and columns of a block of pairs
_ROUNDING = 0.008  # bound on what bfloat16 (8 bits) can change of a cosine: 3 x 2^-9, and some
HELD = 1 << 22  # pairs held before the best of them are chosen
_WANTED = 0.98  # share of the true pairs that cells are to find
_PROBES = 8  # cells that a row is compared in, at most
_SAMPLE = 1_000  # rows whose pairs are all computed to measure that share


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Samples that are nearly the same.

    Args:
        pairs: ``(m, 2)`` int64 rows, the lower first; the surest pairs first.
        similarity: ``(m,)`` float32, their cosines, less the background's level where one was given.
        groups: The rows of each group, the largest group first. Every row is in a pair with the first one
            of its group: nothing is grouped because of a third row in between.
        total: Pairs that were found; more than m when only the surest are listed.
        recall: Share of the true pairs that were found, as measured on some rows; None where every pair was
            computed.
        chance: Pairs expected among these by chance; None where the rule does not know it.
    """

    pairs: np.ndarray
    similarity: np.ndarray
    groups: list[np.ndarray]
    total: int
    recall: float | None = None
    chance: float | None = None

    @property
    def surplus(self) -> np.ndarray:
        """Rows that would go if only the first of each group stayed; look at them before they do."""
        return np.sort(np.concatenate([g[1:] for g in self.groups])) if self.groups else np.empty(0, np.int64)


def near_pairs(
    vectors: Tensor, *, threshold: float, limit: int = 1_000_000, level: Tensor | None = None
) -> Duplicates:
    """Do the work of ``duplicates`` on vectors ``(n, D)``, on their device; rows of NaN match nothing.

    Args:
        vectors: Of any length.
        threshold: Least score of a pair.
        limit: Pairs that are listed and grouped, the most similar ones.
        level: ``(n,)``; a pair's score is its cosine less the mean of both levels. None: the cosine.
    """
    unit = normalize(vectors.float(), dim=1)
    rough = unit.to(best_precision(unit.device))
    half = None if level is None else level.to(unit) / 2
    kept, total = _Best(limit), 0
    for top in range(0, len(unit), SIDE):
        for left in range(top, len(unit), SIDE):
            first, second, score = _block(unit, rough, half, top, left, threshold)
            if len(first):
                total += len(first)
                kept.add(first, second, score)
    pairs, similarity = kept.sorted()
    return Duplicates(pairs, similarity, stars(pairs, len(unit)), total)


def near_pairs_ivf(
    unit: np.ndarray,
    *,
    threshold: float,
    limit: int = 1_000_000,
    level: np.ndarray | None = None,
    seed: int = 0,
) -> Duplicates:
    """Do nearly the same on many rows: only those in the same or in neighbouring cells are compared.

    k-means divides the rows into about 4 √n cells. A row is compared with all of its own cell and of the
    cells whose centres are next nearest to it: as many as hold 98 % of the true pairs of a sample of the
    rows, which are computed one and all, 8 at most. So the time grows with n^1.5 instead of n². A copy of
    the rows in bfloat16 is held beside them.

    Args:
        unit: ``(n, D)`` float32 of length 1, finite.
        threshold: Least score of a pair.
        limit: Pairs that are listed and grouped, the most similar ones.
        level: As in ``near_pairs``.
        seed: Of k-means and of the sample.
    """
    n = len(unit)
    half = None if level is None else torch.from_numpy(level).float() / 2
    centres = coarse_centres(unit, max(1, min(n // 8, round(4 * n**0.5))), seed=seed)
    near = closest(unit, centres, min(_PROBES, len(centres)))  # (n, P)
    recall, probes = _enough(unit, half, near, threshold, seed)
    near = near[:, :probes]

    order = np.argsort(near[:, 0], kind="stable")
    near = near[order]
    starts = np.r_[0, np.bincount(near[:, 0], minlength=len(centres)).cumsum()]
    guests = np.argsort(near[:, 1:].ravel(), kind="stable")  # (n (P - 1),) by the cell they visit
    doors = np.r_[0, np.bincount(near[:, 1:].ravel(), minlength=len(centres)).cumsum()]
    guests = (guests // max(1, probes - 1)).astype(np.int32)
    place = torch.from_numpy(order)
    device = as_tensor(unit[:1]).device
    rough = _rough(unit, order, device)
    half = None if half is None else half[place].to(device)

    kept, total = _Best(limit), 0
    for cell in range(len(centres)):
        hosts = slice(int(starts[cell]), int(starts[cell + 1]))
        if hosts.start == hosts.stop:
            continue
        others = torch.from_numpy(guests[doors[cell] : doors[cell + 1]]).long().to(device)
        for first, second in _meetings(rough, half, hosts, others, threshold):
            a, b = first.cpu().numpy(), second.cpu().numpy()
            once = (near[a, 0] <= near[b, 0]) | (near[b] != near[a, :1]).all(1)  # else b meets a at home
            a, b = a[once], b[once]
            score = np.einsum("nd,nd->n", unit[order[a]], unit[order[b]]).clip(max=1)
            if half is not None:
                score -= (half[a] + half[b]).cpu().numpy()
            sure = score >= threshold - 1e-6
            a, b = np.sort(np.stack([order[a[sure]], order[b[sure]]]), axis=0)
            if len(a):
                total += len(a)
                kept.add(a, b, score[sure])
    pairs, similarity = kept.sorted()
    return Duplicates(pairs, similarity, stars(pairs, n), total, recall)


def _enough(
    unit: np.ndarray, half: Tensor | None, near: np.ndarray, threshold: float, seed: int
) -> tuple[float, int]:
    """Return the share of true pairs that cells find, and how many cells a row needs for it.

    A pair meets where one row's home is among the cells of the other.
    """
    queries_rows = np.sort(
        np.random.default_rng(seed).choice(len(unit), min(_SAMPLE, len(unit)), replace=False)
    )
    blocks = []
    queries = as_tensor(unit[queries_rows])
    for start in range(0, len(unit), 1 << 16):
        part = as_tensor(unit[start : start + (1 << 16)])
        score = queries @ part.T
        if half is not None:
            score -= half[queries_rows][:, None].to(score) + half[start : start + len(part)].to(score)
        blocks.append((score >= threshold).nonzero().cpu().numpy() + (0, start))
    a, b = np.concatenate(blocks).T
    a = queries_rows[a]
    a, b = a[a != b], b[a != b]
    if not len(a):
        return float("nan"), min(2, near.shape[1])
    meets = (near[a] == near[b, :1]) | (near[b] == near[a, :1])  # (pairs, P): with so many cells each
    shares = meets.cumsum(1).astype(bool).mean(0)
    probes = int(np.argmax(shares >= _WANTED)) + 1 if (shares >= _WANTED).any() else len(shares)
    return float(shares[probes - 1]), probes


def _rough(unit: np.ndarray, order: np.ndarray, device: torch.device) -> Tensor:
    """Return rows in another order, in the precision in which the hardware is fast."""
    rough = torch.empty(unit.shape, dtype=best_precision(device), device=device)
    for start in range(0, len(unit), 1 << 16):
        part = slice(start, start + (1 << 16))
        rough[part] = torch.from_numpy(unit[order[part]]).to(rough)
    return rough


def _meetings(
    rough: Tensor, half: Tensor | None, hosts: slice, guests: Tensor, threshold: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the places of rows that may be near enough: guests with hosts, and hosts among themselves."""
    floor = threshold - 1e-6 - (_ROUNDING if rough.dtype != torch.float32 else 0)
    home = rough[hosts]
    own = torch.arange(hosts.start, hosts.stop, device=rough.device)
    for who in (own, guests):
        for some in who.split(SIDE):
            like = rough[some] @ home.T
            if half is not None:
                like = like - (half[some, None] + half[hosts])
            first, second = (like >= floor).nonzero().unbind(1)
            first, second = some[first], second + hosts.start
            if who is own:
                first, second = first[first < second], second[first < second]
            if len(first):
                yield first, second


def _block(
    unit: Tensor, rough: Tensor, half: Tensor | None, top: int, left: int, threshold: float
) -> tuple[np.ndarray, ...]:
    """Return the pairs of one block: rows, rows, scores."""
    floor = threshold - 1e-6  # a vector's cosine with itself may come out just below 1
    upper, lower = slice(top, top + SIDE), slice(left, left + SIDE)
    like = rough[upper] @ rough[lower].T
    if half is not None:
        like = like - (half[upper, None] + half[lower])
    near = like >= floor - (_ROUNDING if rough.dtype != unit.dtype else 0)
    if top == left:
        near = near.triu(1)
    first, second = near.nonzero().unbind(1)
    if len(first) > SIDE * 16:  # so many that the whole block is done faster
        score = (unit[upper] @ unit[lower].T)[first, second].clamp(max=1)
    else:
        score = (unit[upper][first] * unit[lower][second]).sum(1).clamp(max=1)
    if half is not None:
        score = score - half[upper][first] - half[lower][second]
    sure = score >= floor
    pairs = first[sure] + top, second[sure] + left, score[sure]
    return tuple(part.cpu().numpy() for part in pairs)


class _Best:
    """The ``limit`` most similar pairs of those added so far."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.pairs, self.cosine = np.empty((0, 2), np.int64), np.empty(0, np.float32)
        self.waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self.held = 0

    def add(self, first: np.ndarray, second: np.ndarray, cosine: np.ndarray) -> None:
        self.waiting.append((np.stack([first, second], 1), cosine))
        self.held += len(cosine)
        if self.held > HELD:
            self._settle()

    def _settle(self) -> None:
        pairs, cosine = zip((self.pairs, self.cosine), *self.waiting, strict=True)
        self.pairs, self.cosine = np.concatenate(pairs), np.concatenate(cosine)
        self.waiting, self.held = [], 0
        best = np.lexsort((self.pairs[:, 1], self.pairs[:, 0], -self.cosine))[: self.limit]
        self.pairs, self.cosine = self.pairs[best], self.cosine[best]

    def sorted(self) -> tuple[np.ndarray, np.ndarray]:
        self._settle()
        return self.pairs, self.cosine


def stars(pairs: np.ndarray, n: int) -> list[np.ndarray]:
    """Divide the rows of pairs ``(m, 2)`` into groups, each around a row that is in a pair with all others.

    Rows that are in most pairs become centres first. Nothing is grouped only because something third is
    like both, so that no chain of small steps makes a group of what is unlike.

    Returns:
        The rows of each group, its centre first; the largest group first.
    """
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    degree = np.bincount(both[:, 0], minlength=n)
    start = np.concatenate([[0], np.cumsum(degree)])
    free, groups = np.full(n, True), []
    for centre in np.argsort(-degree, kind="stable")[: np.count_nonzero(degree)].tolist():
        if free[centre]:
            near = both[start[centre] : start[centre + 1], 1]
            near = near[free[near]]
            free[near], free[centre] = False, False
            if len(near):
                groups.append(np.concatenate([[centre], near]))
    return sorted(groups, key=lambda group: (-len(group), group[0]))
