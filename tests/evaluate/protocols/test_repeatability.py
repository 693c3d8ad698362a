"""Keypoints found again and homographies told, counted by hand."""

import math

import numpy as np
import pytest
import torch

from vergence.evaluate.protocols.repeatability import (
    corner_error,
    estimate_homography,
    homography_correctness,
    moved,
    mutual_matches,
    repeatability,
)

TURN = torch.tensor([[1.1, 0.1, 3], [-0.05, 0.95, -2], [0.0004, -0.0002, 1]], dtype=torch.float64)


def test_points_move_as_a_homography_says():
    x, y, w = 1.1 * 10 + 0.1 * 20 + 3, -0.05 * 10 + 0.95 * 20 - 2, 0.0004 * 10 - 0.0002 * 20 + 1
    assert moved(torch.tensor([[10.0, 20.0]]), TURN)[0].tolist() == pytest.approx([x / w, y / w], rel=1e-6)


def test_the_share_found_again_is_that_of_two_loops_over_what_both_could_show():
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(60, 2, generator=generator).double() * 100
    forward = moved(first, TURN)
    second = torch.cat([forward[:30] + torch.randn(30, 2, generator=generator), torch.rand(20, 2) * 100])
    back = moved(second, torch.linalg.inv(TURN))
    size = (90, 100)
    inside = [[0 <= x <= 100 and 0 <= y <= 90 for x, y in part.tolist()] for part in (forward, back)]
    kept, other = forward[torch.tensor(inside[0])], second[torch.tensor(inside[1])]
    result = sum(min(math.dist(p, q) for q in other.tolist()) <= 2 for p in kept.tolist())
    result += sum(min(math.dist(p, q) for q in kept.tolist()) <= 2 for p in other.tolist())
    expected = result / (len(kept) + len(other))
    assert repeatability(first, second, TURN, (size, size), within=2) == pytest.approx(expected)
    eye = torch.eye(3)
    assert repeatability(first, first, eye, ((100, 100),) * 2) == 1
    away = eye + 500 * (torch.arange(9).view(3, 3) == 2)  # to the right, out of the picture
    assert math.isnan(repeatability(first, first, away, ((100, 100),) * 2))
    assert repeatability(first, second[:0], eye, ((100, 100),) * 2) == 0


def test_corners_tell_how_far_off_a_homography_is():
    shift = torch.eye(3).double()
    shift[0, 2], shift[1, 2] = 3, 4
    assert corner_error(shift @ TURN, TURN, (90, 100)) == pytest.approx(5)
    assert corner_error(7 * TURN, TURN, (90, 100)) == pytest.approx(0, abs=1e-9)
    assert corner_error(torch.full((3, 3), torch.nan), TURN, (90, 100)) == math.inf
    result = homography_correctness(np.array([0.5, 2.0, 4.0, math.inf]))
    assert {name: score.value for name, score in result.items()} == {"1 px": 0.25, "3 px": 0.5, "5 px": 0.75}


def test_matches_are_those_that_are_each_others_nearest():
    first = torch.tensor([[1.0, 0], [0.9, 0.1], [0, 1]])
    second = torch.tensor([[0.0, 2], [3, 0]])
    assert [part.tolist() for part in mutual_matches(first, second)] == [[0, 2], [1, 0]]


def test_a_homography_is_found_among_wrong_matches():
    pytest.importorskip("poselib")
    generator = torch.Generator().manual_seed(1)
    first = torch.rand(80, 2, generator=generator).double() * 100
    second = moved(first, TURN)
    second[:30] = torch.rand(30, 2, generator=generator).double() * 100
    assert corner_error(estimate_homography(first, second), TURN, (100, 100)) < 0.1
    assert estimate_homography(first[:3], second[:3]).isnan().all()
