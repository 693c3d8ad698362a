"""Automatic Data Curation for Self-Supervised Learning: A Clustering-Based Approach.

Vo, Khalidov, Darcet, Moutakanni, Smetanin, Szafraniec, Touvron, Couprie, Oquab, Joulin, Jégou, Labatut,
Bojanowski 2024, arXiv:2405.15613.

k-means puts more centres where there is more data, but not in proportion: where the data has the density
p in d dimensions, the centres have p^(d/(d+2)). So k-means on the centres, and again on theirs, comes
nearer to an even cover of all that occurs (Sec. 3.2). Resampling flattens a level further: of each cluster
only the rows nearest to its centre stay, and the centres are placed anew on those (Sec. 3.3). A subset is
then drawn from the top of the tree downwards, in equal parts as far as the clusters' sizes allow (Sec. 3.4).

Differs from the released code: the first level is one k-means, not one of fewer clusters that are split;
above 500,000 rows its centres are placed on a sample of them (``use.kmeans.coarse_centres``), from plain
k-means++ instead of the greedy one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.use.kmeans import KMeans, assign, closest, coarse_centres, distances_to_centres, kmeans
from vergence.use.nearest import opened

_TOLD = 50  # clusters that somebody looks through
_FEWEST = 10  # clusters of a level above the first
EXACT_UP_TO = 500_000  # rows up to which every step of the first level looks at all of them


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Clusters of rows, clusters of their centres, and so on.

    Args:
        levels: The finest first. ``levels[0].of`` says the cluster of each row, ``levels[t].of`` the
            cluster of each centre of ``levels[t - 1]``.
    """

    levels: tuple[KMeans, ...]

    def of(self, level: int = -1) -> np.ndarray:
        """Return ``(n,)``, each row's cluster on a level; the coarsest by default."""
        of = self.levels[0].of
        for above in self.levels[1 : range(len(self.levels))[level] + 1]:
            of = above.of[of]
        return of

    def sizes(self, level: int = -1) -> np.ndarray:
        """Return ``(k,)``, the rows (not the child clusters) of each cluster on a level."""
        return np.bincount(self.of(level), minlength=len(self.levels[level]))


@dataclass(frozen=True, slots=True)
class Curated:
    """A balanced subset.

    Args:
        rows: ``(m,)`` int64, what is kept, ascending.
        hierarchy: What it was drawn from.
    """

    rows: np.ndarray
    hierarchy: Hierarchy

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def clusters(self) -> np.ndarray:
        """``(n,)`` each row's cluster, on the finest level of at most 50, else on the coarsest."""
        sizes = [len(level) for level in self.hierarchy.levels]
        return self.hierarchy.of(next((i for i, count in enumerate(sizes) if count <= _TOLD), -1))

    @property
    def before(self) -> np.ndarray:
        """``(k,)`` rows of each of these clusters."""
        return np.bincount(self.clusters)

    @property
    def after(self) -> np.ndarray:
        """``(k,)`` rows kept of each."""
        return np.bincount(self.clusters[self.rows], minlength=len(self.before))


def curate(
    store: Store | str | Path,
    keep: int,
    *,
    counts: Sequence[int] | None = None,
    resampling: int = 10,
    nearest: bool = False,
    column: str = "vector",
    seed: int = 0,
) -> Curated:
    """Keep a balanced, varied part of a store.

    Vectors are scaled to unit length first. Leave near-duplicates out beforehand (``duplicates``):
    many copies of one thing make a cluster of their own.

    Args:
        store: Opened, or where it lies.
        keep: Rows to keep, 1 to all.
        counts: Clusters of each level, the finest first; None takes ``default_counts``.
        resampling: Times that the centres of a level above the first are placed anew.
        nearest: Take the most typical rows of a cluster rather than random ones.
        column: Which vectors; every row must have one.
        seed: Of the starting points and of the draw.

    Raises:
        BadInput: If counts or ``keep`` do not fit the rows, or rows have no such vector.
    """
    store = opened(store)
    vectors = store.directions(column)
    if np.isnan(vectors).any():
        raise BadInput(f"Not every row of {store.path} has a {column}: choose another column.")
    tree = hierarchy(vectors, counts, resampling=resampling, seed=seed)
    return Curated(draw(tree, keep, nearest=nearest, seed=seed), tree)


def default_counts(n: int) -> tuple[int, ...]:
    """Return clusters a level for n rows: about 4 √n, and a tenth and a fiftieth of that where 10 or more.

    Equal parts of three or four clusters would make what lies below them less even, not more. The paper
    divides 743 million images into 10 million, 500,000, 50,000 and 10,000 clusters; the first level here is
    smaller, so that its time grows with n^1.5 only.
    """
    first = max(1, min(n // 2, round(4 * n**0.5)))
    return first, *(count for count in (first // 10, first // 50) if count >= _FEWEST)


def hierarchy(
    vectors: np.ndarray,
    counts: Sequence[int] | None = None,
    *,
    resampling: int = 10,
    iterations: int = 50,
    seed: int = 0,
) -> Hierarchy:
    """Build the tree of clusters of vectors ``(n, D)`` (Alg. 1).

    Args:
        vectors: float32, compared by their Euclidean distance.
        counts: Clusters of each level, falling; the first far above the number of things to be told
            apart, so that rare ones own a cluster. None takes ``default_counts``.
        resampling: Times R that a level above the first is placed anew on the r items nearest to each
            centre, r being half the mean size of its clusters. The first level has none: it is the
            costly one.
        iterations: Of every k-means, at most; ten where the first level is placed on a sample.
        seed: Of the starting points.
    """
    counts = default_counts(len(vectors)) if counts is None else tuple(counts)
    if not counts or any(a <= b for a, b in zip((len(vectors) + 1, *counts), counts, strict=False)):
        raise BadInput(
            f"The clusters of each level must grow fewer, from at most {len(vectors)} (the rows) on; "
            f"got {', '.join(map(str, counts)) or 'none'}."
        )
    seeds = np.random.default_rng(seed)
    levels: list[KMeans] = []
    items = vectors
    for count in counts:
        seed_here = int(seeds.integers(2**31))
        if len(items) > EXACT_UP_TO:
            clustering = _first(items, count, seed_here)
        else:
            clustering = kmeans(items, count, iterations=iterations, greedy=True, seed=seed_here)
        half = -(-len(items) // (2 * count))  # r: half the mean size, rounded up
        for _ in range(resampling if levels else 0):
            near = items[ranks(clustering.of, clustering.distance) < half]
            if len(near) < count:  # clusters have run empty
                break
            seed_here = int(seeds.integers(2**31))
            flat = kmeans(near, count, iterations=iterations, greedy=True, seed=seed_here)
            clustering = assign(items, flat.centres)
        levels.append(clustering)
        items = clustering.centres
    return Hierarchy(tuple(levels))


def _first(vectors: np.ndarray, count: int, seed: int) -> KMeans:
    """Divide millions of rows: centres from 64 rows each, ten steps, then each row to its nearest."""
    centres = coarse_centres(vectors, count, sample=64, iterations=10, seed=seed)
    of = closest(vectors, centres)[:, 0].astype(np.int64)
    return KMeans(of, centres, distances_to_centres(vectors, centres, of), False)


def draw(tree: Hierarchy, size: int, *, nearest: bool = False, seed: int = 0) -> np.ndarray:
    """Draw ``size`` rows ``(size,)``, ascending, in equal parts from the clusters of each level.

    Args:
        tree: Of ``hierarchy``.
        size: 1 to all.
        nearest: Of a finest cluster take the rows nearest to its centre, else random ones.
        seed: Of the draw.
    """
    n = len(tree.levels[0].of)
    if not 1 <= size <= n:
        raise BadInput(f"Of {n} rows 1 to {n} can be kept; {size} were asked for.")
    random = np.random.default_rng(seed)
    parts = np.array([size])  # of each cluster of the level above; at first of a root over all
    for level in reversed(range(len(tree.levels))):
        top = level + 1 == len(tree.levels)
        parent = np.zeros(len(tree.levels[level]), np.int64) if top else tree.levels[level + 1].of
        parts = shares(parent, tree.sizes(level), parts, random)
    finest = tree.levels[0]
    order = finest.distance if nearest else random.random(n)
    return np.flatnonzero(ranks(finest.of, order) < parts[finest.of])


def shares(
    parent: np.ndarray, sizes: np.ndarray, parts: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Divide each parent's part among its children as evenly as their sizes allow.

    A child gets min(c, size) with the largest cap c by which its parent's part is not exceeded; what
    is left goes to random ones of the children above c, one each (Sec. 3.4).

    Args:
        parent: ``(k,)`` of each child.
        sizes: ``(k,)`` rows of each child, at most what it can get.
        parts: ``(P,)`` of each parent, at most the rows of its children.
        random: Hands out what is left.

    Returns:
        ``(k,)`` int64.
    """
    low, high = np.zeros(len(parts), np.int64), np.full(len(parts), sizes.max())
    while (low < high).any():  # bisection, of all parents at once
        cap = (low + high + 1) // 2
        fits = np.bincount(parent, np.minimum(cap[parent], sizes), len(parts)) <= parts
        low, high = np.where(fits, cap, low), np.where(fits, high, cap - 1)
    given = np.minimum(low[parent], sizes)
    left = parts - np.bincount(parent, given, len(parts)).astype(np.int64)
    above = np.flatnonzero(sizes > given)
    lucky = ranks(parent[above], random.random(len(above))) < left[parent[above]]
    given[above[lucky]] += 1
    return given


def ranks(group: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return ``(n,)`` each item's place, from 0, among those of its group by ascending value."""
    order = np.lexsort((value, group))
    ordered = group[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(group) else order
    starts = np.repeat(first, np.diff(np.r_[first, len(group)]))
    place = np.empty(len(group), np.int64)
    place[order] = np.arange(len(group)) - starts
    return place
