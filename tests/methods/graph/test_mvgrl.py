"""MVGRL: its two views written as dense matrices, its two estimators written as loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import vergence
from two_processes import rings
from vergence.core import BadInput
from vergence.data.graph.pyg import Batch, Data
from vergence.engine import embed
from vergence.methods.graph import encoders, mvgrl
from vergence.methods.graph.mvgrl import MVGRL, TwoViews

CONTRACT = {
    "kinds": ("", "graphs"),
    "encoder": {"width": 128},
    "learn": {"epochs": 40},
    "exempt": {
        "labels": "80 steps gain next to nothing on a graph this small (76 %, untrained 75)",
        "learns graph-graphs": "a training of seconds takes 20 on sets of graphs; of one graph it is asked",
    },
    "two": {
        "": {"source": rings, "encoder": {"width": 8}, "views": lambda method: lambda batch: (batch, None)}
    },
}


def ring(n=7, width=5):
    a = torch.arange(n)
    ends = torch.stack([torch.cat([a, (a + 1) % n]), torch.cat([(a + 1) % n, a])])
    x = torch.randn(n, width, generator=torch.Generator().manual_seed(0))
    return Data(x=x, edge_index=torch.cat([ends, torch.tensor([[0, 3], [3, 0]])], dim=1))


def two_graphs():
    """A triangle and a path of four."""
    pairs = torch.tensor([[0, 1], [1, 2], [2, 0], [3, 4], [4, 5], [5, 6]]).T
    batch = Batch(
        edge_index=torch.cat([pairs, pairs.flip(0)], dim=1),
        batch=torch.tensor([0, 0, 0, 1, 1, 1, 1]),
        ptr=torch.tensor([0, 3, 7]),
    )
    batch.x = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    batch.num_nodes = 7
    return batch


def dense(graph, alpha, least):
    """D^-1/2 (A + I) D^-1/2 and its PageRank by the power series."""
    n = len(graph.x)
    a = torch.eye(n, dtype=torch.float64)
    a[graph.edge_index[0], graph.edge_index[1]] = 1
    t = a / (a.sum(1)[:, None] * a.sum(1)).sqrt()
    s = sum(alpha * (1 - alpha) ** k * torch.linalg.matrix_power(t, k) for k in range(200))
    return t.float(), torch.where(s >= least, s, 0).float()


def two_views(**options):
    torch.manual_seed(0)
    encoder = TwoViews(5, width=4, **options)
    for bias in encoder.parameters():
        if bias.ndim == 1 and len(bias) > 1:
            torch.nn.init.normal_(bias)
    return encoder


def whole(matrix):
    return matrix.sum(torch.eye(matrix.out_of.shape[0]))


def test_nodes_are_prelu_layers_along_edges_and_along_pagerank_and_both_are_added():
    graph, encoder = ring(), two_views(layers=2, least=0.1)
    matrices = dense(graph, 0.2, 0.1)
    assert 0 < (matrices[1] == 0).float().mean() < 1
    wanted = torch.zeros(7, 4)
    for tower, s in zip(encoder.towers, matrices, strict=True):
        h = graph.x
        for linear, bias, act in zip(tower.linears, tower.biases, tower.acts, strict=True):
            h = act(s @ h @ linear.weight.T + bias)
        wanted += h
    torch.testing.assert_close(encoder(graph).pooled, wanted)


def test_the_matrices_follow_the_graph_and_only_one_view_is_diffused():
    graph, encoder = ring(), two_views()
    first, second = (whole(matrix) for matrix in encoder.matrices(graph))
    torch.testing.assert_close((first, second), dense(graph, 0.2, 1e-3))
    fewer = Data(x=graph.x, edge_index=graph.edge_index[:, :-2])
    torch.testing.assert_close(whole(encoder.matrices(fewer)[0]), dense(fewer, 0.2, 1e-3)[0])
    first, second = (whole(matrix) for matrix in two_views(diffusion="none").matrices(graph))
    assert torch.equal(first, second)
    warm = two_views(diffusion="heat", least=1e-12).matrices(graph)[1]
    torch.testing.assert_close(whole(warm).sum(0), torch.ones(7))
    torch.testing.assert_close(whole(warm.transposed()), whole(warm).T)


def test_large_graphs_are_pushed_to_nearly_the_same_matrix(monkeypatch):
    graph = ring(30)
    exact = whole(two_views(least=0.01).matrices(graph)[1])
    monkeypatch.setattr(mvgrl, "EXACT", 10)
    pushed = whole(two_views(least=0.01).matrices(graph)[1])
    assert (exact - pushed).abs().max() < 0.013 and pushed.sum() > 0.85 * exact.sum()


def test_negatives_have_other_nodes_features_and_their_own_edges():
    graph, encoder = ring(), two_views(layers=2)
    order = torch.tensor([3, 0, 1, 2, 6, 4, 5])
    shuffled = Data(x=graph.x[order], edge_index=graph.edge_index)
    for (_, negatives), (own, _) in zip(
        encoder.towers_on(graph, order), encoder.towers_on(shuffled), strict=True
    ):
        torch.testing.assert_close(negatives, own)


def test_the_cost_of_nodes_is_cross_entropy_over_four_groups():
    graph, method = ring(), MVGRL(two_views())
    order = torch.tensor([3, 0, 1, 2, 6, 4, 5])
    with torch.no_grad():
        method.bias.fill_(0.3)
        result = method.loss((graph, order))["contrast"].item()
        sides = [(own[0], other[0]) for own, other in method.encoder.towers_on(graph, order)]
        total = 0.0
        for (h, n), (across, _) in zip(sides, sides[::-1], strict=True):
            c = torch.sigmoid(across.mean(0))
            for i in range(7):
                mine, other = (v[i] @ method.weight @ c + 0.3 for v in (h, n))
                total -= math.log(torch.sigmoid(mine)) + math.log(1 - torch.sigmoid(other))
    assert result == pytest.approx(total / 28, rel=1e-5)


def test_the_cost_of_graphs_sets_nodes_of_a_graph_against_nodes_of_others():
    graph, method = two_graphs(), MVGRL(two_views(readout="sum", layers=2))
    with torch.no_grad():
        result = method.loss(method.views(graph))["contrast"].item()
        (h1, g1), (h2, g2) = method.encoder.locals_and_globals(graph)
    assert g1.shape == (2, 4)
    wanted = 0.0
    for h, g in ((h1, g2), (h2, g1)):
        mine, others = [], []
        for i in range(7):
            for j in range(2):
                score = float(h[i] @ g[j])
                same = graph.batch[i] == j
                (mine if same else others).append(math.log1p(math.exp(-score if same else score)))
        wanted += np.mean(mine) + np.mean(others)
    assert result == pytest.approx(wanted, rel=1e-4)


def test_a_graph_is_the_sum_over_its_nodes_of_every_layer_behind_the_head():
    graph, encoder = two_graphs(), two_views(readout="sum", layers=2)
    wanted = torch.zeros(2, 4)
    for layers, _ in encoder.towers_on(graph):
        nodes = torch.cat(layers, dim=1)
        wanted += encoder.of_graph(torch.stack([nodes[:3].sum(0), nodes[3:].sum(0)]))
    torch.testing.assert_close(encoder(graph).pooled, wanted)


def test_the_gradient_goes_back_along_the_transpose():
    encoder = two_views(diffusion="heat").double()
    matrix = encoder.matrices(ring())[1]
    h = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(matrix.sum, h)


def test_a_run_learns_and_its_encoder_is_loaded_again(tmp_path):
    club = vergence.open("karate")
    run = vergence.learn(
        "mvgrl", club, epochs=20, encoder_options={"width": 16}, out=tmp_path / "run", quiet=True
    )
    costs = [row["loss"] for row in run.metrics]
    assert costs[0] == pytest.approx(math.log(2), abs=0.05) and costs[-1] < costs[0]
    again = vergence.load(tmp_path / "run")
    np.testing.assert_array_equal(embed(again, club).vectors, embed(run.encoder, club).vectors)


def test_wrong_settings_are_named():
    with pytest.raises(BadInput, match="TwoViews; got GraphEncoder"):
        MVGRL(encoders.build("gcn", in_dim=5))
    with pytest.raises(BadInput, match="pprr"):
        TwoViews(5, diffusion="pprr")
    with pytest.raises(BadInput, match="least above 0"):
        TwoViews(5, least=0.0)
    with pytest.raises(BadInput, match="built for 5 node features; the graph has 9"):
        TwoViews(5)(ring(width=9))
