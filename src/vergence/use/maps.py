"""Maps of a store: its vectors laid out on the plane so that like samples lie together."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from vergence.core.errors import BadInput, need, unknown
from vergence.store.table import Store
from vergence.use.nearest import opened, topk

How = Literal["auto", "tsne", "umap", "pca"]
_FEW = 10  # rows below which neighbourhoods mean nothing
_AROUND = 8  # neighbours that say where a row belongs
_REACH = 0.03  # of the map's side: neighbours further from the nearest one have no say
_SPREAD = 1e-6  # of unit vectors in any direction: below are errors of rounding
_APART = 0.003  # of the map's side: keeps rows with the same neighbours from hiding each other


class NoSpread(BadInput):
    """Vectors that all have one direction, or are zero: no map can be drawn of them."""


@dataclass(frozen=True, slots=True)
class Map:
    """Points on the plane.

    Args:
        rows: ``(m,)`` int64, the rows of the store that are shown, ascending.
        points: ``(m, 2)`` float32 within [0, 1]. Distances far across mean little.
        how: What laid them out: "t-SNE", "UMAP" or "PCA".
    """

    rows: np.ndarray
    points: np.ndarray
    how: str


def layout(
    store: Store | str | Path,
    *,
    how: How = "auto",
    limit: int | None = None,
    column: str = "vector",
    seed: int = 0,
) -> Map:
    """Lay a store out on the plane; the same store and seed give the same map.

    Args:
        store: Opened, or where it lies.
        how: "tsne" suits some thousand rows, "umap" (extra ``maps``) many more; "auto" takes UMAP
            where it is installed and there are more than 5,000 rows, otherwise t-SNE.
        limit: Rows shown at most, an even sample of all; None means 3,000, or 50,000 with UMAP.
        column: Which vectors; rows without one are left out.
        seed: Of the sample and of the layout.

    Raises:
        MissingExtra: If "umap" is asked for and not installed.
        NoSpread: If all vectors have one direction, as a collapsed encoder gives them.
    """
    store = opened(store)
    vectors, rows = store.vectors(column), store.present(column)
    if how not in ("auto", "tsne", "umap", "pca"):
        raise unknown("layout", how, ("auto", "tsne", "umap", "pca"))
    if how == "auto":
        many = len(rows) > 5_000 and importlib.util.find_spec("umap") is not None
        how = "umap" if many else "tsne"
    most = limit or (50_000 if how == "umap" else 3_000)
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    points, name = plane(vectors[rows], how=how, seed=seed)
    return Map(rows, points, name)


def plane(vectors: np.ndarray, *, how: How = "tsne", seed: int = 0) -> tuple[np.ndarray, str]:
    """Return points ``(n, 2)`` float32 in [0, 1] for vectors ``(n, D)``, and what laid them out.

    Raises:
        NoSpread: If there are two or more and all have one direction, or are zero.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    n, width = unit.shape
    if n > 1 and np.ptp(unit, axis=0).max() <= _SPREAD:
        raise NoSpread(f"There is no map: all {n:,} vectors are alike, as those of a collapsed encoder are.")
    if n < 3 or width < 2:
        how, points = "pca", np.pad(unit[:, :2], ((0, 0), (0, max(0, 2 - width))))
    else:
        main = PCA(min(50, n, width), svd_solver="covariance_eigh", random_state=seed).fit_transform(unit)
        if how == "umap":
            reducer = need("umap", extra="maps").UMAP(n_neighbors=15, min_dist=0.1, random_state=seed)
            points = reducer.fit_transform(main)
        elif how == "pca" or n < _FEW:
            how, points = "pca", main[:, :2]
        else:
            perplexity = min(30.0, (n - 1) / 3)
            points = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(main)
    span = points.max(0) - points.min(0)
    points = (points - points.min(0)) / np.where(span > 0, span, 1)
    return points.astype(np.float32), {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}[how]


def place_among(vectors: np.ndarray, known: np.ndarray, points: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Return points ``(n, 2)`` float32 among those of a sample that is laid out already.

    A row lies at the mean of its nearest rows of the sample, weighted by likeness; those that lie far
    from the nearest one are left out, so that nothing lands between two groups.

    Args:
        vectors: ``(n, D)``.
        known: ``(m, D)``, of the sample.
        points: ``(m, 2)`` in [0, 1], where it lies.
        seed: Of the small distances between rows that would lie on one another, which may also lead a
            little beyond the sample's borders.
    """
    cosine, row = topk(torch.from_numpy(vectors), torch.from_numpy(known), _AROUND)
    near = points[row.numpy()]  # (n, k, 2)
    apart = np.square(near - near[:, :1]).sum(-1) / _REACH**2
    weight = np.exp(20 * (cosine.numpy() - cosine.numpy()[:, :1]) - apart / 2)
    centre = (weight[..., None] * near).sum(1) / weight.sum(1, keepdims=True)
    return (centre + np.random.default_rng(seed).normal(0, _APART, centre.shape)).astype(np.float32)
