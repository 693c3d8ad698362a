"""Dropout keeps its share, its mean and its gradient."""

import pytest
import torch
from torch import nn

from vergence.nets import Dropout, dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_values_are_zero_or_divided_by_what_stays(p: float) -> None:
    x = torch.full((300, 401), 2.0)
    out = dropout(x, p)
    kept = out != 0
    assert kept.float().mean() == pytest.approx(1 - p, abs=0.005)  # four standard deviations
    assert torch.allclose(out[kept], torch.tensor(2 / (1 - p)), rtol=1e-4)


def test_values_fall_out_one_by_one() -> None:
    lost = (dropout(torch.ones(64, 4096), 0.5) == 0).float()
    together = (lost - 0.5).T @ (lost - 0.5) / 64  # of columns, which share draws by fours
    assert together.fill_diagonal_(0).mean().abs() < 1e-3
    assert (lost[:, ::4] * lost[:, 1::4]).mean() == pytest.approx(0.25, abs=0.01)


def test_the_gradient_is_that_of_the_values_that_stay() -> None:
    x = torch.randn(7, 5, requires_grad=True)
    out = dropout(x, 0.3)
    out.sum().backward()
    assert torch.allclose(x.grad * x.detach(), out.detach())


def test_a_seed_repeats_it_and_evaluation_leaves_all() -> None:
    x, drop = torch.randn(33, 3), Dropout(0.4)
    torch.manual_seed(1)
    first = drop(x)
    torch.manual_seed(1)
    assert torch.equal(first, drop(x)) and not torch.equal(first, drop(x))
    assert drop.eval()(x) is x


def test_the_ends_are_torchs() -> None:
    x = torch.randn(4, 4)
    assert torch.equal(dropout(x, 0.0), x)
    assert torch.equal(dropout(x, 1.0), nn.functional.dropout(x, 1.0))
    assert dropout(torch.randn(0, 3), 0.5).shape == (0, 3)


def test_half_precision_stays_half() -> None:
    assert dropout(torch.ones(8, dtype=torch.bfloat16), 0.5).dtype == torch.bfloat16
