"""Search in a store: exact, a block at a time, on whatever device the vectors are, or from an index."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core.errors import BadInput
from vergence.core.modality import known_modalities
from vergence.data import Source
from vergence.data import open as open_source
from vergence.data.image.formats import is_picture
from vergence.data.image.memory import one_image
from vergence.engine.embedding import embed
from vergence.engine.encoders import check_encoder_of, encoder_for, encoder_of
from vergence.engine.run import Run
from vergence.store.table import INDEX_FROM, Store
from vergence.use.ivf import IVF
from vergence.use.score_normalisation import background_level
from vergence.use.topk import as_tensor, topk

_RARE = 20  # a condition that fewer than one in so many rows fulfil is answered exactly
_MANY = 32  # queries from which the cells in memory answer, not the index on disk


@dataclass(frozen=True, slots=True)
class Hits:
    """What a search found, best first, one line a query.

    Args:
        rows: ``(Q, k)`` int64, rows of the store; -1 where fewer than k could be found.
        scores: ``(Q, k)`` float32; higher is nearer. NaN where nothing was found. With a background they
            may be negative: no nearer than what cannot match.
        ids: The same rows by name, Q lists.
        recall: Share of the true ten nearest that the index found when it was measured; None for an exact
            search.
        queries: Names of the samples that asked, such as the windows of a video, where they were read; None
            of vectors and of rows of the store.
    """

    rows: np.ndarray
    scores: np.ndarray
    ids: list[list[str]]
    recall: float | None = None
    queries: list[str] | None = None

    def __len__(self) -> int:
        return len(self.rows)


def search(
    store: Store | str | Path,
    query: Any,
    *,
    k: int = 10,
    where: str | None = None,
    column: str = "vector",
    metric: str = "cosine",
    exact: bool = True,
    encoder: nn.Module | Run | str | Path | None = None,
    background: Store | str | Path | None = None,
) -> Hits:
    """Find the samples of a store that are most like a query.

    Args:
        store: Opened, or where it lies.
        query: An id or row of the store (which is then not among its own neighbours), a vector
            ``(D,)``, several ``(Q, D)``; or what is not in the store: the path of an image, a PIL image, an
            array ``(H, W, 3)``, several of these, or whatever ``vergence.open`` understands, such as a data
            frame, a csv or a video, each sample of which asks.
        k: Neighbours a query, at least 1.
        where: SQL condition that the neighbours fulfil, such as ``"label IS NOT NULL"``.
        column: Which vectors to compare.
        metric: ``"cosine"`` (nothing is found for a vector of zeros), ``"dot"`` or ``"euclidean"`` (scored by
            the negative distance).
        exact: False answers by cosine from an index that is built at its first use: few queries from
            Lance's on disk (``Store.index``), many from cells in memory (``use.cells``). ``Hits.recall``
            says how much of the truth that finds. A store of fewer than 5,000 rows is searched exactly all
            the same.
        encoder: What made the vectors of ``column``, to look for what is not in the store: an encoder, a run
            or its folder; None takes the one that the store remembers.
        background: A store of samples from elsewhere, which cannot match: a query's mean cosine to its
            nearest three of them is taken off its scores, so that one threshold serves all queries
            (``use.background``). Cosine only; the order of the hits stays.

    Raises:
        BadInput: If the store, the id, the image or a column does not exist, the store's encoder cannot be
            had, widths differ, or a query is not finite.

    >>> search(store, "7", k=3).ids  # doctest: +SKIP
    [['1704', '1717', '1729']]
    """
    store = opened(store)
    if k < 1:
        raise BadInput(f"A search needs k of at least 1; got {k}.")
    width = store.width(column)
    own, vectors, names = _query(store, query, column, encoder)
    if vectors.shape[1] != width:
        raise BadInput(f"The query has {vectors.shape[1]} values, {column} of {store.path} has {width}.")
    if not np.isfinite(vectors).all():
        raise BadInput(
            f"The query has a value that is not finite, in row {(~np.isfinite(vectors)).any(1).argmax()}."
        )
    if background is not None and metric != "cosine":
        raise BadInput(f"A background is compared by cosine; leave it out for metric '{metric}'.")
    if exact or len(store) < INDEX_FROM:
        scores, rows, recall = *_exact(store, vectors, k + (own is not None), column, where, metric), None
    elif metric != "cosine":
        raise BadInput(f"An index compares by cosine; for metric '{metric}' search with exact=True.")
    else:
        scores, rows, recall = _approximate(store, vectors, k + (own is not None), column, where)
    if metric == "cosine":  # zeros have no direction: nothing is nearer to them than anything else
        zero = ~vectors.any(1)
        scores[zero], rows[zero] = np.nan, -1
    if own is not None:
        scores, rows = (part[rows != own][None, :k] for part in (scores, rows))
    if background is not None:
        level = background_level(torch.tensor(vectors), background_vectors(background, store, column))
        scores -= level.cpu().numpy()[:, None]
    named = iter(store.take(rows[rows >= 0], ["id"])["id"].to_pylist())
    return Hits(rows, scores, [[next(named) for row in line if row >= 0] for line in rows], recall, names)


def opened(store: Store | str | Path) -> Store:
    """Return a store that is given opened or by its path."""
    return store if isinstance(store, Store) else Store.open(store)


def background_vectors(background: Store | str | Path, store: Store, column: str) -> Tensor:
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
    return as_tensor(present_directions(ground, column)[1])


def _query(
    store: Store, query: Any, column: str, encoder: nn.Module | Run | str | Path | None
) -> tuple[int | None, np.ndarray, list[str] | None]:
    """Return the row that asks, if it is the store's, vectors ``(Q, D)``, and names of what was read."""
    if isinstance(query, list | tuple) and query and all(isinstance(part, int | float) for part in query):
        query = np.asarray(query, np.float32)
    if isinstance(query, np.ndarray | Tensor) and query.ndim in (1, 2):
        vectors = (
            query.detach().float().cpu().numpy()
            if isinstance(query, Tensor)
            else np.asarray(query, np.float32)
        )
        return None, vectors.reshape(-1, vectors.shape[-1]), None
    if not isinstance(query, str | int | np.integer) or _is_file(store, query):
        return None, *_embedded(store, query, column, encoder)
    row = store.find(query) if isinstance(query, str) else int(query)
    if not 0 <= row < len(store):
        raise BadInput(f"{store.path} has rows 0 to {len(store) - 1}; row {row} was asked for.")
    vector = store.take([row], [column])[column].to_pylist()[0]
    if vector is None:
        raise BadInput(f"Row {row} of {store.path} has no {column} to search with.")
    return row, np.asarray([vector], np.float32), None


def _is_file(store: Store, query: Any) -> bool:
    """Say whether a word is the path of a file, and not the id of a row."""
    return isinstance(query, str) and os.path.isfile(query) and query not in store.names


def _embedded(
    store: Store, query: Any, column: str, encoder: nn.Module | Run | str | Path | None
) -> tuple[np.ndarray, list[str]]:
    """Return the vectors of what is not in the store, and the names of its samples."""
    source = query_source(query)
    if encoder is None:
        net = encoder_of(store, column)
    else:
        net = encoder_for(encoder, source)
        check_encoder_of(store, net, column)
    result = embed(net, source)
    if not len(result.vectors):
        raise BadInput(f"The query {source.uri} holds nothing to search with.")
    return result.vectors, [source.names[row] for row in result.index]


def query_source(query: Any) -> Source:
    """Open what is not in a store: one image, or else whatever ``vergence.open`` understands."""
    if isinstance(query, str | Path):
        name = str(query).lower()
        suffixes = tuple(end for modality in known_modalities() for end in modality.suffixes)
        several = name.endswith(suffixes) and not is_picture(name)
        return open_source(str(query)) if several else one_image(query)
    one = isinstance(query, Image.Image) or getattr(query, "ndim", 0) == 3
    return one_image(query) if one else open_source(query)


def _exact(
    store: Store, queries: np.ndarray, k: int, column: str, where: str | None, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    bank = store.directions(column) if metric == "cosine" else store.vectors(column)
    rows = np.flatnonzero(~np.isnan(bank[:, 0]))  # a second model may have seen some samples only
    if where is not None:
        rows = np.intersect1d(rows, store.where(where))
    if len(rows) < len(bank):
        bank = bank[rows]
    asking = torch.tensor(queries)
    if metric == "cosine":  # the bank is at unit length already
        asking, metric = normalize(asking, dim=1), "dot"
    best, columns = topk(asking, as_tensor(bank), k, metric)
    scores = np.full((len(queries), k), np.nan, np.float32)
    nearest = np.full((len(queries), k), -1, np.int64)
    scores[:, : best.shape[1]], nearest[:, : best.shape[1]] = best.cpu().numpy(), rows[columns.cpu().numpy()]
    return scores, nearest


def _approximate(
    store: Store, queries: np.ndarray, k: int, column: str, where: str | None
) -> tuple[np.ndarray, np.ndarray, float | None]:
    chosen = None if where is None else store.where(where)
    rare = chosen is not None and len(chosen) * _RARE < len(store)  # an index would pass over nearly all
    if len(queries) < _MANY:
        if rare:
            return *store.nearest(queries, k, column=column, where=where, effort=0), None
        if not store.has_index(column):
            store.index(column)
        return *store.nearest(queries, k, column=column, where=where), store.recall(column)
    if rare:
        return *_exact(store, queries, k, column, where, "cosine"), None
    present, cells = store.once(f"{column} cells", lambda: _cells(store, column))
    among = None if chosen is None else np.isin(present, chosen)
    length = np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-12)
    scores, rows = cells.nearest(queries / length, k, among=among)
    return scores, np.where(rows >= 0, present[rows], -1), cells.recall


def present_directions(store: Store, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows ``(m,)`` that have such a vector, and these at unit length ``(m, D)``."""
    unit = store.directions(column)
    rows = np.flatnonzero(~np.isnan(unit[:, 0]))
    return rows, unit if len(rows) == len(unit) else unit[rows]


def centred_directions(store: Store, column: str) -> np.ndarray:
    """Return the directions ``(n, D)`` less their mean, at unit length again."""
    directions = store.directions(column)
    unit = directions - np.nanmean(directions, axis=0, dtype=np.float64).astype(np.float32)
    return unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)


def _cells(store: Store, column: str) -> tuple[np.ndarray, IVF]:
    rows, unit = present_directions(store, column)
    return rows, IVF.of(unit)
