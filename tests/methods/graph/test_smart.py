"""SMART: reconstruction by hand, labels that are never read, order and memory, runs that come back."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import vergence
from broken_off import assert_goes_on_to_the_same
from vergence.core import BadInput, RunConfig
from vergence.data.graph.build import Edges, build
from vergence.data.graph.pyg import Data
from vergence.data.graph.temporal import TemporalSource
from vergence.engine.fitting import fit
from vergence.methods.graph import monitor as monitor_module
from vergence.methods.graph.monitor import Monitor, augmented, hears
from vergence.methods.graph.smart import SMART, Classification, Watch
from vergence.methods.graph.snapshots import distortion, loss_of, snapshots_of, taught, unseen

CONTRACT = {"source": lambda: growing(60), "options": {"snapshots": 6, "epochs": 10, "steps": 2, "width": 4}}

PATH = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
FAST = {"snapshots": 6, "known": 0.5, "epochs": 10, "steps": 2, "width": 4}


class Given(nn.Module):
    """Says of every node what its features say."""

    def forward(self, graph):
        return graph.x


def growing(n=90, seed=0, relabel=()):
    """Two kinds of nodes; each new one links to two earlier ones, mostly of its kind.

    The labels of ``relabel`` say the other kind.
    """
    rng = np.random.default_rng(seed)
    y, new = rng.integers(2, size=n), np.arange(1, n)
    drawn = (new[:, None, None] * rng.random((n - 1, 2, 4))).astype(int)
    alike = (y[drawn] == y[new, None, None]).argmax(2)
    ends = np.take_along_axis(drawn, alike[:, :, None], 2)[:, :, 0]
    pairs = np.stack([np.repeat(new, 2), ends.ravel()])
    x = (rng.normal(size=(n, 4)) + y[:, None]).astype(np.float32)
    shown = np.where(np.isin(np.arange(n), relabel), 1 - y, y)
    graph, _ = build(Edges(pairs, n, {"edge_time": pairs[0].astype(float)}), "growing", x=x, y=shown)
    return TemporalSource(graph, "growing")


def test_reconstruction_is_the_formula_written_as_loops(monkeypatch):
    torch.manual_seed(0)
    monitor = Monitor(3, 3, model=Given(), width=2, weight=0.3, share=0.0)
    graph = monitor.feature_graph(Data(x=torch.randn(3, 3), edge_index=PATH))
    absent = torch.tensor([[0, 2], [2, 0]])
    monkeypatch.setattr(monitor_module, "negatives", lambda _: absent)
    degree = [2, 3, 2]  # with the loop
    s = torch.zeros(3, 3)
    for a, b in [*PATH.T.tolist(), (0, 0), (1, 1), (2, 2)]:
        s[a, b] = 1 / math.sqrt(degree[a] * degree[b])
    torch.testing.assert_close(hears(PATH, 3).to_dense(), s)
    z = s @ monitor.phi[1](torch.relu(s @ monitor.phi[0](graph.x)))
    edges = [(u, v, 1) for u, v in PATH.T.tolist()] + [(u, v, 0) for u, v in absent.T.tolist()]
    cost = 0.0
    for u, v, forward in edges:
        p = 1 / (1 + math.exp(-float((z[u] @ z[v]).detach())))
        cost -= math.log(p if forward else 1 - p) / len(edges)
    features = float(((s @ monitor.decoder(z) - graph.x) ** 2).mean().detach())
    assert float(monitor.reconstruction(graph)[0].detach()) == pytest.approx(
        0.3 * cost + 0.7 * features, rel=1e-5
    )


def test_augmented_graphs_lose_and_gain_the_stated_share_both_ways():
    torch.manual_seed(0)
    edges, absent = torch.zeros(2, 10_000, dtype=torch.long), torch.ones(2, 10_000, dtype=torch.long)
    absent[0] = 2
    result = augmented(edges, absent, 0.2)
    assert (result == 0).all(0).sum().item() == pytest.approx(8000, abs=150)
    forward, back = ((torch.tensor(pair) == result.T).all(1).sum().item() for pair in ([2, 1], [1, 2]))
    assert forward == back == pytest.approx(1000, abs=120)


def test_loss_is_the_cross_entropy_of_known_labels_only():
    shot = Data(
        x=torch.tensor([[0.0, 0], [5, 0], [0, math.log(3)]]), edge_index=PATH, y=torch.tensor([1, -1, 1])
    )
    assert loss_of(Given(), shot) == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    with pytest.raises(BadInput, match="known labels"):
        loss_of(Given(), Data(x=shot.x, edge_index=PATH, y=torch.full((3,), -1)))


def test_snapshots_hold_who_is_there_and_labels_of_teachers_are_left_out():
    source = growing()
    shots = snapshots_of(source, 6)
    assert [s.num_nodes for s in shots] == sorted({s.num_nodes for s in shots}) and len(shots) == 6
    for shot in shots:
        assert set(shot.edge_index.flatten().tolist()) == set(range(shot.num_nodes))
        assert torch.equal(shot.x, source.x[shot.node])
        assert shot.y.tolist() == source.labels[shot.node.numpy()].tolist()
    first, last = (s.y for s in (unseen(shots)[0], unseen(shots)[-1]))
    assert (first[::2] == -1).all() and (first[1::2] >= 0).all()
    assert taught(shots[0]).tolist() == list(range(0, len(first), 2))
    assert (last == -1).sum() == (first == -1).sum() and (shots[0].y >= 0).all()


def test_labels_after_deployment_are_never_read():
    shots = snapshots_of(growing(), 6)
    later = np.setdiff1d(np.arange(90), shots[2].node.numpy())
    judged = shots[0].node.numpy()[1]
    known, other, different = (
        SMART(**FAST).fit(growing(relabel=nodes), seed=3).estimates for nodes in ((), later, [*later, judged])
    )
    assert len(known) == 3 and (known == other).all()
    assert (different != known).all()


@pytest.mark.parametrize(("steps", "follow"), [(2, {"phi", "memory", "seen"}), (0, {"memory", "seen"})])
def test_only_the_extractor_follows_and_the_network_stays(steps, follow):
    shots = snapshots_of(growing(), 6)
    model = nn.Linear(4, 2)
    model.forward = lambda graph: hears(graph.edge_index, len(graph.x)) @ (graph.x @ model.weight.T)
    fitted = SMART(**{**FAST, "steps": steps}, model=model).fit(shots[:3])
    before = {name: value.clone() for name, value in fitted.encoder.state_dict().items()}
    x = shots[3].x.clone()
    assert fitted.estimate(shots[3]) >= 0 and torch.equal(shots[3].x, x)
    after = fitted.encoder.state_dict()
    assert {n.split(".")[0] for n in after if not torch.equal(after[n], before[n])} == follow
    assert model.weight.requires_grad and model.training


def test_as_an_encoder_it_answers_for_the_samples_of_a_batch_as_the_network_does():
    graph = growing().whole_graph()
    monitor = Monitor(4, 2)
    every = monitor(graph).pooled
    graph.seeds = torch.tensor([70, 3])
    assert torch.equal(monitor(graph).pooled, every[[70, 3]]) and len(every) == 90


def test_known_losses_are_learned():
    """The worse the network guesses, the less sure it is: what the extractor sees tells the loss."""
    torch.manual_seed(0)
    source = growing(60)
    graph = source.until(1e9)
    y = torch.from_numpy(source.labels)
    shots = []
    for sure in (4.0, 1.0, 3.0, 2.0, 0.5):
        x = sure * (torch.eye(2)[y] - 0.5) + 0.3 * torch.randn(60, 2)
        shots.append(Data(x=x, edge_index=graph.edge_index, y=y))
    truth = [loss_of(Given(), shot) for shot in shots]
    fitted = SMART(model=Given(), steps=0, epochs=150, share=0.0, width=8).fit(shots)
    fitted.encoder.memory.zero_()
    result = np.array([fitted.estimate(shot) for shot in shots])
    assert np.abs(result - truth).mean() < 0.5 * np.abs(truth - np.mean(truth)).mean()


def test_distortion_rises_as_a_graph_grows():
    """One GCN layer on Barabási-Albert growth (Sec. 3): what is said of the first nodes drifts away."""
    import networkx as nx

    pairs = torch.tensor(list(nx.barabasi_albert_graph(600, 3, seed=0).edges)).T
    torch.manual_seed(0)
    x, weight = torch.randn(600, 8), torch.randn(8, 8)

    def layer(graph):
        return torch.nn.functional.leaky_relu(hears(graph.edge_index, len(graph.x)) @ graph.x @ weight)

    net = nn.Module()
    net.forward = layer
    sizes, shots = (100, 200, 400, 600), []
    for n in sizes:
        kept = pairs[:, (pairs < n).all(0)]
        shots.append(Data(x=x[:n], edge_index=torch.cat([kept, kept.flip(0)], 1)))
    moved = [distortion(net, shots[0], shot) for shot in shots]
    assert moved[0] == 0 and moved == sorted(moved) and moved[1] > 0


def test_a_run_from_a_file_comes_back_and_goes_on(tmp_path):
    source = growing(60)
    once = source.data.edge_index[0] < source.data.edge_index[1]
    rows = zip(*source.data.edge_index[:, once].tolist(), source.data.edge_time[once].tolist(), strict=True)
    (tmp_path / "t.csv").write_text("".join(f"{u},{v},{t}\n" for u, v, t in rows))
    with pytest.raises(BadInput, match="ends in .labels, a node and its class a line"):
        vergence.learn("smart", f"temporal:{tmp_path}/t.csv", out=tmp_path / "none", quiet=True)
    (tmp_path / "t.labels").write_text("".join(f"{i} {y}\n" for i, y in enumerate(source.labels)))
    run = vergence.learn("smart", f"temporal:{tmp_path}/t.csv", out=tmp_path / "run", quiet=True, **FAST)
    again = vergence.load(run.path)
    assert len(again.guessed) == 3 and torch.equal(again.guessed, run.encoder.guessed)
    shot = snapshots_of(vergence.open(f"temporal:{tmp_path}/t.csv"), 6)[-1]
    assert again.estimate(shot) == run.encoder.estimate(shot)
    assert again(vergence.open(f"temporal:{tmp_path}/t.csv").whole_graph()).pooled.shape == (60, 2)


@pytest.mark.parametrize(
    ("cls", "name", "at"),
    [(Classification, "loss", 7), (Watch, "loss", 4), (SMART, "watch", None), (Monitor, "estimate", 4)],
)
def test_a_run_that_broke_off_in_a_stage_or_between_them_goes_on_to_the_same_bits(
    tmp_path, monkeypatch, cls, name, at
):
    monkeypatch.setattr(Classification, "recipe", replace(Classification.recipe, epochs=9))
    source, estimator = growing(60), SMART(**FAST)
    config = RunConfig(method="smart", source="growing", seed=3, save_every=1)
    whole = fit(estimator, source, config, out=tmp_path / "whole", quiet=True)
    assert [row["stage"] for row in whole.metrics] == ["network"] * 9 + ["monitor"] * 10
    assert whole.config.stages == ["network", "monitor", "deployment"]

    def here(self):
        return at is None or at == (int(self.seen) if cls is Monitor else self.clock.step)

    assert_goes_on_to_the_same(
        whole, estimator, source, config, tmp_path / "run", monkeypatch,
        place=(cls, name), here=here, stages=("network", "monitor"),
    )  # fmt: skip


def test_wrong_options_and_data_are_told():
    for wrong in ({"known": 1.0}, {"snapshots": 3}, {"steps": -1}, {"share": 1.0}, {"weight": 2.0}):
        with pytest.raises(BadInput, match="SMART needs"):
            SMART(**wrong)
    shots = snapshots_of(growing(), 6)
    with pytest.raises(BadInput, match="neither"):
        SMART(model=Given()).fit(vergence.open("karate"))
    with pytest.raises(BadInput, match="3 or more snapshots"):
        SMART(model=Given()).fit(shots[:2])
    with pytest.raises(BadInput, match="not all of them that"):
        SMART(model=Given()).fit([Data(x=shots[0].x)] * 3)
    with pytest.raises(BadInput, match="SMART\\(model="):
        SMART().fit(shots[:3])
    with pytest.raises(BadInput, match="has none"):
        Monitor(3, 3, model=Given()).estimate(Data(x=torch.ones(2, 3), edge_index=PATH[:, :0]))
