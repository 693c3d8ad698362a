"""k-means on millions of rows: a block of distances at a time, on whatever device there is.

``kmeans`` computes every distance. ``coarse_centres`` and ``closest`` are for tables on which that would take
hours: the centres come from a sample, and the nearest ones of every row are found in bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.engine.devices import best_precision
from vergence.use.topk import as_tensor

BLOCK = {"cpu": 1 << 18, "cuda": 1 << 26}  # distances held at a time; on a CPU they fit its cache
DRAWN = 256  # starting points drawn at a time
_FAR = 100  # squared distance of the mean from the origin, in variances, above which rows are moved
_ROWS = 1 << 16  # rows whose differences from their centres are held
_ROUGH = 1 << 22  # products held at a time in bfloat16


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


def kmeans(
    vectors: np.ndarray, k: int, *, iterations: int = 50, greedy: bool = False, seed: int = 0
) -> KMeans:
    """Place ``k`` centres so that rows are near to them: k-means++, then Lloyd's steps on all rows.

    Every distance is computed. Memory is that of the vectors, a block of distances and the centres
    in float64. A centre that loses all its rows goes to the row furthest from its own centre. Rows that lie
    far from the origin beside their spread are moved to it first, which takes a copy of them.

    Args:
        vectors: ``(n, D)`` float32, finite.
        k: 1 to n.
        iterations: Steps at most, at least 1; it ends sooner when no row changes its centre.
        greedy: Draw 2 + log k candidates for each starting point and take the best of them, as scikit-learn
            does: centres end nearer to the rows, for the time of about log k / 4 steps more.
        seed: Of the starting points.
    """
    if not 1 <= k <= len(vectors):
        raise BadInput(f"k-means on {len(vectors)} rows takes 1 to {len(vectors)} centres; got {k}.")
    if iterations < 1:
        raise BadInput(f"k-means needs at least 1 step; got {iterations}.")
    x, origin = _moved(as_tensor(np.ascontiguousarray(vectors, np.float32)))
    squares = (x * x).sum(1)
    if not torch.isfinite(squares).all():
        raise BadInput("k-means needs finite rows, with finite squares: scale them first.")
    centres = (greedy_plus_plus if greedy else plus_plus)(x, squares, k, np.random.default_rng(seed))
    of, distance = _nearest(x, squares, centres)
    sums = x.new_zeros(k, x.shape[1], dtype=torch.float64)  # float32 loses rows among millions
    _add(sums, x, of, slice(None))
    settled = False
    for _ in range(iterations - 1):
        centres = updated_centres(x, of, distance, sums)
        before = of
        of, distance = _nearest(x, squares, centres)
        moved = (before != of).nonzero()[:, 0]
        if settled := not len(moved):
            break
        _add(sums, x, before, moved, -1)
        _add(sums, x, of, moved)
    return KMeans(of.cpu().numpy(), (centres + origin).cpu().numpy(), distance.cpu().numpy(), settled)


def assign(vectors: np.ndarray, centres: np.ndarray) -> KMeans:
    """Give every row ``(n, D)`` the nearest of ``centres (k, D)``, which stay where they are."""
    x, origin = _moved(as_tensor(np.ascontiguousarray(vectors, np.float32)))
    placed = as_tensor(np.ascontiguousarray(centres, np.float32)) - origin
    of, distance = _nearest(x, (x * x).sum(1), placed)
    return KMeans(of.cpu().numpy(), centres, distance.cpu().numpy(), True)


def coarse_centres(
    vectors: np.ndarray, k: int, *, sample: int = 32, iterations: int = 8, seed: int = 0
) -> np.ndarray:
    """Return ``(k, D)`` centres that a few steps of k-means place on a sample of the rows.

    Args:
        vectors: ``(n, D)`` float32, finite.
        k: 1 to n.
        sample: Rows a centre, at least 1.
        iterations: Steps.
        seed: Of the sample and the starting points.
    """
    few = min(len(vectors), sample * k)
    rows = np.sort(np.random.default_rng(seed).choice(len(vectors), few, replace=False))
    return kmeans(vectors[rows], k, iterations=iterations, seed=seed).centres


def closest(vectors: np.ndarray, centres: np.ndarray, count: int = 1) -> np.ndarray:
    """Return ``(n, count)`` int32, the nearest centres of every row, nearest first.

    Products are in bfloat16 where the hardware is fast at it: of two centres that are about as near, either
    may come first.

    Args:
        vectors: ``(n, D)`` float32.
        centres: ``(k, D)`` float32.
        count: 1 to k.
    """
    x, c = as_tensor(vectors, move=False), as_tensor(centres)
    precision = best_precision(c.device)
    half = ((c * c).sum(1) / 2).to(precision)
    c = c.to(precision)
    nearest = np.empty((len(x), count), np.int32)
    for start in range(0, len(x), rows := max(64, _ROUGH // len(c))):
        score = (x[start : start + rows].to(c) @ c.T).sub_(half)
        best = score.max(1).indices[:, None] if count == 1 else score.topk(count, 1).indices
        nearest[start : start + rows] = best.cpu().numpy()
    return nearest


def distances_to_centres(vectors: np.ndarray, centres: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Return ``(n,)`` float32, the squared distance of every row to its centre ``of (n,)``."""
    distances = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _ROWS):
        part = slice(start, start + _ROWS)
        distances[part] = np.square(vectors[part] - centres[of[part]]).sum(1)
    return distances


def _moved(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows about the origin and where that was.

    A distance is a difference of products, in which float32 loses what is small beside them. Rows whose mean
    is near the origin for their spread stay as they are, about zero.
    """
    mean, spread = x.mean(0), x.var(0, correction=0).sum()
    if mean.square().sum() <= _FAR * spread:
        return x, torch.zeros_like(mean)
    return x - mean, mean


def _rows(x: Tensor, k: int) -> int:
    return max(64, BLOCK[x.device.type] // k)


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


def updated_centres(x: Tensor, of: Tensor, distance: Tensor, sums: Tensor) -> Tensor:
    counts = of.bincount(minlength=len(sums))
    centres = (sums / counts.clamp(min=1)[:, None]).float()
    if len(empty := (counts == 0).nonzero()[:, 0]):
        centres[empty] = x[distance.topk(len(empty)).indices]
    return centres


def plus_plus(x: Tensor, squares: Tensor, k: int, random: np.random.Generator) -> Tensor:
    """Draw ``k`` rows one after the other, each with odds of its squared distance to those before.

    That is k-means++ (Arthur and Vassilvitskii 2007). It is drawn in blocks without approximation:
    a row that came with the odds of an earlier state is accepted with the share of its distance that
    the rows accepted since have left it.
    """
    chosen = [int(random.integers(len(x)))]
    _, away = _nearest(x, squares, x[chosen])
    away[chosen] = 0  # rounding must not draw a row twice
    while len(chosen) < k:
        sums = away.double().cumsum(0).cpu().numpy()
        if sums[-1] == 0:  # fewer distinct rows than centres
            rest = np.setdiff1d(np.arange(len(x)), chosen)
            chosen += random.choice(rest, k - len(chosen), replace=False).tolist()
            break
        count = min(DRAWN, len(chosen), k - len(chosen))  # more would often be in each other's way
        drawn = np.searchsorted(sums, random.random(count) * sums[-1], side="right")
        drawn = np.minimum(drawn, len(x) - 1)
        stale = away[drawn].cpu().numpy()
        rows = x[drawn]
        between = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square().cpu().numpy()
        left, accepted = stale.copy(), []
        for i, luck in enumerate(random.random(count)):
            if luck * stale[i] < left[i]:
                accepted.append(int(drawn[i]))
                np.minimum(left, between[i], out=left)
        away = torch.minimum(away, _nearest(x, squares, x[accepted])[1])
        away[accepted] = 0
        chosen += accepted
    return x[chosen]


def greedy_plus_plus(x: Tensor, squares: Tensor, k: int, random: np.random.Generator) -> Tensor:
    """Draw ``k`` rows as ``plus_plus`` does, each the best of 2 + log k candidates.

    The best candidate leaves the smallest sum of squared distances of all rows to what is chosen (greedy
    k-means++, as in scikit-learn).
    """
    trials = 2 + int(np.log(k))
    chosen = [int(random.integers(len(x)))]
    away = _nearest(x, squares, x[chosen])[1].double()
    while len(chosen) < k:
        sums = away.cumsum(0)
        if sums[-1] == 0:  # fewer distinct rows than centres
            rest = np.setdiff1d(np.arange(len(x)), chosen)
            chosen += random.choice(rest, k - len(chosen), replace=False).tolist()
            break
        luck = torch.as_tensor(random.random(trials), device=x.device) * sums[-1]
        drawn = torch.searchsorted(sums, luck).clamp_max(len(x) - 1)
        apart = squares[drawn, None] - 2 * x[drawn] @ x.T + squares  # (trials, n)
        left = torch.minimum(away, apart.clamp_min_(0))
        best = int(left.sum(1).argmin())
        chosen.append(int(drawn[best]))
        away = left[best]
        away[chosen[-1]] = 0  # rounding must not draw a row twice
    return x[chosen]
