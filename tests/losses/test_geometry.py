import math

import pytest
import torch
from torch.nn.functional import normalize

from vergence.losses import distance_correlation, gram_difference


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def double(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def rotation(size):
    return torch.linalg.qr(double(size, size))[0]


def test_gram_difference_is_the_formula_written_as_loops():
    first, second = double(7, 3), double(7, 3)
    x, y = normalize(first, dim=1), normalize(second, dim=1)
    total = 0.0
    for group in ((0, 1, 2), (3, 4, 5)):  # the seventh row fills no group
        for i in group:
            total += sum((x[i] @ x[j] - y[i] @ y[j]).item() ** 2 for j in group if j != i)
    assert gram_difference(first, second, group=3).item() == pytest.approx(total / 6, rel=1e-12)


def test_gram_difference_is_0_where_each_group_is_rotated_or_mirrored_and_only_there():
    x = double(8, 3)
    each = torch.cat([x[:4] @ rotation(3), -x[4:] @ rotation(3)])
    assert gram_difference(x, each, group=4).item() < 1e-25
    assert gram_difference(x, each, group=8).item() > 0.1
    assert gram_difference(x, 5 * each, group=4).item() < 1e-25


def test_gram_difference_leads_one_view_to_the_geometry_of_the_other():
    x, y = double(6, 3), double(6, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: gram_difference(x, v, group=3), y)
    gram_difference(x, y, group=6).backward()
    closer = gram_difference(x, y - 0.01 * y.grad, group=6)
    assert closer < gram_difference(x, y, group=6)


def squared(x, y):
    """Squared distance correlation, entry by entry."""
    n = len(x)

    def centred(values):
        d = [[(values[i] - values[j]).norm().item() for j in range(n)] for i in range(n)]
        row = [sum(d[i]) / n for i in range(n)]
        return [[d[i][j] - row[i] - row[j] + sum(row) / n for j in range(n)] for i in range(n)]

    a, b = centred(x), centred(y)

    def product(p, q):
        return sum(p[i][j] * q[i][j] for i in range(n) for j in range(n))

    return product(a, b) / math.sqrt(product(a, a) * product(b, b))


def test_distance_correlation_is_the_formula_written_as_loops():
    x, y = double(9, 4), double(9, 2)
    y[:, 0] += x[:, 0]
    assert distance_correlation(x, y).item() == pytest.approx(math.sqrt(squared(x, y)), rel=1e-12)


def test_distance_correlation_is_1_for_a_rotated_scaled_and_shifted_copy():
    x = double(20, 5)
    for unbiased in (False, True):
        copy = 3 * x @ rotation(5) + 7
        assert distance_correlation(x, copy, unbiased=unbiased).item() == pytest.approx(1, abs=1e-12)


def test_distance_correlation_sees_what_pearson_does_not():
    x = double(1_000, 1)
    assert abs(torch.corrcoef(torch.cat([x, x**2], 1).T)[0, 1]) < 0.15
    assert distance_correlation(x, x**2).item() == pytest.approx(0.54, abs=0.02)


def test_independent_variables_look_dependent_unless_centred_by_u_statistics():
    pairs = [(double(32, 64), double(32, 64)) for _ in range(40)]
    plain = torch.stack([distance_correlation(*pair) for pair in pairs]).mean()
    fair = torch.stack([distance_correlation(*pair, unbiased=True).square().copysign(
        distance_correlation(*pair, unbiased=True)) for pair in pairs]).mean()  # fmt: skip
    assert plain > 0.9
    assert abs(fair) < 0.03


def test_distance_correlation_has_finite_gradients_also_for_equal_rows_and_constants():
    x, y = double(6, 3), double(6, 2)
    x[1] = x[0]
    assert torch.autograd.gradcheck(distance_correlation, (double(6, 3).requires_grad_(), y))
    for values in (x, torch.ones_like(x)):
        values = values.clone().requires_grad_()
        distance_correlation(values, y).backward()
        assert values.grad.isfinite().all()
    assert distance_correlation(torch.ones_like(x), y) == 0


def test_mistakes_are_one_line():
    with pytest.raises(ValueError, match="a group of 2 to B rows; got .* and 5"):
        gram_difference(double(4, 2), double(4, 2), group=5)
    with pytest.raises(ValueError, match="B >= 4"):
        distance_correlation(double(3, 2), double(3, 2), unbiased=True)
