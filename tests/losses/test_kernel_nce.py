import math

import pytest
import torch
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

from vergence.losses import contrast, kernel_nce, nt_xent


def two_views(rows=12, size=5):
    torch.manual_seed(0)
    x = torch.randn(rows, size).double()
    return [normalize(v, dim=1).requires_grad_() for v in (x, x + 0.4 * torch.randn(rows, size))]


@pytest.mark.parametrize("power", [0.5, 1.0, 1.7, 2.0])
def test_kernel_nce_equals_its_formula_written_as_loops(power):
    z = torch.cat(two_views(4)).detach()
    n, attraction, repulsion = len(z), 0.0, 0.0
    for i in range(n):
        distance = [math.dist(z[i], z[j]) ** power / 0.3 for j in range(n)]
        attraction += distance[(i + n // 2) % n] / n
        repulsion += math.log(sum(math.exp(-d) for j, d in enumerate(distance) if j != i)) / n
    got = kernel_nce(*z.chunk(2), power=power, temperature=0.3)
    assert got["attraction"].item() == pytest.approx(attraction)
    assert got["repulsion"].item() == pytest.approx(repulsion)


def test_the_gaussian_kernel_is_info_nce_at_half_the_temperature():
    parts = kernel_nce(*two_views(), power=2.0, temperature=0.6)
    torch.testing.assert_close(sum(parts.values()), nt_xent(*two_views(), temperature=0.3))


def test_the_attraction_is_that_of_spectral_clustering():
    z = torch.cat(two_views()).detach()
    n, t = len(z), 0.3
    pairs = torch.eye(n).double().roll(n // 2, 0)  # the graph that joins each vector and its other view
    laplacian = torch.diag(pairs.sum(1)) - pairs
    kernel = torch.exp(-torch.cdist(z, z).square() / (2 * t)).fill_diagonal_(0)
    parts = kernel_nce(*z.chunk(2), power=2.0, temperature=2 * t)
    spectral = torch.trace(z.T @ laplacian @ z) / (t * n)
    torch.testing.assert_close(parts["attraction"], spectral, rtol=0, atol=1e-12)
    torch.testing.assert_close(parts["repulsion"], kernel.sum(1).log().mean(), rtol=0, atol=1e-12)


def test_turning_and_shifting_all_rows_changes_nothing_and_true_pairs_cost_less():
    first, second = (v.detach() for v in two_views())
    turn = torch.linalg.qr(torch.randn(5, 5).double()).Q
    cost = kernel_nce(first, second, power=1.0, temperature=0.2)
    moved = kernel_nce(first @ turn + 3, second @ turn + 3, power=1.0, temperature=0.2)
    torch.testing.assert_close(moved, cost)
    wrong = kernel_nce(first, second.roll(1, 0), power=1.0, temperature=0.2)
    assert sum(cost.values()) < sum(wrong.values())


@pytest.mark.parametrize("power", [0.5, 2.0])
def test_blocks_give_the_same_cost_and_gradients(monkeypatch, power):
    views = two_views()
    whole = kernel_nce(*views, power=power, temperature=0.2)
    wanted = torch.autograd.grad(whole["attraction"] + 2 * whole["repulsion"], views)
    monkeypatch.setitem(contrast.SCORES_AT_ONCE, "cpu", 5 * 24)
    blocks = kernel_nce(*views, power=power, temperature=0.2)
    torch.testing.assert_close(blocks, whole)
    torch.testing.assert_close(
        torch.autograd.grad(blocks["attraction"] + 2 * blocks["repulsion"], views), wanted
    )
    assert torch.autograd.gradcheck(
        lambda *v: tuple(kernel_nce(*v, power=power, temperature=0.2).values()), two_views(4, 3)
    )


def test_the_shares_of_two_processes_make_the_whole():
    first, second = two_views()
    whole = kernel_nce(first, second, power=1.0, temperature=0.2)
    one = kernel_nce(first, second, power=1.0, temperature=0.2, anchors=6)
    other = kernel_nce(first.roll(6, 0), second.roll(6, 0), power=1.0, temperature=0.2, anchors=6)
    torch.testing.assert_close({name: (one[name] + other[name]) / 2 for name in one}, whole)


class Largest(TorchDispatchMode):
    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else [out]:
            if isinstance(value, torch.Tensor):
                self.numel = max(self.numel, value.numel())
        return out


def test_no_tensor_grows_with_the_square_of_the_batch(monkeypatch):
    monkeypatch.setitem(contrast.SCORES_AT_ONCE, "cpu", 2**14)
    views = [torch.randn(500, 8, requires_grad=True) for _ in range(2)]
    with Largest() as seen:
        sum(kernel_nce(*views, power=1.0, temperature=0.2).values()).backward()
    assert seen.numel <= 2**14


def test_equal_rows_have_finite_gradients_and_wrong_arguments_are_told():
    same = torch.ones(3, 2, requires_grad=True)
    sum(kernel_nce(same, same, power=0.5, temperature=0.1).values()).backward()
    assert torch.isfinite(same.grad).all()
    with pytest.raises(ValueError, match=r"power in \(0, 2\].*got 3"):
        kernel_nce(*two_views(), power=3, temperature=1.0)
