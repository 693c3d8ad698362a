"""Graph generation: MMD between generated and real graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from scipy.spatial.distance import cdist

from vergence.core.errors import BadInput, unknown
from vergence.evaluate.inputs import Array
from vergence.evaluate.protocols.graph.curves import Amount
from vergence.evaluate.protocols.graph.orbits import orbit_counts
from vergence.evaluate.score import resampled

Graph: TypeAlias = tuple[Array, int]  # edge_index (2, E) and how many nodes
Kernel = Literal["emd", "tv"]
NEEDS: tuple[str, ...] = ()  # graphs are compared with graphs
KERNELS = ("emd", "tv")
BINS = 100
SPECTRUM = 200
_ROWS = 2000  # samples a side of sample_mmd


def generation_mmds(
    real: Sequence[Graph], generated: Sequence[Graph], *, kernel: Kernel = "emd"
) -> dict[str, Amount]:
    """Return the ``degree``, ``clustering``, ``orbit`` and ``spectral`` MMD², 0 where both sets are alike."""
    return {
        "degree": degree_mmd(real, generated, kernel=kernel),
        "clustering": clustering_mmd(real, generated, kernel=kernel),
        "orbit": orbit_mmd(real, generated),
        "spectral": spectral_mmd(real, generated, kernel=kernel),
    }


def degree_mmd(real: Sequence[Graph], generated: Sequence[Graph], *, kernel: Kernel = "emd") -> Amount:
    """MMD² of degree histograms.

    Args:
        real: Graphs as (edge_index ``(2, E)``, nodes); taken as undirected, without self-loops or
            repetitions.
        generated: The same.
        kernel: ``"emd"``: exp(-EMD²/2), as GraphRNN (arXiv:1802.08773) and GDSS (arXiv:2202.02514); ``"tv"``:
            total variation in the place of the earth mover's distance, as GRAN (arXiv:1910.00760). Numbers of
            the two cannot be compared.
    """
    first, second = ([np.bincount(_dense(g).sum(1)) for g in graphs] for graphs in (real, generated))
    return _of_histograms(first, second, kernel, width=1.0, step=1.0, what="degree")


def clustering_mmd(real: Sequence[Graph], generated: Sequence[Graph], *, kernel: Kernel = "emd") -> Amount:
    """MMD² of histograms of the local clustering coefficient, 100 bins on [0, 1], kernel width 0.1."""
    first, second = (
        [np.histogram(_clustering(_dense(g)), bins=BINS, range=(0.0, 1.0))[0] for g in graphs]
        for graphs in (real, generated)
    )
    return _of_histograms(first, second, kernel, width=0.1, step=1 / BINS, what="clustering")


def spectral_mmd(real: Sequence[Graph], generated: Sequence[Graph], *, kernel: Kernel = "emd") -> Amount:
    """MMD² of histograms of the normalised Laplacian's eigenvalues, 200 bins on [0, 2], as GRAN and GDSS."""
    first, second = (
        [np.histogram(_spectrum(_dense(g)), bins=SPECTRUM, range=(-1e-5, 2))[0] for g in graphs]
        for graphs in (real, generated)
    )
    return _of_histograms(first, second, kernel, width=1.0, step=1.0, what="spectral")


def orbit_mmd(real: Sequence[Graph], generated: Sequence[Graph], *, width: float = 30.0) -> Amount:
    """MMD² of graphs' mean orbit counts (4 nodes), Gaussian kernel of width 30, as GraphRNN and GDSS."""
    first, second = (
        np.stack([orbit_counts(edges, nodes).mean(0) for edges, nodes in _checked(graphs)])
        for graphs in (real, generated)
    )
    return mmd(
        cdist(*[np.concatenate([first, second])] * 2), len(first), width, f"orbit, Gaussian, width {width:g}"
    )


def attribute_mmd(
    real: Sequence[Array],
    generated: Sequence[Array],
    *,
    bins: int = BINS,
    categories: int | None = None,
) -> Amount:
    """MMD² of histograms of a node or edge attribute, one histogram a graph.

    Args:
        real: For each graph its values ``(m,)``; a graph without any has an empty histogram.
        generated: The same.
        bins: For numbers, over the range of the real ones (values outside fall in the end bins); kernel
            exp(-EMD²/2w²) with the range as unit and w = 0.1, as for clustering coefficients.
        categories: How many kinds, where values are kinds from 0; they have no order, so total variation is
            compared, at a width of 1.
    """
    sides = [[np.asarray(v, dtype=np.float64).ravel() for v in values] for values in (real, generated)]
    if not all(sides) or not all(np.isfinite(v).all() for side in sides for v in side):
        raise BadInput("attribute_mmd needs one or more graphs on both sides and finite values.")
    if categories is not None:
        first, second = (
            [np.bincount(v.astype(np.int64), minlength=categories) for v in side] for side in sides
        )
        return _of_histograms(first, second, "tv", width=1.0, step=1.0, what="kinds")
    whole = np.concatenate(sides[0])
    if not len(whole):
        raise BadInput("attribute_mmd needs a value in the real graphs.")
    low, high = float(whole.min()), float(whole.max())
    high = high if high > low else low + 1.0
    first, second = (
        [np.histogram(v.clip(low, high), bins=bins, range=(low, high))[0] for v in side] for side in sides
    )
    return _of_histograms(first, second, "emd", width=0.1, step=1 / bins, what="attribute")


def sample_mmd(real: Array, generated: Array, *, width: float | None = None, seed: int = 0) -> Amount:
    """MMD² of two samples of vectors, such as (value of one end, of the other, of the edge).

    Args:
        real: ``(n, k)``; columns of both are standardised by it. More than 2,000 rows are subsampled.
        generated: ``(m, k)``.
        width: Of the Gaussian kernel; None takes the median distance within ``real``.
        seed: Of the subsample.
    """
    rng = np.random.default_rng(seed)
    first, second = (np.asarray(v, dtype=np.float64) for v in (real, generated))
    if (
        first.ndim != 2
        or second.ndim != 2
        or first.shape[1] != second.shape[1]
        or not len(first)
        or not len(second)
    ):
        raise BadInput(f"sample_mmd needs samples (n, k) and (m, k); got {first.shape} and {second.shape}.")
    deviation = first.std(0)
    mean, unit = first.mean(0), np.where(deviation > 0, deviation, 1.0)
    first, second = ((v[rng.permutation(len(v))[:_ROWS]] - mean) / unit for v in (first, second))
    both = np.concatenate([first, second])
    distances = cdist(both, both)
    if width is None:
        inside = distances[: len(first), : len(first)]
        width = float(np.median(inside[inside > 0])) if (inside > 0).any() else 1.0
    return mmd(distances, len(first), width, f"Gaussian, width {width:.3g}")


def mmd(distances: np.ndarray, first: int, width: float, note: str) -> Amount:
    """Return the biased MMD²: mean k(a, a') + mean k(b, b') - 2 mean k(a, b), k = exp(-d² / 2 width²).

    Args:
        distances: ``(n + m, n + m)``, the first n of one set.
        first: n.
        width: Of the kernel.
        note: Kept with the score. The interval resamples graphs of both sets; resampling repeats graphs,
            which adds distance that is not there, so its quantiles are moved back by their mean's distance
            from the value.
    """
    kernel = np.exp(-np.square(distances) / (2 * width**2))
    n, m = first, len(distances) - first
    weights = np.concatenate([np.full(n, 1 / n), np.full(m, -1 / m)])
    value = float(weights @ kernel @ weights)
    drawn = np.concatenate([resampled(np.ones(n), 200) / n, -resampled(np.ones(m), 200, seed=1) / m], axis=1)
    spread = ((drawn @ kernel) * drawn).sum(1)
    low, high = np.quantile(spread, (0.025, 0.975)) - spread.mean() + value
    return Amount(value, max(min(float(low), value), 0.0), max(float(high), value), n + m, note)


def _of_histograms(
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    kernel: str,
    *,
    width: float,
    step: float,
    what: str,
) -> Amount:
    if kernel not in KERNELS:
        raise unknown("kernel", kernel, KERNELS)
    if not len(first) or not len(second):
        raise BadInput(f"The {what} MMD needs one or more graphs on both sides.")
    size = max(map(len, [*first, *second]))
    table = np.stack([np.pad(h, (0, size - len(h))) for h in [*first, *second]]).astype(np.float64)
    table /= np.maximum(table.sum(1, keepdims=True), 1)
    if kernel == "emd":
        table = np.cumsum(table, axis=1)  # in one dimension the earth mover's distance is that of the sums
        distances = cdist(table, table, "cityblock") * step
    else:
        distances = cdist(table, table, "cityblock") / 2
    return mmd(distances, len(first), width, f"{what}, Gaussian {kernel.upper()}, width {width:g}")


def _checked(graphs: Sequence[Graph]) -> Sequence[Graph]:
    if not len(graphs) or any(nodes < 1 for _, nodes in graphs):
        raise BadInput("Graphs are compared by one or more of them on both sides, each with a node or more.")
    return graphs


def _dense(graph: Graph) -> np.ndarray:
    (edges, nodes), *_ = _checked([graph])
    linked = np.zeros((nodes, nodes), dtype=np.int64)
    u, v = np.asarray(edges)
    linked[u, v] = linked[v, u] = 1
    np.fill_diagonal(linked, 0)
    return linked


def _clustering(linked: np.ndarray) -> np.ndarray:
    degree = linked.sum(1)
    a = linked.astype(np.float64)
    closed = ((a @ a) * a).sum(1)
    return closed / np.maximum(degree * (degree - 1), 1)


def _spectrum(linked: np.ndarray) -> np.ndarray:
    degree = linked.sum(1)
    root = np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1)), 0.0)
    # as in networkx and the papers, a node without edges has a 0 on the diagonal
    return np.linalg.eigvalsh(np.diag((degree > 0).astype(np.float64)) - root[:, None] * linked * root)
