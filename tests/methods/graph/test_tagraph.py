"""TAGraph and its homology: exact bars, shapes with and without holes, stability, one run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

import vergence
from vergence.core import BadInput
from vergence.data.graph.points import clouds
from vergence.methods.graph.homology import lower_star, rips, statistics
from vergence.methods.graph.tagraph import FUNCTIONS, TAGraph, distances_between, summary_graph, thinned

CONTRACT = {
    "source": lambda: clouds(list(np.random.default_rng(0).normal(size=(5, 40, 3)))),
    "options": {"dim": 3, "bins": 4, "points": 30},
}


def reduced(births, edges):
    """Bars by the textbook: the boundary matrix of all simplices in order, columns reduced left to right."""
    n = len(births)
    simplices = [(births[i], (i,)) for i in range(n)]
    simplices += [(edges[a, b], (a, b)) for a, b in itertools.combinations(range(n), 2)]
    simplices += [
        (max(edges[a, b], edges[a, c], edges[b, c]), (a, b, c))
        for a, b, c in itertools.combinations(range(n), 3)
    ]
    simplices = sorted((s for s in simplices if np.isfinite(s[0])), key=lambda s: (s[0], len(s[1])))
    place = {s: i for i, (_, s) in enumerate(simplices)}
    pivots, bars, open_ = {}, ([], []), set()
    for i, (value, s) in enumerate(simplices):
        column = {place[f] for f in itertools.combinations(s, len(s) - 1)} if len(s) > 1 else set()
        while column and max(column) in pivots:
            column ^= pivots[max(column)]
        if not column:
            open_.add(i)
            continue
        low = max(column)
        pivots[low] = column
        open_.discard(low)
        if value > simplices[low][0]:
            bars[len(s) - 2].append((simplices[low][0], value))
    for i in open_:
        if len(simplices[i][1]) < 3:
            bars[len(simplices[i][1]) - 1].append((simplices[i][0], np.inf))
    return [sorted(b) for b in bars]


@pytest.mark.parametrize("seed", range(6))
def test_bars_are_those_of_the_reduced_boundary_matrix(seed):
    rng = np.random.default_rng(seed)
    far = cdist(*[rng.normal(size=(14, 2))] * 2)
    far = far.round(1) if seed % 2 else far  # ties
    cut = np.quantile(far, 0.5)
    values, joined = rng.integers(0, 4, 14).astype(float), far <= cut
    for ours, edges, births in (
        (rips(far, most=cut), np.where(joined, far, np.inf), np.zeros(14)),
        (rips(far), far, np.zeros(14)),
        (lower_star(values, joined), np.where(joined, np.maximum.outer(values, values), np.inf), values),
    ):
        for mine, theirs in zip(ours, reduced(births, edges), strict=True):
            mine = np.array(sorted(map(tuple, mine))).reshape(-1, 2)
            np.testing.assert_allclose(mine, np.array(theirs).reshape(-1, 2))


def test_a_circle_has_one_long_loop():
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    zero, one = rips(cdist(circle, circle))
    side = 2 * np.sin(np.pi / 40)
    assert len(one) == 1 and one[0, 0] == pytest.approx(side)
    assert one[0, 1] == pytest.approx(np.sqrt(3), abs=0.1)  # an inscribed triangle fills it
    assert np.isinf(zero).sum() == 1 and len(zero) == 40


def bottleneck(a, b):
    """The smallest shift under which bars match, or shrink to nothing."""
    size = len(a) + len(b)
    cost = np.zeros((size, size))
    cost[: len(a), : len(b)] = np.abs(a[:, None] - b[None]).max(2)
    cost[: len(a), len(b) :] = ((a[:, 1] - a[:, 0]) / 2)[:, None]
    cost[len(a) :, : len(b)] = ((b[:, 1] - b[:, 0]) / 2)[None]
    for shift in np.unique(cost):
        rows, columns = linear_sum_assignment(cost > shift)
        if not (cost[rows, columns] > shift).any():
            return shift
    raise AssertionError


def test_bars_move_by_no_more_than_the_points():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(30, 3))
    step = rng.normal(size=(30, 3))
    second = first + 0.1 * step / np.linalg.norm(step, axis=1, keepdims=True)
    far = cdist(first, second)
    hausdorff = max(far.min(0).max(), far.min(1).max())
    shift = bottleneck(rips(cdist(first, first), most=9)[1], rips(cdist(second, second), most=9)[1])
    assert 0 < shift <= 2 * hausdorff + 1e-9


def test_statistics_by_hand():
    result = statistics(np.array([[0.0, 1.0], [1.0, 4.0]]))
    np.testing.assert_allclose(result[:4], [0.5, 0.5, 0.5, 0.5])  # births: mean, deviation, midpoints between
    np.testing.assert_allclose(result[14:16], [2.0, 1.0])  # lifespans 1 and 3
    assert result[28] == 2
    assert result[29] == pytest.approx(-(0.25 * np.log(0.25) + 0.75 * np.log(0.75)))
    assert not statistics(np.zeros((0, 2))).any()
    assert statistics(np.array([[1.0, 2.0]]))[29] == 0


def torus(n=600, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0, 2 * np.pi, (2, 3 * n))
    cloud = np.stack(
        [0.3 * np.sin(b), (1 + 0.3 * np.cos(b)) * np.sin(a), (1 + 0.3 * np.cos(b)) * np.cos(a)], 1
    )
    return thinned(cloud, n)


def sphere(n):
    cloud = np.random.default_rng(0).normal(size=(3 * n, 3))
    return thinned(cloud / np.linalg.norm(cloud, axis=1, keepdims=True), n)


def cycles(graph):
    import scipy.sparse.csgraph as csgraph

    joined = np.zeros((graph.num_nodes, graph.num_nodes))
    joined[tuple(graph.edge_index.numpy())] = 1
    return graph.num_edges // 2 - graph.num_nodes + csgraph.connected_components(joined)[0]


def test_a_standing_torus_has_one_loop_and_a_sphere_none():
    ring = summary_graph(torus(400), function="height", bins=7)
    ball = summary_graph(sphere(400), function="height", bins=7)
    assert cycles(ring) == 1
    assert cycles(ball) == 0 and ball.num_nodes == 7
    assert ring.part.shape == (400,) and ring.points.sum() == 400 and ring.x.shape[1] == 60
    assert ring.x[:, 28].max() > 0 and torch.isfinite(ring.x).all()
    died = 30 + 7  # mean death, met from each node on: the ball's loops are filled, the ring's never end
    assert ring.x[:, died].min() > 5 and ball.x[:, died].max() < 2


def test_graphs_do_not_change_when_a_shape_is_turned():
    shape = torus(110) * np.array([1.0, 1.0, 1.6])
    turned = Rotation.from_euler("xyz", [0.4, 1.1, 2.0]).apply(shape) + 3.0
    for function in ("pca", "laplacian"):
        graphs = [summary_graph(p, function=function) for p in (shape, turned)]
        assert distances_between(graphs)[0, 1] < 1e-3
    assert summary_graph(turned, function="height").num_nodes > 0


@pytest.mark.parametrize("name", ["pca", "laplacian"])
def test_functions_of_a_round_shape_have_no_axis_of_chance(name):
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
    joined = cdist(circle, circle) < 0.6
    value = FUNCTIONS[name](circle, joined)
    np.testing.assert_allclose(value / value[0], np.cos(turn), atol=1e-7)  # of equal axes, the first point's
    assert value[0] > 0
    rng = np.random.default_rng(0)
    for _ in range(5):
        moved = Rotation.random(random_state=rng).apply(circle) + rng.normal(0, 1e-13, circle.shape)
        np.testing.assert_allclose(FUNCTIONS[name](moved, joined), value, atol=1e-7)


def test_a_decoration_tells_a_tube_from_a_rod_where_the_graph_cannot():
    def rod(hollow, seed):
        rng = np.random.default_rng(seed)
        turn, up = rng.uniform(0, 2 * np.pi, 500), rng.uniform(0, 4, 500)
        wide = 0.4 * (1 if hollow else np.sqrt(rng.random(500)))
        return thinned(np.stack([wide * np.cos(turn), wide * np.sin(turn), up], axis=1), 150)

    source = clouds([rod(i % 2, i) for i in range(8)], labels=np.arange(8) % 2)
    far = TAGraph(decorate="both", points=150).fit(source).distances
    same = np.equal.outer(np.arange(8) % 2, np.arange(8) % 2) & ~np.eye(8, dtype=bool)
    assert far[same].max() < far[~same & ~np.eye(8, dtype=bool)].min()
    np.testing.assert_allclose(far, far.T)


def test_a_run_from_the_name_holds_a_table_that_comes_back(tmp_path):
    source = clouds([torus(60, seed=i) for i in range(4)])
    run = vergence.learn("tagraph", source, out=tmp_path / "run", quiet=True, dim=8, bins=5, points=50)
    again = TAGraph(dim=8, bins=5, points=50).fit(source)
    np.testing.assert_array_equal(vergence.load(run.path).vectors.numpy(), again.transform(source))
    x = again.transform(source)
    assert cdist(x, x)[0, 1] ** 2 == pytest.approx(again.distances[0, 1], rel=0.5)


@pytest.mark.parametrize(
    ("points", "options"),
    [(np.zeros((5, 3)), {}), (np.zeros((2, 3)), {}), (np.eye(4), {}), (np.eye(3), {"bins": 1})],
)
def test_what_is_no_cloud_is_told(points, options):
    with pytest.raises(BadInput, match="summary graph"):
        summary_graph(points, **options)


def test_wrong_options_and_sources_are_told():
    with pytest.raises(BadInput, match="decoration"):
        TAGraph(decorate="loca")
    with pytest.raises(BadInput, match="alpha"):
        TAGraph(alpha=2.0)
    with pytest.raises(BadInput, match="function"):
        summary_graph(np.eye(3), function="hight")
    with pytest.raises(BadInput, match="point clouds"):
        TAGraph().fit(vergence.open("karate"))
