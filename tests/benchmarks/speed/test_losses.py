import pytest
import torch

from vergence.benchmarks.speed import losses
from vergence.benchmarks.speed.losses import peak


@pytest.mark.parametrize(
    "formulas",
    [
        (losses.nodes_ours, losses.nodes_dense, losses.nodes_pygcl),
        (losses.pairs_ours, losses.pairs_dense),
        (losses.barlow_ours, losses.barlow_dense),
    ],
)
def test_all_contestants_compute_the_same(formulas):
    torch.manual_seed(0)
    x, y = (torch.randn(20, 50, requires_grad=True) for _ in range(2))
    ours, *others = [(value := f(x, y), *torch.autograd.grad(value, (x, y))) for f in formulas]
    for theirs in others:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_every_contest_runs_when_quick():
    seen = []
    for contest in losses.contests(quick=True):
        seen.append(contest.name)
        for contestant in contest.contestants:
            if not contestant.missing:
                contestant.prepare()()
    assert seen[:3] == ["node-info-nce-50", "node-info-nce-100", "nt-xent-100-cpu"]


def test_the_peak_is_that_of_the_matrices_a_dense_formula_holds():
    dense = peak(losses.pairs_dense, 2500, 16)
    if not dense:
        pytest.skip("this system does not tell a process's peak of memory")
    matrix = 5000 * 5000 * 4 / 1e6
    assert 2 * matrix < dense["peak_mb"] < 5 * matrix
