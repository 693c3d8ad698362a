"""Exact k-means on millions of rows: a block of distances at a time, on whatever device there is."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vergence.core.errors import BadInput

_BLOCK = {"cpu": 1 << 18, "cuda": 1 << 26}  # distances held at a time; on a CPU they fit its cache
_DRAWN = 256  # starting points drawn at a time


@dataclass(frozen=True, slots=True)
class KMeans:
    """Rows and the centres they are nearest to.

    Args:
        of: ``(n,)`` int64, each row's centre.
        centres: ``(k, D)`` float32, the means of their rows when the last step began.
        distance: ``(n,)`` float32, squared, from each row to its centre.
        settled: Whether the last step changed no row's centre.
    """

    of: np.ndarray
    centres: np.ndarray
    distance: np.ndarray
    settled: bool

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def sizes(self) -> np.ndarray:
        """``(k,)`` rows of each centre."""
        return np.bincount(self.of, minlength=len(self))


def kmeans(vectors: np.ndarray, k: int, *, iterations: int = 50, seed: int = 0) -> KMeans:
    """Place ``k`` centres so that rows are near to them: k-means++, then Lloyd's steps on all rows.

    Every distance is computed. Memory is that of the vectors, a block of distances and the centres
    in float64. A centre that loses all its rows goes to the row furthest from its own centre.

    Args:
        vectors: ``(n, D)`` float32, finite.
        k: 1 to n.
        iterations: Steps at most, at least 1; it ends sooner when no row changes its centre.
        seed: Of the starting points.
    """
    if not 1 <= k <= len(vectors):
        raise BadInput(f"k-means on {len(vectors)} rows takes 1 to {len(vectors)} centres; got {k}.")
    if iterations < 1:
        raise BadInput(f"k-means needs at least 1 step; got {iterations}.")
    x = _tensor(vectors)
    squares = (x * x).sum(1)
    centres = _spread(x, squares, k, np.random.default_rng(seed))
    of, distance = _nearest(x, squares, centres)
    sums = x.new_zeros(k, x.shape[1], dtype=torch.float64)  # float32 loses rows among millions
    _add(sums, x, of, slice(None))
    settled = False
    for _ in range(iterations - 1):
        centres = _means(x, of, distance, sums)
        before = of
        of, distance = _nearest(x, squares, centres)
        moved = (before != of).nonzero()[:, 0]
        if settled := not len(moved):
            break
        _add(sums, x, before, moved, -1)
        _add(sums, x, of, moved)
    return KMeans(of.cpu().numpy(), centres.cpu().numpy(), distance.cpu().numpy(), settled)


def assign(vectors: np.ndarray, centres: np.ndarray) -> KMeans:
    """Give every row ``(n, D)`` the nearest of ``centres (k, D)``, which stay where they are."""
    x = _tensor(vectors)
    of, distance = _nearest(x, (x * x).sum(1), _tensor(centres))
    return KMeans(of.cpu().numpy(), centres, distance.cpu().numpy(), True)


def _tensor(vectors: np.ndarray) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        tensor = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))
    return tensor.cuda() if torch.cuda.is_available() else tensor


def _rows(x: Tensor, k: int) -> int:
    return max(64, _BLOCK[x.device.type] // k)


def _nearest(x: Tensor, squares: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's nearest centre and the squared distance: |x|² - 2 (x·c - |c|²/2)."""
    half = -(centres * centres).sum(1) / 2
    of, best = x.new_empty(len(x), dtype=torch.int64), x.new_empty(len(x))
    for start in range(0, len(x), rows := _rows(x, len(centres))):
        part = slice(start, start + rows)
        torch.max(torch.addmm(half, x[part], centres.T), 1, out=(best[part], of[part]))
    return of, (squares - 2 * best).clamp_(min=0)


def _add(sums: Tensor, x: Tensor, of: Tensor, rows: Tensor | slice, sign: int = 1) -> None:
    """Add rows to the sums of their centres, or take them away."""
    x, of = x[rows], of[rows]
    for start in range(0, len(x), block := _rows(x, x.shape[1])):
        sums.index_add_(0, of[start : start + block], x[start : start + block].double(), alpha=sign)


def _means(x: Tensor, of: Tensor, distance: Tensor, sums: Tensor) -> Tensor:
    counts = of.bincount(minlength=len(sums))
    centres = (sums / counts.clamp(min=1)[:, None]).float()
    if len(empty := (counts == 0).nonzero()[:, 0]):
        centres[empty] = x[distance.topk(len(empty)).indices]
    return centres


def _spread(x: Tensor, squares: Tensor, k: int, random: np.random.Generator) -> Tensor:
    """Draw ``k`` rows one after the other, each with odds of its squared distance to those before.

    That is k-means++ (Arthur and Vassilvitskii 2007). It is drawn in blocks without approximation:
    a row that came with the odds of an earlier state is accepted with the share of its distance that
    the rows accepted since have left it.
    """
    chosen = [int(random.integers(len(x)))]
    _, away = _nearest(x, squares, x[chosen])
    while len(chosen) < k:
        sums = away.double().cumsum(0).cpu().numpy()
        if sums[-1] == 0:  # fewer distinct rows than centres
            rest = np.setdiff1d(np.arange(len(x)), chosen)
            chosen += random.choice(rest, k - len(chosen), replace=False).tolist()
            break
        count = min(_DRAWN, len(chosen), k - len(chosen))  # more would often be in each other's way
        drawn = np.searchsorted(sums, random.random(count) * sums[-1], side="right")
        drawn = np.minimum(drawn, len(x) - 1)
        stale = away[drawn].cpu().numpy()
        apart = torch.cdist(x[drawn], x[drawn]).square().cpu().numpy()
        left, accepted = stale.copy(), []
        for i, luck in enumerate(random.random(count)):
            if luck * stale[i] < left[i]:
                accepted.append(int(drawn[i]))
                np.minimum(left, apart[i], out=left)
        away = torch.minimum(away, _nearest(x, squares, x[accepted])[1])
        away[accepted] = 0  # rounding must not draw a row twice
        chosen += accepted
    return x[chosen]
