import pytest
import torch

from vergence.losses import chamfer


def test_chamfer_is_the_loop_over_nearest_points():
    first, second = torch.randn(3, 5, 3, dtype=torch.float64), torch.randn(3, 7, 3, dtype=torch.float64)
    total = 0.0
    for x, y in zip(first, second, strict=True):
        forward = sum(min((a - b).square().sum().item() for b in y) for a in x) / len(x)
        back = sum(min((a - b).square().sum().item() for a in x) for b in y) / len(y)
        total += (forward + back) / len(first)
    assert chamfer(first, second).item() == pytest.approx(total, rel=1e-12)


def test_chamfer_does_not_care_for_order_or_for_which_comes_first():
    first, second = torch.randn(2, 6, 3), torch.randn(2, 6, 3)
    value = chamfer(first, second)
    torch.testing.assert_close(chamfer(second, first), value)
    torch.testing.assert_close(chamfer(first[:, torch.randperm(6)], second), value)
    assert chamfer(first, first[:, torch.randperm(6)]) == 0
    assert value > 0


def test_chamfer_pulls_each_point_towards_its_nearest():
    first = torch.tensor([[[0.0], [10.0]]], requires_grad=True)
    chamfer(first, torch.tensor([[[1.0], [8.0]]])).backward()
    assert first.grad.flatten().tolist() == [-2.0, 4.0]  # 2 (x - y) / 2, from both sides


def test_chamfer_needs_sets_of_one_kind():
    with pytest.raises(ValueError, match=r"got \(2, 5, 3\) and \(2, 5, 2\)"):
        chamfer(torch.zeros(2, 5, 3), torch.zeros(2, 5, 2))
    with pytest.raises(ValueError, match="chamfer needs sets"):
        chamfer(torch.zeros(2, 0, 3), torch.zeros(2, 5, 3))
