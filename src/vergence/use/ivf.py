"""Inverted file (IVF): approximate search in memory that only looks at the cells around a query.

The rows are divided by k-means into about 4 √n cells (Sivic and Zisserman 2003). A query visits the cells
whose centres are nearest to it; their rows are compared in one byte a value, and the best of them again in
float32. How many cells are visited is measured, not guessed: as many as find the wanted share of the true
neighbours of a sample of the rows.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit

from vergence.data.loading import cores
from vergence.use.kmeans import closest, coarse_centres
from vergence.use.topk import as_tensor, topk

WANTED = 0.97  # share of the true ten nearest that a search is to find
_PROBES = (2, 4, 6, 8, 12, 16, 24, 32, 64, 128)  # numbers of cells that are tried
_SAMPLE = 200  # rows that are asked for their neighbours to measure it
_CHUNK = 256  # queries of one thread
_ROWS = 1 << 16  # rows turned into bytes at a time


def default_cells(n: int) -> int:
    """Return a number of cells for n rows: looking for the cells costs about what looking in them does."""
    return max(1, min(n // 8, round(4 * n**0.5)))


@dataclass(frozen=True, slots=True, eq=False)
class IVF:
    """Rows of unit length in the order of their cells.

    Args:
        unit: ``(n, D)`` float32, the rows as they came.
        centres: ``(C, D)`` float32.
        order: ``(n,)`` int64, the rows cell by cell.
        starts: ``(C + 1,)`` int64: cell c holds ``order[starts[c]:starts[c + 1]]``.
        codes: ``(n, D)`` int8, the rows cell by cell, in steps of ``step``.
        step: Above 0.
        probes: IVF that a query visits.
        recall: Share of the true ten nearest of ``_SAMPLE`` rows that this finds.
    """

    unit: np.ndarray
    centres: np.ndarray
    order: np.ndarray
    starts: np.ndarray
    codes: np.ndarray
    step: float
    probes: int = 1
    recall: float = float("nan")

    @classmethod
    def of(cls, unit: np.ndarray, *, wanted: float = WANTED, seed: int = 0) -> IVF:
        """Divide rows ``(n, D)`` of unit length into cells.

        Args:
            unit: float32, finite.
            wanted: Share of the true ten nearest to be found, in (0, 1]; fewer where 128 cells hold fewer.
            seed: Of k-means and of the rows that are asked.
        """
        centres = coarse_centres(unit, default_cells(len(unit)), seed=seed)
        home = closest(unit, centres)[:, 0]
        order = np.argsort(home, kind="stable")
        starts = np.r_[0, np.bincount(home, minlength=len(centres)).cumsum()]
        step = float(max(abs(float(unit.max())), abs(float(unit.min())), 1e-12)) / 127
        codes = np.empty(unit.shape, np.int8)
        for start in range(0, len(unit), _ROWS):
            part = slice(start, start + _ROWS)
            codes[part] = np.rint(unit[order[part]] / step)
        made = cls(unit, centres, order, starts, codes, step)

        queries = np.random.default_rng(seed).choice(len(unit), min(_SAMPLE, len(unit)), replace=False)
        truth = topk(as_tensor(unit[queries]), as_tensor(unit), min(11, len(unit)), "dot")[1].cpu().numpy()
        for probes in _PROBES:
            rows = made.nearest(unit[queries], truth.shape[1], probes=probes)[1]
            recall = neighbour_recall(truth, rows, queries)
            if recall >= wanted or probes >= len(centres):
                break
        return cls(unit, centres, order, starts, codes, step, min(probes, len(centres)), recall)

    def nearest(
        self, queries: np.ndarray, k: int, *, among: np.ndarray | None = None, probes: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return cosines ``(Q, k)`` float32 and rows ``(Q, k)`` int64, best first; NaN and -1 where fewer.

        Args:
            queries: ``(Q, D)`` of unit length.
            k: How many.
            among: ``(n,)`` bool, rows that may be found; None is all.
            probes: IVF to visit; None takes as many as were found to be enough.
        """
        probes = min(probes or self.probes, len(self.centres))
        queries = np.ascontiguousarray(queries, np.float32)
        allowed = np.ones(0, np.bool_) if among is None else among[self.order]
        visited = closest(queries, self.centres, probes)
        turn = np.argsort(visited[:, 0], kind="stable")  # neighbours in turn find their cells in the cache
        scores = np.full((len(queries), k), np.nan, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)

        def look(part: np.ndarray) -> None:
            few = 2 * k + 20  # among so many by bytes the k best are nearly always
            place = _scan(queries[part], visited[part], self.codes, self.starts, allowed, few)
            candidates = np.where(place >= 0, self.order[place], -1)
            cosine = np.einsum("qd,qkd->qk", queries[part], self.unit[candidates])
            cosine[candidates < 0] = -np.inf
            best = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
            candidates, cosine = (np.take_along_axis(a, best, 1) for a in (candidates, cosine))
            rows[part] = candidates
            scores[part] = np.where(candidates >= 0, cosine, np.nan)

        parts = [turn[start : start + _CHUNK] for start in range(0, len(turn), _CHUNK)]
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(look, parts))
        return scores, rows


def neighbour_recall(truth: np.ndarray, answer: np.ndarray, own: np.ndarray | None = None) -> float:
    """Return the share of true neighbours that were found.

    Args:
        truth: ``(Q, k)`` rows, -1 where fewer.
        answer: ``(Q, m)`` rows.
        own: ``(Q,)``, the rows that ask, where they are of the table themselves: they do not count.
    """
    wanted = truth >= 0
    if own is not None:
        wanted &= truth != own[:, None]
    hit = (truth[:, :, None] == answer[:, None]).any(2)
    return float(hit[wanted].mean()) if wanted.any() else float("nan")


@njit(cache=False, nogil=True, fastmath={"reassoc", "contract"})
def _scan(
    queries: np.ndarray,
    visited: np.ndarray,
    codes: np.ndarray,
    starts: np.ndarray,
    allowed: np.ndarray,
    k: int,
) -> np.ndarray:
    """Return ``(Q, k)``, the places of the rows with the largest products among the visited cells, or -1."""
    best = np.full(k, np.float32(0))
    places = np.full((len(queries), k), -1)
    for i in range(len(queries)):
        query, rows = queries[i], places[i]
        best[:] = np.float32(-np.inf)
        for cell in visited[i]:
            for place in range(starts[cell], starts[cell + 1]):
                if len(allowed) and not allowed[place]:
                    continue
                product = np.float32(0)
                for d in range(len(query)):
                    product += query[d] * np.float32(codes[place, d])
                if product > best[k - 1]:
                    at = k - 1
                    while at > 0 and best[at - 1] < product:
                        best[at], rows[at] = best[at - 1], rows[at - 1]
                        at -= 1
                    best[at], rows[at] = product, place
    return places
