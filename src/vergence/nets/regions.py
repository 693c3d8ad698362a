"""Regions of a picture and the tree in which they merge: oriented watershed and ultrametric contour map.

A contour map is cut into regions along its ridges. Where two regions touch, their boundary is as strong as
the map there, as far as the map's own direction agrees with the boundary's. The weakest boundary gives way,
the two regions become one, and so on until one region is left: a tree, and with it a distance of any two
pixels, the strength at which their regions merge.

Arbelaez, Maire, Fowlkes, Malik 2011, "Contour Detection and Hierarchical Image Segmentation", Sec. 4. Differs
from it: boundaries lie between pixels, not on them; a boundary of two regions is one straight piece, however
it bends.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from vergence.core import BadInput


@dataclass(frozen=True)
class RegionTree:
    """Regions of a picture and the order in which they merge.

    Args:
        regions: ``(H, W)`` int32 from 0, which of the R finest regions a pixel is of.
        merges: ``(R - 1, 4)`` float64 as scipy's linkage: two clusters, the strength at which they merge,
            never falling, and how many finest regions they then hold. Cluster R + i is made by row i.
    """

    regions: np.ndarray
    merges: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return self.regions.nbytes + self.merges.nbytes

    @property
    def heights(self) -> np.ndarray:
        """``(2R - 1,)`` float32, the strength at which each cluster was made; 0 for the finest regions."""
        return np.concatenate([np.zeros(len(self.merges) + 1), self.merges[:, 2]]).astype(np.float32)

    @property
    def above(self) -> np.ndarray:
        """``(2R - 2,)`` int64, the cluster that each one merges into, always of a larger number."""
        count = len(self.merges) + 1
        above = np.zeros(2 * count - 2, np.int64)
        above[self.merges[:, :2].astype(np.int64)] = np.arange(count, 2 * count - 1)[:, None]
        return above

    def between(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the strengths float32 at which pairs of finest regions merge; an ultrametric.

        Of each pair the lower cluster climbs until both meet: no table of all pairs is held.

        Args:
            one: Finest regions, int of any shape.
            other: The others, of the same shape.
        """
        a, b = one.astype(np.int64).ravel(), other.astype(np.int64).ravel()
        above, apart = self.above, np.flatnonzero(a != b)
        while len(apart):
            low, high = np.minimum(a[apart], b[apart]), np.maximum(a[apart], b[apart])
            a[apart], b[apart] = above[low], high
            apart = apart[above[low] != high]
        return self.heights[a].reshape(one.shape)

    def at(self, level: float) -> np.ndarray:
        """Return the regions ``(H, W)`` that are left when all that merge at ``level`` or below have."""
        heights, top = self.heights, np.arange(2 * len(self.merges) + 1)
        for cluster, over in reversed(list(enumerate(self.above.tolist()))):
            if heights[over] <= level:
                top[cluster] = top[over]
        _, first, of = np.unique(top[: len(self.merges) + 1], return_index=True, return_inverse=True)
        return first[of][self.regions]  # the first of those that are one

    def contours(self) -> np.ndarray:
        """Return the ultrametric contour map ``(H, W)``: how strong the strongest boundary beside a pixel is.

        A boundary lies between a pixel and the one to its right or below.
        """
        strength = np.zeros(self.regions.shape, np.float32)
        for first, second in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
            between = self.between(self.regions[first], self.regions[second])
            strength[first] = np.maximum(strength[first], between)
        return strength


def region_tree(contours: np.ndarray, *, smooth: float = 1.0) -> RegionTree:
    """Return the regions of a contour map and the tree in which they merge.

    Args:
        contours: ``(H, W)``, 0 or more, soft.
        smooth: Deviation in pixels of the smoothing after which its least places seed the regions; 0 takes
            every one, however small.

    Raises:
        BadInput: If the map is not of that shape or not finite.
    """
    if contours.ndim != 2 or not np.isfinite(contours).all():
        raise BadInput(f"region_tree needs a finite contour map (H, W); got {contours.shape}.")
    contours = contours.astype(np.float64)
    regions = watershed(contours, smooth)
    one, other, strength, length = boundaries(contours, regions)
    return RegionTree(regions, merge(int(regions.max()) + 1, one, other, strength, length))


def watershed(contours: np.ndarray, smooth: float = 0.0) -> np.ndarray:
    """Return the regions ``(H, W)`` int32 from 0 that rain on a map of heights would run together in."""
    from skimage import segmentation

    height = ndimage.gaussian_filter(contours, smooth) if smooth else contours
    return (segmentation.watershed(height) - 1).astype(np.int32)


def boundaries(
    contours: np.ndarray, regions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the boundaries of regions that touch: ``(P,)`` of one, of the other, strength and length.

    Strength is the mean over the places where both touch of the map, the larger of the two pixels, times
    |cos| of the angle between the contour there and the straight line along the boundary. Length is the
    number of these places.

    Args:
        contours: ``(H, W)``.
        regions: ``(H, W)`` int.
    """
    along = orientation(contours)
    pair, value, angle, y, x = [], [], [], [], []
    count = int(regions.max()) + 1
    rows, columns = np.mgrid[: regions.shape[0], : regions.shape[1]]
    for first, second in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        a, b = regions[first], regions[second]
        edge = a != b
        pair.append((np.minimum(a, b).astype(np.int64) * count + np.maximum(a, b))[edge])
        stronger = contours[first] >= contours[second]
        value.append(np.where(stronger, contours[first], contours[second])[edge])
        angle.append(np.where(stronger, along[first], along[second])[edge])
        y.append(((rows[first] + rows[second]) / 2)[edge])
        x.append(((columns[first] + columns[second]) / 2)[edge])
    keys, of = np.unique(np.concatenate(pair), return_inverse=True)
    length = np.bincount(of, minlength=len(keys)).astype(np.float64)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(of, values, len(keys)) / np.maximum(length, 1)

    v, theta, y_, x_ = (np.concatenate(part) for part in (value, angle, y, x))
    dy, dx = y_ - mean(y_)[of], x_ - mean(x_)[of]
    line = 0.5 * np.arctan2(2 * mean(dy * dx), mean(dx * dx) - mean(dy * dy))  # of greatest extent
    straight = mean(dy * dy) + mean(dx * dx) > 0  # a boundary of one place has no direction
    agree = np.where(straight[of], np.abs(np.cos(theta - line[of])), 1.0)
    return keys // count, keys % count, mean(v * agree), length


def orientation(contours: np.ndarray, smooth: float = 1.5) -> np.ndarray:
    """Return the direction ``(H, W)`` along the contour through each pixel, in radians from x towards y.

    It is the one in which a smoothed map bends least.
    """
    yy, xx = (ndimage.gaussian_filter(contours, smooth, order=order) for order in ((2, 0), (0, 2)))
    xy = ndimage.gaussian_filter(contours, smooth, order=(1, 1))
    across = 0.5 * np.arctan2(2 * xy, xx - yy)  # of the largest second derivative
    down = np.cos(across) ** 2 * xx + np.sin(2 * across) * xy + np.sin(across) ** 2 * yy
    other = xx + yy - down
    return np.where(np.abs(down) >= np.abs(other), across + np.pi / 2, across)


def merge(
    count: int, one: np.ndarray, other: np.ndarray, strength: np.ndarray, length: np.ndarray
) -> np.ndarray:
    """Merge regions over their weakest boundary until one is left; return the merges ``(count - 1, 4)``.

    Boundaries that become one have the mean of their strengths, by length. A merge counts at least as strong
    as those before it.

    Args:
        count: Regions, joined all together by boundaries.
        one: ``(P,)``, a region at each boundary.
        other: ``(P,)``, the other one.
        strength: ``(P,)``.
        length: ``(P,)``, above 0.
    """
    beside: list[dict[int, tuple[float, float]]] = [{} for _ in range(2 * count - 1)]  # sum and length
    for a, b, s, n in zip(one.tolist(), other.tolist(), strength.tolist(), length.tolist(), strict=True):
        beside[a][b] = beside[b][a] = (s * n, n)
    queue = [(s, a, b) for a, b, s in zip(one.tolist(), other.tolist(), strength.tolist(), strict=True)]
    heapq.heapify(queue)
    size, gone = [1] * count, set[int]()
    merges: list[tuple[int, int, float, int]] = []
    highest = 0.0
    while len(merges) < count - 1:
        s, a, b = heapq.heappop(queue)
        if a in gone or b in gone:
            continue
        highest, new = max(highest, s), len(size)
        merges.append((a, b, highest, size[a] + size[b]))
        size.append(size[a] + size[b])
        gone |= {a, b}
        for old in (a, b):
            for c, (total, n) in beside[old].items():
                del beside[c][old]
                if c not in gone:
                    before = beside[new].get(c, (0.0, 0.0))
                    beside[new][c] = (before[0] + total, before[1] + n)
            beside[old] = {}
        for c, (total, n) in beside[new].items():
            beside[c][new] = (total, n)
            heapq.heappush(queue, (total / n, min(c, new), max(c, new)))
    return np.array(merges, np.float64).reshape(-1, 4)
