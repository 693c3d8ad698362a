import cmath
import math

import pytest
import torch
from torch.autograd import gradcheck

from vergence.losses import gaussian, random_directions, sigreg


def by_loops(x, directions, knots=17, reach=3.0):
    """The statistic with the characteristic function written out, over both halves of the line."""
    values, points = x.tolist(), [reach * k / (knots - 1) for k in range(1 - knots, knots)]
    total = 0.0
    for a in directions.T.tolist():
        sides = [sum(p * q for p, q in zip(row, a, strict=True)) for row in values]
        gaps = []
        for t in points:
            seen = sum(cmath.exp(1j * t * s) for s in sides) / len(sides)
            normal = math.exp(-(t**2) / 2)
            gaps.append(abs(seen - normal) ** 2 * normal)
        step = points[1] - points[0]
        total += len(sides) * step * (sum(gaps) - (gaps[0] + gaps[-1]) / 2)
    return total / directions.shape[1]


@pytest.mark.parametrize(("knots", "reach"), [(17, 3.0), (2, 1.0), (41, 5.0)])
def test_it_is_the_statistic_written_as_loops(knots, reach):
    x, directions = torch.randn(7, 3, dtype=torch.float64), random_directions(3, 5).double()
    result = sigreg(x, directions, knots=knots, reach=reach).item()
    assert result == pytest.approx(by_loops(x, directions, knots, reach), rel=1e-12)


def test_blocks_of_directions_change_nothing(monkeypatch):
    x, directions = torch.randn(9, 4, dtype=torch.float64, requires_grad=True), random_directions(4, 11)
    whole = sigreg(x, directions)
    (gradient,) = torch.autograd.grad(whole, x)
    monkeypatch.setitem(gaussian.AT_ONCE, "cpu", 30)  # three directions at a time
    parts = sigreg(x, directions)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(torch.autograd.grad(parts, x)[0], gradient)


def test_its_gradient_is_that_of_the_statistic():
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: 2 * sigreg(x, random_directions(3, 4, generator=torch.Generator())), x)


def test_normal_vectors_give_about_one_and_others_more_the_more_there_are():
    directions = random_directions(3, 200)
    expected = math.sqrt(2 * math.pi) * (1 - 3**-0.5)  # of the integral over the whole line
    normal = [sigreg(torch.randn(count, 3), directions).item() for count in [400] * 20 + [1600] * 20]
    assert sum(normal[:20]) / 20 == pytest.approx(expected, abs=0.3)
    assert sum(normal[20:]) / 20 == pytest.approx(expected, abs=0.3)
    for draw in (
        lambda n: torch.zeros(n, 3),
        lambda n: 1 + torch.randn(n, 3),
        lambda n: 2 * torch.randn(n, 3),
    ):
        few, many = (sigreg(draw(count), directions).item() for count in (400, 1600))
        assert few > 10 * expected and many == pytest.approx(4 * few, rel=0.2)


def test_corners_have_the_moments_of_a_normal_cloud_and_are_told_from_it():
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).repeat(200, 1)
    torch.testing.assert_close(corners.T @ corners / len(corners), torch.eye(3))
    directions = random_directions(3, 200)
    assert sigreg(corners, directions) > 10 * sigreg(torch.randn(1600, 3), directions)


def test_directions_are_of_length_one_and_the_same_of_the_same_generator():
    one, same = (random_directions(5, 9, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(one.norm(dim=0), torch.ones(9))
    assert torch.equal(one, same)


def test_half_precision_is_computed_in_float32():
    x, directions = torch.randn(64, 4), random_directions(4, 8)
    half = sigreg(x.bfloat16(), directions)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, sigreg(x.bfloat16().float(), directions))


def test_mistakes_are_said():
    x, directions = torch.randn(4, 3), random_directions(3, 2)
    with pytest.raises(
        ValueError, match=r"directions \(D, S\), none of them empty; got \(4, 3\) and \(2, 2\)"
    ):
        sigreg(x, directions[:2])
    with pytest.raises(ValueError, match=r"got \(0, 3\)"):
        sigreg(x[:0], directions)
    with pytest.raises(ValueError, match="2 knots or more and a reach above 0; got 1 and 3.0"):
        sigreg(x, directions, knots=1)
