"""Bandana: bandwidths in their limits, the layer and the loss by hand, honest negatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vergence.core import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import GraphsSource, NodeSource
from vergence.methods.graph import encoders
from vergence.methods.graph.bandana import Bandana, bandwidths
from vergence.methods.graph.views import negatives

CONTRACT = {
    "kinds": ("", "graphs"),
    "encoder": {"width": 32},
    "exempt": {
        "two": "views of a whole batch of graphs, drawn by chance, cannot be divided",
        "labels": "tells links and their widths, which need not tell sorts apart",
    },
}


def source(n=50, links=120, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    graph, _ = build(Edges(rng.integers(0, n, (2, links)), n), "test", x=x)
    return NodeSource(graph, "test")


def method(src=None, encoder=None, **options):
    torch.manual_seed(0)
    return Bandana(encoder or encoders.for_source(src or source(), "gcn", width=8, concat=True), **options)


def into(graph, values):
    return torch.zeros(len(graph.x)).index_add(0, graph.edge_index[1], values)


def test_a_nodes_bandwidths_sum_to_one_and_the_two_directions_differ():
    graph = source().whole_graph()
    width = bandwidths(graph, 0.9)
    heard = torch.bincount(graph.edge_index[1], minlength=50) > 0
    torch.testing.assert_close(into(graph, width), heard.float())
    back = {tuple(edge): w for edge, w in zip(graph.edge_index.T.tolist(), width.tolist(), strict=True)}
    assert any(abs(w - back[v, u]) > 0.01 for (u, v), w in back.items())


def test_bandwidths_in_the_limits_are_one_over_the_degree_and_one_hot():
    graph = source().whole_graph()
    target = graph.edge_index[1]
    degree = torch.bincount(target, minlength=50).float()
    torch.testing.assert_close(bandwidths(graph, 1e6), 1 / degree[target], rtol=1e-4, atol=1e-5)
    hard = bandwidths(graph, 1e-6)
    assert ((hard - hard.round()).abs() < 1e-4).all() and hard.sum() == (degree > 0).sum()


def test_each_layer_and_each_step_draws_its_own_and_loops_are_left_out():
    rows = torch.tensor([[0, 1, 1, 2, 2], [1, 0, 2, 1, 2]])
    graph, _ = build(Edges(rows.numpy(), 3), "loop", x=np.eye(3, 6, dtype=np.float32))
    assert (graph.edge_index[0] == graph.edge_index[1]).any()
    model = method()
    view = model.views(NodeSource(graph, "loop").whole_graph())
    assert view.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert view.bandwidths.shape == (2, 4)
    big = source().whole_graph()
    first, second = model.views(big).bandwidths, model.views(big).bandwidths
    assert not torch.allclose(first[0], first[1]) and not torch.allclose(first, second)


def test_a_layer_by_hand():
    """Widths first, then D^-1/2 (B + I) D^-1/2 x W: every node that hears somebody has degree 2."""
    src = source()
    model = method(src).eval()
    view = model.views(src.whole_graph())
    dense = torch.zeros(50, 50)
    dense[view.edge_index[1], view.edge_index[0]] = view.bandwidths[0]
    dense += torch.eye(50)
    scale = dense.sum(1).rsqrt()
    conv = model.encoder.convs[0]
    by_hand = (scale[:, None] * dense * scale) @ (src.x @ conv.lin.weight.T) + conv.bias
    torch.testing.assert_close(model.layers(view)[0], by_hand.relu(), rtol=1e-4, atol=1e-5)


def test_with_all_widths_one_the_layers_are_the_encoders_own():
    src = source()
    model = method(src).eval()
    view = model.views(src.whole_graph())
    view.bandwidths = torch.ones_like(view.bandwidths)
    torch.testing.assert_close(torch.cat(model.layers(view), 1), model.embed(view), rtol=1e-4, atol=1e-5)


def test_the_loss_of_one_layer_by_hand():
    model = method(dropout=0.0)
    z = torch.randn(4, 8)
    edges, width = torch.tensor([[0, 1], [1, 0]]), torch.tensor([0.3, 1.0])
    pairs = torch.tensor([[2, 0, 1], [3, 2, 3]])

    def chance(u, v, which):
        logits = model.decoder(z[u] * z[v]).tolist()
        return math.exp(logits[which]) / sum(math.exp(value) for value in logits)

    by_hand = -(0.3 * math.log(chance(0, 1, 0)) + math.log(chance(1, 0, 0))) / 2
    by_hand -= sum(math.log(chance(u, v, 1)) for u, v in pairs.T.tolist()) / 3
    assert model.edge_cost(z, edges, width, pairs).item() == pytest.approx(by_hand, rel=1e-5)


def test_the_loss_is_the_mean_over_layers():
    src = source()
    model = method(src).eval()
    view = model.views(src.whole_graph())
    both = zip(model.layers(view), view.bandwidths, strict=True)
    each = [model.edge_cost(z, view.edge_index, width, view.negatives).item() for z, width in both]
    assert model.loss(view)["edges"].item() == pytest.approx(sum(each) / 2)


def test_negatives_are_neither_edges_nor_loops():
    graph = source(n=12, links=60).whole_graph()
    edges = set(map(tuple, graph.edge_index.T.tolist()))
    drawn = [tuple(pair) for _ in range(20) for pair in negatives(graph).T.tolist()]
    assert not edges & set(drawn) and all(u != v for u, v in drawn)
    free = 12 * 11 - len({(u, v) for u, v in edges if u != v})
    assert len(set(drawn)) == free  # and every other pair is drawn some time


def test_negatives_stay_within_a_graph_of_a_set():
    ring = np.stack([np.arange(6), (np.arange(6) + 1) % 6])
    every, _ = build(Edges(np.concatenate([ring, ring + 6], 1), 12), "rings")
    batch = GraphsSource(every, np.array([0, 6, 12]), "rings").batch(np.arange(2))
    first, second = negatives(batch)
    assert torch.equal(first // 6, second // 6) and len(first)


def test_it_learns_which_pairs_are_linked():
    """Two cliques joined by nothing: pairs within are edges, pairs across are not."""
    clique = np.stack(np.triu_indices(8, 1))
    x = np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32)
    graph, _ = build(Edges(np.concatenate([clique, clique + 8], 1), 16), "cliques", x=x)
    src = NodeSource(graph, "cliques")
    model = method(src, dropout=0.0)
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=0.02), []
    for _ in range(80):
        loss = model.loss(model.views(src.whole_graph()))["edges"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.3 * losses[0]


def test_what_it_cannot_use_is_refused():
    alone, _ = build(Edges(np.empty((2, 0), int), 4), "alone", x=np.ones((4, 6), np.float32))
    with pytest.raises(BadInput, match="has none"):
        method().views(NodeSource(alone, "alone").whole_graph())
    with pytest.raises(BadInput, match="needs the encoder gcn"):
        method(encoder=encoders.build("sage", in_dim=6, width=8))
    with pytest.raises(BadInput, match="one width"):
        method(encoder=encoders.build("gcn", in_dim=6, width=(8, 4)))
    with pytest.raises(BadInput, match="temperature"):
        method(temperature=0.0)
