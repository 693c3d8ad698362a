import pytest
import torch
from torch.nn.functional import normalize

from vergence.losses import byol, negative_cosine


def test_values_by_hand():
    x, y = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[4.0, 3.0], [0.0, 2.0]])
    assert negative_cosine(x, y).item() == pytest.approx(-(24 / 25 + 0) / 2)
    assert byol(x, y).item() == pytest.approx(2 - 24 / 25)
    assert byol(x, 7 * x).item() == pytest.approx(0, abs=1e-6)
    assert byol(x, -x).item() == pytest.approx(4)


def test_byol_is_the_squared_distance_of_unit_vectors():
    x, y = torch.randn(6, 5), torch.randn(6, 5)
    wanted = (normalize(x) - normalize(y)).square().sum(dim=1).mean()
    torch.testing.assert_close(byol(x, y), wanted)


def test_gradient_is_right_and_turns_towards_the_target():
    x, y = (torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(byol, (x, y))
    (step,) = torch.autograd.grad(byol(x, y), x)
    assert byol(x - 0.1 * step, y) < byol(x, y)
    torch.testing.assert_close((step * x).sum(dim=1), torch.zeros(4, dtype=torch.float64))  # length is free


def test_autocast_leaves_the_arithmetic_in_float32():
    x, y = torch.randn(6, 5).bfloat16(), torch.randn(6, 5).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        low = byol(x, y)
    torch.testing.assert_close(low, byol(x.float(), y.float()))


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"one shape \(B, D\); got \(4, 3\) and \(1, 3\)"):
        negative_cosine(torch.ones(4, 3), torch.ones(1, 3))
