import pytest
import torch

from vergence.benchmarks.speed import graphs
from vergence.benchmarks.speed.losses import nodes_ours, nodes_pygcl


def test_every_contest_runs_when_quick():
    seen = []
    for contest in graphs.contests(quick=True):
        seen.append(contest.name)
        for contestant in contest.contestants:
            contestant.prepare()()
    assert seen == ["grace-epoch-60", "grace-epoch-120"]


def test_the_graph_has_the_size_that_is_told():
    made = graphs.source(500)
    assert len(made) == 500 and made.in_dim == 500
    assert made.data.num_edges / 500 == pytest.approx(18, rel=0.05)


def test_the_peers_loss_is_the_methods_own(monkeypatch):
    """The contest's two epochs move the weights alike: they differ in speed, not in what they learn."""
    costs = []
    monkeypatch.setattr(torch.Tensor, "backward", _kept(costs, torch.Tensor.backward))
    for loss in (None, nodes_ours, nodes_pygcl):
        step = graphs.epoch(40, loss)
        torch.manual_seed(1)
        step()
        step()
    ours, same, theirs = costs[:2], costs[2:4], costs[4:]
    assert ours == pytest.approx(same, rel=1e-5) and ours == pytest.approx(theirs, rel=1e-4)
    assert ours[0] != ours[1]


def _kept(costs, backward):
    def wrapped(self, *args, **options):
        costs.append(self.item())
        return backward(self, *args, **options)

    return wrapped
