"""Search and near-duplicates in a store: exact, a block at a time, on whatever device the vectors are."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core.errors import BadInput
from vergence.data.folder import FolderShelf
from vergence.data.image_source import ImageSource
from vergence.data.store import INDEX_FROM, Store
from vergence.engine.devices import best_precision
from vergence.engine.embed import embed
from vergence.engine.run import Run
from vergence.use.background import background_level
from vergence.use.topk import topk

_SIDE = 2048  # rows and columns of a block of pairs
_ROUNDING = 0.008  # bound on what bfloat16 (8 bits) can change of a cosine: 3 x 2^-9, and some
_EDGES = 1 << 22  # pairs held before they are merged into groups


@dataclass(frozen=True, slots=True)
class Hits:
    """What a search found, best first, one line a query.

    Args:
        rows: ``(Q, k)`` int64, rows of the store; -1 where fewer than k could be found.
        scores: ``(Q, k)`` float32; higher is nearer. NaN where nothing was found. With a background they
            may be negative: no nearer than what cannot match.
        ids: The same rows by name, Q lists.
    """

    rows: np.ndarray
    scores: np.ndarray
    ids: list[list[str]]

    def __len__(self) -> int:
        return len(self.rows)


def search(
    store: Store | str | Path,
    query: str | int | Path | np.ndarray | Tensor,
    *,
    k: int = 10,
    where: str | None = None,
    column: str = "vector",
    metric: str = "cosine",
    exact: bool = True,
    encoder: nn.Module | Run | None = None,
    background: Store | str | Path | None = None,
) -> Hits:
    """Find the samples of a store that are most like a query.

    Args:
        store: Opened, or where it lies.
        query: An id or row of the store (which is then not among its own neighbours), a vector
            ``(D,)``, several ``(Q, D)``, or the path of an image when ``encoder`` is given.
        k: Neighbours a query, at least 1.
        where: SQL condition that the neighbours fulfil, such as ``"label IS NOT NULL"``.
        column: Which vectors to compare.
        metric: ``"cosine"``, ``"dot"`` or ``"euclidean"`` (scored by the negative distance).
        exact: False answers from an index by cosine, built at its first use; a store of fewer than
            5,000 rows is searched exactly all the same.
        encoder: What made the vectors of ``column``, to look for an image that is not in the store.
        background: A store of samples from elsewhere, which cannot match: a query's mean cosine to its
            nearest three of them is taken off its scores, so that one threshold serves all queries
            (``use.background``). Cosine only; the order of the hits stays.

    Raises:
        BadInput: If the store, the id, the image or a column does not exist, or widths differ.

    >>> search(store, "7", k=3).ids  # doctest: +SKIP
    [['1704', '1717', '1729']]
    """
    store = opened(store)
    if k < 1:
        raise BadInput(f"A search needs k of at least 1; got {k}.")
    width = store.width(column)
    own, vectors = _query(store, query, column, encoder)
    if vectors.shape[1] != width:
        raise BadInput(f"The query has {vectors.shape[1]} values, {column} of {store.path} has {width}.")
    if background is not None and metric != "cosine":
        raise BadInput(f"A background is compared by cosine; leave it out for metric '{metric}'.")
    if exact or len(store) < INDEX_FROM:
        found = _exact(store, vectors, k + (own is not None), column, where, metric)
    else:
        if metric != "cosine":
            raise BadInput(f"An index compares by cosine; for metric '{metric}' search with exact=True.")
        if not store.has_index(column):
            store.index(column)
        found = [store.nearest(v, k + (own is not None), column=column, where=where) for v in vectors]
    rows = np.full((len(vectors), k), -1, np.int64)
    scores = np.full((len(vectors), k), np.nan, np.float32)
    for line, (score, row) in enumerate(found):
        others = row != own if own is not None else np.full(len(row), True)
        row, score = row[others][:k], score[others][:k]
        rows[line, : len(row)], scores[line, : len(row)] = row, score
    if background is not None:
        level = background_level(torch.tensor(vectors), _ground(background, store, column))
        scores -= level.cpu().numpy()[:, None]
    named = iter(store.take(rows[rows >= 0], ["id"])["id"].to_pylist())
    return Hits(rows, scores, [[next(named) for row in line if row >= 0] for line in rows])


def opened(store: Store | str | Path) -> Store:
    """Return a store that is given opened or by its path."""
    return store if isinstance(store, Store) else Store.open(store)


def _ground(background: Store | str | Path, store: Store, column: str) -> Tensor:
    """Return the vectors ``(M, D)`` of a background.

    Raises:
        BadInput: If it is the store itself, or its vectors are of another width.
    """
    ground = opened(background)
    if Path(ground.path).resolve() == Path(store.path).resolve():
        raise BadInput("A background must come from elsewhere: what is in the store could match.")
    if ground.width(column) != store.width(column):
        raise BadInput(
            f"{column} of the background {ground.path} has {ground.width(column)} values, of {store.path} "
            f"{store.width(column)}: embed both with one encoder."
        )
    vectors = ground.directions(column)
    return _tensor(vectors[~np.isnan(vectors[:, 0])])


def _query(
    store: Store, query: str | int | Path | np.ndarray | Tensor, column: str, encoder: nn.Module | Run | None
) -> tuple[int | None, np.ndarray]:
    """Return the row that asks, if it is one of the store's, and its vectors ``(Q, D)``."""
    if isinstance(query, np.ndarray | Tensor):
        vectors = (
            query.detach().float().cpu().numpy()
            if isinstance(query, Tensor)
            else np.asarray(query, np.float32)
        )
        return None, vectors.reshape(-1, vectors.shape[-1])
    if isinstance(query, Path) or (isinstance(query, str) and encoder and os.path.isfile(query)):
        if encoder is None:
            raise BadInput(f"To look for the image {query} give the encoder of the store too (encoder=...).")
        path = Path(query)
        source = ImageSource(FolderShelf(path.parent, [path.name]), str(path.parent))
        return None, embed(encoder.encoder if isinstance(encoder, Run) else encoder, source).vectors
    row = store.find(query) if isinstance(query, str) else query
    if not 0 <= row < len(store):
        raise BadInput(f"{store.path} has rows 0 to {len(store) - 1}; row {row} was asked for.")
    return row, store.vectors(column)[row : row + 1]


def _exact(
    store: Store, queries: np.ndarray, k: int, column: str, where: str | None, metric: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    bank = store.directions(column) if metric == "cosine" else store.vectors(column)
    rows = np.flatnonzero(~np.isnan(bank[:, 0]))  # a second model may have seen some samples only
    if where is not None:
        rows = np.intersect1d(rows, store.where(where))
    if len(rows) < len(bank):
        bank = bank[rows]
    asking = torch.tensor(queries)
    if metric == "cosine":  # the bank is at unit length already
        asking, metric = normalize(asking, dim=1), "dot"
    scores, found = topk(asking, _tensor(bank), k, metric)
    return list(zip(scores.cpu().numpy(), rows[found.cpu().numpy()], strict=True))


def _tensor(vectors: np.ndarray) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        tensor = torch.from_numpy(vectors)
    return tensor.cuda() if torch.cuda.is_available() else tensor


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Samples that are nearly the same.

    Args:
        pairs: ``(m, 2)`` int64 rows, the lower first; the most similar pairs first.
        similarity: ``(m,)`` float32, their cosines, less the background's level where one was given.
        groups: The rows of each group, ascending; the largest group first. Whoever is linked to a
            member belongs to the group, so that its ends may be less alike than the threshold.
        total: Pairs above the threshold; more than m when only the most similar were kept.
    """

    pairs: np.ndarray
    similarity: np.ndarray
    groups: list[np.ndarray]
    total: int

    @property
    def surplus(self) -> np.ndarray:
        """Rows to leave out so that one of each group, its first, stays."""
        return np.sort(np.concatenate([g[1:] for g in self.groups])) if self.groups else np.empty(0, np.int64)


def duplicates(
    store: Store | str | Path,
    *,
    threshold: float | None = None,
    column: str = "vector",
    limit: int = 100_000,
    background: Store | str | Path | None = None,
) -> Duplicates:
    """Find all pairs of samples whose vectors' cosine is at least ``threshold``.

    Nothing is approximated, and memory does not grow with the number of comparisons: blocks of
    pairs are sifted in bfloat16 where the hardware is fast at it, with a margin for its rounding,
    and what is left is computed in float32.

    Args:
        store: Opened, or where it lies.
        threshold: In (0, 1]; None takes 0.95, with a background 0.35.
        column: Which vectors to compare.
        limit: Pairs that are listed; the groups know them all.
        background: A store of samples from elsewhere, which cannot match: a pair's level, the mean of both
            samples' as in ``search``, is taken off its cosine before it is compared with the threshold.
            What is like everything is then no copy of anything.

    Raises:
        BadInput: If the threshold is out of range, or the store or column does not exist.
    """
    store = opened(store)
    if threshold is None:
        threshold = 0.95 if background is None else 0.35
    if not 0 < threshold <= 1:
        raise BadInput(f"threshold is a cosine in (0, 1]; got {threshold}.")
    vectors = _tensor(store.vectors(column))
    level = None if background is None else background_level(vectors, _ground(background, store, column))
    return near_pairs(vectors, threshold=threshold, limit=limit, level=level)


def near_pairs(
    vectors: Tensor, *, threshold: float, limit: int = 100_000, level: Tensor | None = None
) -> Duplicates:
    """Do the work of ``duplicates`` on vectors ``(n, D)``, on their device; rows of NaN match nothing.

    Args:
        vectors: Of any length.
        threshold: Least score of a pair.
        limit: Pairs that are listed.
        level: ``(n,)``; a pair's score is its cosine less the mean of both levels. None: the cosine.
    """
    unit = normalize(vectors.float(), dim=1)
    rough = unit.to(best_precision(unit.device))
    half = None if level is None else level.to(unit) / 2
    kept, edges, total = _Best(limit), _Groups(len(unit)), 0
    for top in range(0, len(unit), _SIDE):
        for left in range(top, len(unit), _SIDE):
            first, second, score = _block(unit, rough, half, top, left, threshold)
            if len(first):
                total += len(first)
                kept.add(first, second, score)
                edges.add(first, second)
    pairs, similarity = kept.sorted()
    return Duplicates(pairs, similarity, edges.members(), total)


def _block(
    unit: Tensor, rough: Tensor, half: Tensor | None, top: int, left: int, threshold: float
) -> tuple[np.ndarray, ...]:
    """Return the pairs of one block: rows, rows, scores."""
    floor = threshold - 1e-6  # a vector's cosine with itself may come out just below 1
    upper, lower = slice(top, top + _SIDE), slice(left, left + _SIDE)
    like = rough[upper] @ rough[lower].T
    if half is not None:
        like = like - (half[upper, None] + half[lower])
    near = like >= floor - (_ROUNDING if rough.dtype != unit.dtype else 0)
    if top == left:
        near = near.triu(1)
    first, second = near.nonzero().unbind(1)
    if len(first) > _SIDE * 16:  # so many that the whole block is done faster
        score = (unit[upper] @ unit[lower].T)[first, second].clamp(max=1)
    else:
        score = (unit[upper][first] * unit[lower][second]).sum(1).clamp(max=1)
    if half is not None:
        score = score - half[upper][first] - half[lower][second]
    sure = score >= floor
    found = first[sure] + top, second[sure] + left, score[sure]
    return tuple(part.cpu().numpy() for part in found)


class _Best:
    """The ``limit`` most similar pairs of those added so far."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.pairs, self.cosine = np.empty((0, 2), np.int64), np.empty(0, np.float32)
        self.waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, first: np.ndarray, second: np.ndarray, cosine: np.ndarray) -> None:
        self.waiting.append((np.stack([first, second], 1), cosine))
        if sum(len(c) for _, c in self.waiting) > _EDGES:
            self._settle()

    def _settle(self) -> None:
        pairs, cosine = zip((self.pairs, self.cosine), *self.waiting, strict=True)
        self.pairs, self.cosine, self.waiting = np.concatenate(pairs), np.concatenate(cosine), []
        best = np.lexsort((self.pairs[:, 1], self.pairs[:, 0], -self.cosine))[: self.limit]
        self.pairs, self.cosine = self.pairs[best], self.cosine[best]

    def sorted(self) -> tuple[np.ndarray, np.ndarray]:
        self._settle()
        return self.pairs, self.cosine


class _Groups:
    """Connected components of a graph on n rows whose edges come in portions."""

    def __init__(self, n: int) -> None:
        self.of = np.arange(n)
        self.waiting: list[np.ndarray] = []

    def add(self, first: np.ndarray, second: np.ndarray) -> None:
        self.waiting.append(np.stack([first, second]))
        if sum(part.shape[1] for part in self.waiting) > _EDGES:
            self._settle()

    def _settle(self) -> None:
        n = len(self.of)
        edges = np.concatenate([np.stack([np.arange(n), self.of]), *self.waiting], axis=1)
        graph = coo_array((np.ones(edges.shape[1], np.int8), tuple(edges)), shape=(n, n))
        component = connected_components(graph, directed=False)[1]
        _, representative = np.unique(component, return_index=True)
        self.of, self.waiting = representative[component], []

    def members(self) -> list[np.ndarray]:
        self._settle()
        order = np.argsort(self.of, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(self.of[order])) + 1)
        return sorted((part for part in parts if len(part) > 1), key=lambda part: (-len(part), part[0]))
