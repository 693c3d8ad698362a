"""Near-duplicates by one calibrated rule: pairs whose likeness chance does not explain in this very table.

A cosine says little by itself: a weak encoder gives strangers 0.95. So unit vectors are centred and spread
evenly over the 64 directions in which they vary most (``Whitening``), and each pair is measured by how many
strangers are expected as near (``use.neighbour_null``), seen from both of its rows; the larger number counts.
Where there are pictures, they are measured likewise: by their coarse waves and those of their mirror images,
and the vectors' nearest by the waves of crops too (``use.picture_waves``). A pair takes its best measure,
times how many measures there are (Bonferroni).
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import normalize

from vergence.core.errors import BadInput
from vergence.use.ivf import IVF
from vergence.use.neighbour_null import FEWEST, NEIGHBOURS, NeighbourNull, discovered
from vergence.use.pairs import Duplicates, stars
from vergence.use.picture_waves import CROPS, ODD, crops, whole
from vergence.use.score_normalisation import Whitening
from vergence.use.topk import as_tensor, topk

_DIRECTIONS = 64  # in more, a network trained on classes finds any two of one class remarkable
_RIDGE = 0.1  # share of the mean variance added to every direction's
_BLOCK = 512  # rows whose crops are compared at a time

Pairs = tuple[np.ndarray, np.ndarray]  # (m, 2) rows, the lower first, and (m,) log of the strangers expected


def calibrated_pairs(
    vectors: np.ndarray,
    pictures: np.ndarray | None = None,
    *,
    chance: float = 0.05,
    limit: int = 1_000_000,
    cells: bool = False,
) -> Duplicates:
    """Find the pairs that are nearer than strangers are.

    Time grows with n² D, with cells with n^1.5 D; memory with n D.

    Args:
        vectors: ``(n, D)`` float32; a row of NaN matches nothing.
        pictures: ``(n, 32, 32)`` float32, grey; NaN where there is none. None: vectors alone.
        chance: Share of the rows found that may be there by chance, in (0, 1).
        limit: Pairs that are listed, the surest.
        cells: Look for neighbours in neighbouring cells only.

    Raises:
        BadInput: If there are fewer than 17 rows, or most of them lie on top of each other.
    """
    present = np.flatnonzero(np.isfinite(vectors[:, 0]))
    unit = vectors if len(present) == len(vectors) else vectors[present]
    if len(unit) <= 2 * FEWEST:
        raise BadInput(
            f"{len(unit)} rows are too few to tell what is near by chance, which takes {2 * FEWEST + 1}: "
            "give a threshold."
        )
    unit = _whitened(unit)
    index = IVF.of(unit) if cells else None
    near, cosines = _neighbours(unit, unit, index)
    recall = None if index is None else index.recall
    null = NeighbourNull.fit(cosines)
    if not null.spread:
        raise BadInput(
            "Most rows have the same vector as their neighbours: nothing can be told apart. Has the encoder "
            "collapsed? Equal pictures are found by='pixels'."
        )
    tests = [_mutual(near, cosines, null, cosines.min(1))]
    if pictures is not None:
        tests += _by_pictures(pictures[present], near, cells)
    pairs, log_strangers = _best(tests, len(unit))
    best = np.full(len(unit), np.inf)
    for side in (0, 1):
        np.minimum.at(best, pairs[:, side], log_strangers)
    cut = discovered(best, chance)
    order = np.argsort(log_strangers, kind="stable")[: np.count_nonzero(log_strangers <= cut)]
    pairs, log_strangers = present[pairs[order]], log_strangers[order]
    expected = len(unit) / 2 * float(np.exp(log_strangers[-1])) if len(order) else 0.0
    length = np.linalg.norm(vectors[pairs], axis=2).prod(1)
    like = np.einsum("nd,nd->n", *vectors[pairs.T]) / np.maximum(length, 1e-12)
    listed = pairs[:limit]
    groups = stars(pairs, len(vectors))
    return Duplicates(listed, like[:limit].astype(np.float32), groups, len(pairs), recall, expected)


def _whitened(vectors: np.ndarray) -> np.ndarray:
    x = normalize(as_tensor(np.ascontiguousarray(vectors), move=False), dim=1)
    return Whitening.fit(x, _DIRECTIONS, ridge=_RIDGE)(x).numpy()


def _neighbours(queries: np.ndarray, bank: np.ndarray, index: IVF | None) -> tuple[np.ndarray, np.ndarray]:
    """Return each query's nearest rows of the bank but its own ``(n, K)``, and their cosines."""
    count = min(NEIGHBOURS, (len(bank) - 1) // 2)
    if index is not None:
        cosines, near = index.nearest(queries, count + 1)
        cosines = np.where(near < 0, -1, cosines)
    else:
        scores, rows = topk(as_tensor(queries), as_tensor(bank), count + 1, "dot")
        cosines, near = scores.cpu().numpy(), rows.cpu().numpy()
    others = np.argsort(near == np.arange(len(near))[:, None], axis=1, kind="stable")[:, :count]
    return np.take_along_axis(near, others, 1), np.take_along_axis(cosines, others, 1)


def _mutual(
    near: np.ndarray, cosines: np.ndarray, null: NeighbourNull, full: np.ndarray | None = None
) -> Pairs:
    """Return the pairs that are remarkable to both rows: listed by both, fewer than one stranger expected.

    The higher of both cosines counts, and the larger number of strangers.

    Args:
        near: ``(n, K)`` rows that each row lists; -1 for none.
        cosines: ``(n, K)``, with these.
        null: Of the same kind of cosines.
        full: ``(n,)``, the cosine of the last that a row's list had room for. Others as near, as there are
            where many rows are equal, count as listed.
    """
    first, place = np.nonzero(near >= 0)
    second, like = near[first, place], cosines[first, place]
    if full is not None:
        tied = like >= full[second] - 1e-6
        first, second, like = np.r_[first, second[tied]], np.r_[second, first[tied]], np.r_[like, like[tied]]
    ends = np.sort(np.stack([first, second], 1), axis=1)
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    ends, like = ends[order], like[order]
    twice = np.flatnonzero((ends[1:] == ends[:-1]).all(1))
    pairs, like = ends[twice], np.maximum(like[twice], like[twice + 1])
    value = np.maximum(*(null.log_strangers(like, pairs[:, side]) for side in (0, 1)))
    return pairs[value < 0], value[value < 0]


def _best(tests: list[Pairs], n: int) -> Pairs:
    """Return every pair once, by its best test times their number."""
    pairs = np.concatenate([ends for ends, _ in tests])
    value = np.concatenate([strangers for _, strangers in tests]) + np.log(len(tests))
    order = np.lexsort((value, pairs[:, 1], pairs[:, 0]))
    pairs, value = pairs[order], value[order]
    first = np.ones(len(pairs), np.bool_)
    first[1:] = (pairs[1:] != pairs[:-1]).any(1)
    return pairs[first], value[first]


def _by_pictures(pictures: np.ndarray, near: np.ndarray, cells: bool) -> list[Pairs]:
    """Return what whole pictures say of each other, and what crops say of the vectors' neighbours."""
    seen = np.flatnonzero(np.isfinite(pictures[:, 0, 0]))
    if len(seen) <= 2 * FEWEST:
        return []
    pictures = pictures[seen]
    waves = whole(pictures)
    index = IVF.of(waves) if cells else None
    rows, cosines = _merged(*(_neighbours(waves * turn, waves, index) for turn in (np.float32(1), ODD)))
    null = NeighbourNull.fit(cosines)
    if not null.spread:
        return []
    place = np.full(len(near) + 1, -1)  # of a row among those with a picture
    place[seen] = np.arange(len(seen))
    near = place[near[seen]]
    by_whole = _mutual(rows, cosines, null, cosines.min(1))
    pairs, value = _mutual(near, _of_crops(pictures, waves, near), null)
    by_crops = pairs, value + np.log(CROPS)
    return [(seen[pairs], value) for pairs, value in (by_whole, by_crops)]


def _merged(*lists: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest of several lists of rows and cosines ``(n, K)``, each row once."""
    rows, cosines = (np.concatenate(parts, 1) for parts in zip(*lists, strict=True))
    order = np.argsort(-cosines, axis=1, kind="stable")
    rows, cosines = (np.take_along_axis(part, order, 1) for part in (rows, cosines))
    by_row = np.argsort(rows, axis=1, kind="stable")
    again = np.zeros(rows.shape, np.bool_)
    ordered = np.take_along_axis(rows, by_row, 1)
    np.put_along_axis(again, by_row[:, 1:], ordered[:, 1:] == ordered[:, :-1], 1)
    first = np.argsort(again, axis=1, kind="stable")[:, : lists[0][0].shape[1]]
    return np.take_along_axis(rows, first, 1), np.take_along_axis(cosines, first, 1)


def _of_crops(pictures: np.ndarray, waves: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Return ``(n, K)`` cosines of the waves of each picture's most like part with its neighbours' waves."""
    cosines = np.empty(near.shape, np.float32)
    for start in range(0, len(pictures), _BLOCK):
        part = slice(start, start + _BLOCK)
        cut = torch.from_numpy(crops(pictures[part]))  # (b, C, 63)
        other = torch.from_numpy(waves[near[part]]).mT  # (b, 63, K)
        like = torch.maximum(cut @ other, (cut * torch.from_numpy(ODD)) @ other)
        cosines[part] = like.amax(1).numpy()
    return cosines
