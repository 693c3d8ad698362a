"""Topologically Attributed Graphs for Shape Discrimination, arXiv:2306.17805."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Self

import numpy as np
import torch
from numba import njit
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, shortest_path
from scipy.spatial.distance import cdist

from vergence.core import BadInput, Estimator, unknown
from vergence.data import Source
from vergence.data.graph import pyg
from vergence.data.graph.source import GraphsSource
from vergence.methods.graph.encoders import Table
from vergence.methods.graph.homology import lower_star, rips, statistics
from vergence.nets.eigenvectors import canonical

ENDLESS = 5.0  # an endless bar ends at this many diameters of the graph, as in the released code
_ROUNDS, _BALANCES, _STEP = 40, 15, 0.1  # of the transport between two graphs


def height(points: np.ndarray, joined: np.ndarray) -> np.ndarray:
    """Return the last coordinate: changes when the shape is turned."""
    return points[:, -1]


def principal(points: np.ndarray, joined: np.ndarray) -> np.ndarray:
    """Return the place along the axis on which the points spread most; the farthest one's is positive."""
    places, spread, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    wide = spread > 1e-6 * spread[0]  # of the others, any vectors of many
    return spread[0] * canonical(spread[None, wide] / spread[0], places[None, :, wide], 1)[0, :, 0]


def eigenfunction(points: np.ndarray, joined: np.ndarray) -> np.ndarray:
    """Return the first eigenfunction, after the constant, of the Rips graph's Laplacian, of unit length."""
    adjacent = (joined & ~np.eye(len(points), dtype=bool)).astype(np.float64)
    values, vectors = np.linalg.eigh(np.diag(adjacent.sum(1)) - adjacent)
    return canonical(values[None] / values[-1], vectors[None], 2)[0, :, 1]


FUNCTIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "height": height,
    "pca": principal,
    "laplacian": eigenfunction,
}
Decoration = Literal["local", "global", "both", "none"]


def thinned(points: np.ndarray, count: int) -> np.ndarray:
    """Return ``count`` points, each the farthest from those before it; all, where there are fewer."""
    if len(points) <= count:
        return points
    near = np.linalg.norm(points - points.mean(axis=0), axis=1)
    chosen = np.empty(count, np.int64)
    for k in range(count):
        chosen[k] = near.argmax()
        distance = np.linalg.norm(points - points[chosen[k]], axis=1)
        near = distance if k == 0 else np.minimum(near, distance)
    return points[chosen]


def summary_graph(
    points: np.ndarray,
    *,
    function: str = "pca",
    bins: int = 10,
    radius: float = 2.0,
    decorate: Decoration = "both",
) -> pyg.Data:
    """Return the graph of a shape: what hangs together at each level of a function, and how levels join.

    Points nearer than ``radius`` times the smallest radius that connects the cloud are joined (Rips). Those
    of a bin of the function that hang together are a node; nodes of adjacent bins are joined where their
    points are. A node is decorated with ``statistics`` of loops: of its own points as they grow together
    ("local"), and of the whole complex as it is met on the way through the graph from this node ("global",
    the barcode transform).

    Args:
        points: ``(N, 2)`` or ``(N, 3)``, any unit of length, at least 3.
        function: Key of ``FUNCTIONS``.
        bins: Levels, at least 2.
        radius: Factor, at least 1.
        decorate: "both" gives 60 attributes, "local" and "global" 30, "none" none.

    Returns:
        Data with ``x`` ``(n, A)``, ``pos`` ``(n, 3)``, the middle, ``value`` ``(n,)``, ``points`` ``(n,)``,
        how many it holds, ``part`` ``(N,)``,
        the node of each point, ``edge_index`` both ways and ``edge_weight``, the difference of mean values.

    Raises:
        BadInput: If an argument is out of its range or the points are all the same.
    """
    if function not in FUNCTIONS:
        raise unknown("function of a summary graph", function, FUNCTIONS)
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or len(points) < 3 or points.shape[1] not in (2, 3) or not np.isfinite(points).all():
        raise BadInput(f"A summary graph needs 3 or more finite points (N, 2) or (N, 3); got {points.shape}.")
    if bins < 2 or radius < 1:
        raise BadInput(
            f"A summary graph needs bins of 2 or more and a radius factor of 1 or more; got {bins}, {radius}."
        )
    distances = cdist(points, points)
    components, _ = rips(distances)
    if len(components) < 2:
        raise BadInput("A summary graph needs points at different places; these are all the same.")
    connected = components[np.isfinite(components[:, 1]), 1].max()
    joined = distances <= radius * connected
    value = FUNCTIONS[function](points, joined)

    span = np.ptp(value)
    level = np.zeros(len(points), np.int64)
    if span > 0:
        level = np.minimum(((value - value.min()) / span * bins).astype(np.int64), bins - 1)  # the top is in
    apart = level[:, None] - level[None, :]
    nodes, part = connected_components(csr_array(joined & (apart == 0)), directed=False)
    size = np.bincount(part, minlength=nodes)
    mean = np.bincount(part, value, nodes) / size
    centre = np.stack([np.bincount(part, axis, nodes) / size for axis in points.T], axis=1)
    low, high = part[np.stack(np.nonzero(joined & (apart == 1)))]
    pairs = np.unique(np.stack([low, high]), axis=1)
    both = np.concatenate([pairs, pairs[::-1]], axis=1)
    both = both[:, np.lexsort(both[::-1])]
    weight = np.abs(mean[both[0]] - mean[both[1]])

    kinds = []
    if decorate in ("local", "both"):
        members = np.split(np.argsort(part, kind="stable"), np.cumsum(size)[:-1])
        kinds.append([statistics(rips(distances[np.ix_(own, own)])[1]) for own in members])
    if decorate in ("global", "both"):
        far = paths(both, weight, nodes)
        endless = ENDLESS * max(far.max(), np.finfo(float).tiny)
        kinds.append([statistics(_ended(lower_star(row[part], joined)[1], endless)) for row in far])
    x = np.concatenate(kinds, axis=1) if kinds else np.zeros((nodes, 0))
    graph = pyg.Data(
        x=_tensor(x), edge_index=torch.from_numpy(both), edge_weight=_tensor(weight), num_nodes=nodes
    )
    graph.pos, graph.value, graph.points = _tensor(centre), _tensor(mean), _tensor(size)
    graph.part = torch.from_numpy(part)
    return graph


def paths(edge_index: np.ndarray, weight: np.ndarray, nodes: int) -> np.ndarray:
    """Return the lengths ``(n, n)`` of the shortest paths; the longest there is where there is none."""
    joined = coo_array((np.maximum(weight, 1e-9), edge_index), (nodes, nodes)).tocsr()
    far = shortest_path(joined, directed=False)
    reached = np.isfinite(far)
    return np.where(reached, far, far[reached].max())


def _ended(bars: np.ndarray, endless: float) -> np.ndarray:
    return np.where(np.isfinite(bars), bars, endless)


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


@njit(nogil=True)
def _fused(cost: np.ndarray, first: np.ndarray, second: np.ndarray, alpha: float) -> float:
    """Return the fused Gromov-Wasserstein cost of two graphs with equally heavy nodes."""
    n, m = cost.shape
    square = (first**2).sum(1).reshape(n, 1) / n + (second**2).sum(1).reshape(1, m) / m
    plan = np.full((n, m), 1.0 / (n * m))
    left = np.ones(n)
    best = np.inf
    for _ in range(_ROUNDS):
        tensor = square - 2.0 * (first @ plan @ second)
        best = min(best, (plan * ((1 - alpha) * cost + alpha * tensor)).sum())
        slope = (1 - alpha) * cost + 2 * alpha * tensor
        plan = plan * np.exp(-(slope - slope.min()) / _STEP)
        right = np.ones(m)
        for _ in range(_BALANCES):  # Sinkhorn
            left = 1 / (n * (plan @ right) + 1e-300)
            right = 1 / (m * (left @ plan) + 1e-300)
        plan = left.reshape(n, 1) * plan * right.reshape(1, m)
    tensor = square - 2.0 * (first @ plan @ second)
    return min(best, (plan * ((1 - alpha) * cost + alpha * tensor)).sum())


def distances_between(graphs: Sequence[pyg.Data], *, alpha: float = 0.5) -> np.ndarray:
    """Return the fused Gromov-Wasserstein costs ``(n, n)`` of all pairs of graphs.

    Nodes weigh the same; a node's cost is the squared distance of its attributes, the structure the shortest
    paths. Attributes are first scaled to unit variance over all graphs, and both kinds of cost to a mean
    of 1, so that ``alpha`` weighs what can be compared. The plan is found by mirror descent from the
    product of the weights: a local minimum, as with any solver.

    Args:
        graphs: As ``summary_graph`` gives them.
        alpha: Weight of the structure, in [0, 1]; without attributes it is 1.
    """
    attributes = [graph.x.double().numpy() for graph in graphs]
    lengths = [
        paths(graph.edge_index.numpy(), graph.edge_weight.double().numpy(), int(graph.num_nodes or 0))
        for graph in graphs
    ]
    every = np.concatenate(attributes)
    if not every.shape[1]:
        alpha = 1.0
    spread = np.where(every.std(axis=0) > 1e-9, every.std(axis=0), np.inf)
    width = np.sqrt(max((np.isfinite(spread)).sum(), 1) * 2.0)  # of two nodes at random
    attributes = [x / spread / width if alpha < 1 else np.zeros((len(x), 1)) for x in attributes]
    unit = np.sqrt(np.mean(np.concatenate([length.ravel() ** 2 for length in lengths]))) or 1.0
    lengths = [length / unit for length in lengths]
    distances = np.zeros((len(graphs), len(graphs)))
    for i in range(len(graphs)):
        for j in range(i):
            cost = cdist(attributes[i], attributes[j], "sqeuclidean")
            distances[i, j] = distances[j, i] = max(_fused(cost, lengths[i], lengths[j], alpha), 0.0)
    return distances


def scaled_coordinates(squared: np.ndarray, dim: int) -> np.ndarray:
    """Return points ``(n, dim)`` whose squared distances come near ``squared`` (classical scaling)."""
    n = len(squared)
    centring = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-0.5 * centring @ squared @ centring)
    values, vectors, k = values[::-1], vectors[:, ::-1], min(dim, n)
    chosen = canonical(values[None] / (np.abs(values).max() or 1.0), vectors[None], k)[0]
    return np.pad(chosen * np.sqrt(np.maximum(values[:k], 0)), ((0, 0), (0, dim - k)))


class TAGraph(Estimator):
    """Shapes become small graphs that know of their holes, and stand near those with similar graphs.

    Curry, Mio, Needham, Okutan, Russold, TAG-ML workshop at ICML 2023, arXiv:2306.17805. ``summary_graph``
    makes the graphs, ``distances_between`` compares them; a shape's vector is its place in a Euclidean space
    that keeps those distances as well as it can. The vectors are of the shapes that were fitted; the graphs,
    for any graph learner, are ``summary_graphs``.

    Differs from the paper: Rips complexes are exact, not sparse, on at most ``points`` points that lie apart;
    the statistics are scaled before they are compared; persistence images are left out; the transport is
    found by mirror descent; classical scaling makes vectors. Differs from the released code: ``bins`` counts
    bins, not their ends; a diagram without bars, or with one, has entropy 0.

    Args:
        function: "pca" and "laplacian" do not change when a shape is turned, "height" does.
        bins: Levels of the function.
        radius: Of the complex, in radii that just connect the cloud.
        decorate: "local", "global", "both" or "none".
        alpha: Weight of structure against attributes, in [0, 1].
        points: Most points that are looked at, a shape.
        dim: Width of the vectors.

    Attributes:
        graphs: The shapes' graphs.
        distances: ``(n, n)``.
    """

    graphs: list[pyg.Data]
    distances: np.ndarray

    def __init__(
        self,
        *,
        function: str = "pca",
        bins: int = 10,
        radius: float = 2.0,
        decorate: Decoration = "both",
        alpha: float = 0.5,
        points: int = 300,
        dim: int = 32,
    ) -> None:
        if decorate not in ("local", "global", "both", "none"):
            raise unknown("decoration", decorate, ("local", "global", "both", "none"))
        if not 0 <= alpha <= 1 or points < 3 or dim < 1:
            raise BadInput(
                "TAGraph needs alpha in [0, 1], points of 3 or more and dim of 1 or more; "
                f"got {alpha}, {points} and {dim}."
            )
        self.function, self.bins, self.radius, self.decorate = function, bins, radius, decorate
        self.alpha, self.points, self.dim = alpha, points, dim

    def summary_graphs(self, source: Source) -> list[pyg.Data]:
        """Return the graph of each shape of a source of clouds."""
        if not isinstance(source, GraphsSource) or source.in_dim not in (2, 3):
            raise BadInput(
                f"tagraph needs point clouds, and {source.uri} holds none; "
                "open a folder of .npy, .xyz, .off, .obj or .ply as points:FOLDER."
            )
        batch = source.batch(np.arange(len(source)))
        shapes = np.split(batch.x.double().numpy(), batch.ptr.numpy()[1:-1])
        return [
            summary_graph(
                thinned(shape, self.points),
                function=self.function, bins=self.bins, radius=self.radius, decorate=self.decorate,
            )
            for shape in shapes
        ]  # fmt: skip

    def fit(self, source: Source, *, seed: int = 0) -> Self:
        """Make and compare the graphs of all shapes of a source; nothing is drawn."""
        del seed
        self.graphs = self.summary_graphs(source)
        self.distances = distances_between(self.graphs, alpha=self.alpha)
        vectors = scaled_coordinates(self.distances, self.dim)
        self.encoder = Table(torch.from_numpy(vectors))
        return self
