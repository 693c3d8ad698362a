"""Places on paper follow distances in the graph."""

import re

import numpy as np
import pytest

from vergence.reports.drawing import drawing, stress_layout


def apart(places):
    return np.linalg.norm(places[:, None] - places, axis=-1)


def test_a_path_is_drawn_straight_and_evenly():
    d = apart(stress_layout(np.array([[0, 1, 2], [1, 2, 3]]), 4))
    np.testing.assert_allclose(d / d[0, 1], np.abs(np.subtract.outer(range(4), range(4))), atol=0.02)


def test_a_ring_is_drawn_round():
    places = stress_layout(np.array([range(8), [*range(1, 8), 0]]), 8)
    radii = np.linalg.norm(places - places.mean(0), axis=1)
    np.testing.assert_allclose(radii, radii.mean(), rtol=0.03)


def test_directions_doubles_and_loops_do_not_matter():
    once = stress_layout(np.array([[0, 1], [1, 2]]), 3)
    again = stress_layout(np.array([[1, 1, 1, 2, 2, 0], [0, 2, 2, 1, 2, 1]]), 3)
    np.testing.assert_allclose(apart(once), apart(again), atol=1e-6)


@pytest.mark.parametrize(("nodes", "edges"), [(1, [[], []]), (2, [[], []]), (5, [[0, 2], [1, 3]])])
def test_pieces_that_nothing_joins_lie_apart_inside_the_picture(nodes, edges):
    places = stress_layout(np.array(edges, int), nodes)
    assert places.shape == (nodes, 2) and np.isfinite(places).all()
    assert (places > -1e-6).all() and (places < 1 + 1e-6).all()
    if nodes == 5:
        d = apart(places)
        assert d[0, 1] < min(d[0, 2], d[0, 4]) and d[2, 3] < min(d[2, 0], d[2, 4])


def test_a_drawing_has_a_line_an_edge_a_dot_a_node_and_one_ring():
    svg = drawing(np.array([[0, 1, 1, 2], [1, 0, 2, 2]]), ["red", "red", "blue"], centre=2).decode()
    lines, *dots = re.findall(r'<path d="([^"]*)"', svg)
    assert lines.count("M") == 2, "0-1 once, 1-2, and no loop"
    assert [d.count("h0") for d in dots] == [2, 1] and svg.count("<circle") == 1
    numbers = [int(v) for v in re.findall(r"\d+", lines)]
    assert min(numbers) >= 0 and max(numbers) <= 200
