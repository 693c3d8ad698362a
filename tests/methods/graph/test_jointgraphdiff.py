"""Joint diffusion: the marginal of the SDE, symmetric noise, equivariance, padding, samples, one run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vergence
from vergence.core import BadInput
from vergence.data.graph.pyg import Data
from vergence.data.graph.source import GraphsSource
from vergence.methods.graph.jointgraphdiff import BETA, JointGraphDiff, ScoreNet, marginal, noise, pairs

CONTRACT = {
    "kinds": ("graphs",),
    "exempt": {
        "two": "views of a whole batch of graphs, drawn by chance, cannot be divided",
        "labels": "takes noise away, which need not tell sorts apart",
    },
}


def paths(sizes=(3, 5, 4, 5)):
    """Paths whose edges are worth the sum of their ends."""
    rng, ptr, edges = np.random.default_rng(0), [0], []
    for n in sizes:
        i = np.arange(n - 1) + ptr[-1]
        edges += [np.stack([i, i + 1]), np.stack([i + 1, i])]
        ptr.append(ptr[-1] + n)
    both = np.concatenate(edges, axis=1)
    both = both[:, np.lexsort(both[::-1])]
    x = rng.normal(2.0, 3.0, (ptr[-1], 2)).astype(np.float32)
    data = Data(x=torch.from_numpy(x), edge_index=torch.from_numpy(both), num_nodes=ptr[-1])
    data.edge_attr = data.x[both[0], :1] + data.x[both[1], :1]
    return GraphsSource(data, np.array(ptr), "paths")


def net(source, **options):
    torch.manual_seed(0)
    return ScoreNet.for_source(source, width=8, heads=2, layers=2, **options)


def test_the_marginal_is_that_of_many_small_steps():
    t, steps, mean, variance = 0.6, 20_000, 1.0, 0.0
    for k in range(steps):
        beta = BETA[0] + (k + 0.5) / steps * t * (BETA[1] - BETA[0])
        mean *= 1 - beta * t / steps / 2
        variance += (beta - beta * variance) * t / steps
    result = marginal(torch.tensor(t))
    assert result[0].item() == pytest.approx(mean, rel=1e-3)
    assert result[1].item() ** 2 == pytest.approx(variance, rel=1e-3)


def test_noise_is_symmetric_of_unit_variance_and_absent_where_nothing_is():
    mask = torch.arange(6) < torch.tensor([6, 4])[:, None].expand(2, 1)
    mask = mask.repeat(300, 1)
    z_x, z_e = noise(torch.zeros(600, 6, 2), torch.zeros(600, 6, 6, 3), mask)
    assert torch.equal(z_e, z_e.transpose(1, 2))
    assert not z_e[~pairs(mask)].any() and not z_x[~mask].any()
    assert z_e[pairs(mask)].std().item() == pytest.approx(1, abs=0.03)
    assert z_x[mask].std().item() == pytest.approx(1, abs=0.03)


def test_dense_holds_each_graph_standardised_and_symmetric():
    source = paths()
    score = net(source)
    x, e, mask = score.dense(source.batch(np.arange(4)))
    assert mask.sum(1).tolist() == [3, 5, 4, 5]
    torch.testing.assert_close(x[mask].mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(x[mask].std(0, correction=0), torch.ones(2))
    assert torch.equal(e, e.transpose(1, 2))
    assert e[0, 0, 1, 0] == 1 and e[0, 0, 2, 0] == -1 and e[0, 0, 3, 0] == 0 and e[0, 0, 0, 0] == 0
    value = source.data.x[0, 0] + source.data.x[1, 0]
    assert (e[0, 0, 1, 1] * score.e_std + score.e_mean).item() == pytest.approx(value.item(), rel=1e-4)


@pytest.mark.parametrize("joint", [True, False])
def test_scores_turn_with_the_nodes_and_ignore_padding(joint):
    score = net(paths(), joint=joint).eval()
    mask = torch.arange(5)[None] < torch.tensor([[5], [3]])
    x, e = noise(torch.zeros(2, 5, 2), torch.zeros(2, 5, 5, 2), mask)
    t = torch.tensor([0.3, 0.8])
    found_x, found_e = score.predict(x, e, mask, t)
    assert torch.equal(found_e[1, :, 3:], torch.zeros(5, 2, 2)) and not found_x[1, 3:].any()
    torch.testing.assert_close(found_e, found_e.transpose(1, 2))
    turn = torch.tensor([3, 0, 4, 1, 2])
    other_x, other_e = score.predict(x[:, turn], e[:, turn][:, :, turn], mask[:, turn], t)
    torch.testing.assert_close(other_x, found_x[:, turn], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(other_e, found_e[:, turn][:, :, turn], atol=1e-5, rtol=1e-4)
    alone_x, alone_e = score.predict(x[1:, :3], e[1:, :3, :3], mask[1:, :3], t[1:])
    torch.testing.assert_close(alone_x, found_x[1:, :3], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(alone_e, found_e[1:, :3, :3], atol=1e-5, rtol=1e-4)


def test_only_joint_diffusion_lets_edges_speak_of_nodes():
    mask = torch.ones(1, 4, dtype=torch.bool)
    for joint in (True, False):
        score = net(paths(), joint=joint).eval()
        x, e = noise(torch.zeros(1, 4, 2), torch.zeros(1, 4, 4, 2), mask)
        t = torch.tensor([0.5])
        first, second = (score.predict(x, pair, mask, t)[0] for pair in (e, 2 * e))
        assert torch.allclose(first, second) != joint
        first, second = (score.predict(nodes, e, mask, t)[1] for nodes in (x, 2 * x))
        assert torch.allclose(first, second) != joint


def test_the_loss_is_one_for_a_silent_network_and_each_graph_shares_one_time():
    source = paths((5,) * 400)
    score = net(source)
    for layer in (score.to_x, score.to_e):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    method = JointGraphDiff(score)
    torch.manual_seed(0)
    terms = method.loss(method.views(source.batch(np.arange(400))))
    assert terms["nodes"].item() == pytest.approx(1, abs=0.1)
    assert terms["edges"].item() == pytest.approx(1, abs=0.1)


def test_samples_are_graphs_like_those_seen():
    source = paths((3, 5, 5, 5))
    score = net(source)
    torch.manual_seed(0)
    graphs = score.sample(40, steps=10)
    assert {g.num_nodes for g in graphs} == {3, 5}
    for g in graphs:
        assert torch.isfinite(g.x).all() and len(g.edge_attr) == g.num_edges
        value = {
            (u, v): w for u, v, w in zip(*g.edge_index.tolist(), g.edge_attr[:, 0].tolist(), strict=True)
        }
        assert all(u != v and value[v, u] == pytest.approx(w, abs=1e-4) for (u, v), w in value.items())


def test_a_run_from_the_name_learns_and_comes_back(tmp_path):
    source = paths((4, 5) * 8)
    small = {"encoder_options": {"width": 8, "layers": 1}, "batch_size": 16, "quiet": True}
    run = vergence.learn("jointgraphdiff", source, epochs=3, out=tmp_path / "run", **small)
    again = vergence.load(run.path)
    batch = source.batch(np.arange(3))
    with torch.no_grad():
        torch.testing.assert_close(again(batch).pooled, run.encoder(batch).pooled)
        alone = again(source.batch(np.array([2]))).pooled
    torch.testing.assert_close(alone[0], again(batch).pooled[2], atol=1e-5, rtol=1e-4)
    assert len(again.sample(3, steps=5)) == 3


def test_wrong_options_and_sources_are_told():
    with pytest.raises(BadInput, match="divide"):
        ScoreNet(2, width=9)
    with pytest.raises(BadInput, match="sets of graphs"):
        ScoreNet.for_source(vergence.open("karate"))
    with pytest.raises(BadInput, match="ScoreNet"):
        JointGraphDiff(torch.nn.Linear(2, 2))
    with pytest.raises(BadInput, match="2 steps"):
        net(paths()).sample(1, steps=1)
    with pytest.raises(BadInput, match="up to 4 nodes"):
        ScoreNet(2, 1, most=4).look_at(paths())
