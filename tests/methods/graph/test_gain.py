"""GAIN: the layer written as a loop, where walks may end, the loss by hand, edges as nodes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import leaky_relu

import vergence
from vergence.core import BadInput
from vergence.data.graph.csr import CSR
from vergence.data.graph.pyg import Data
from vergence.engine import embed
from vergence.methods.graph.encoders import stack
from vergence.methods.graph.gain import GAIN, GAINEncoder, GAINLayer, edges_as_nodes, far_pairs, near_pairs
from vergence.nets.links import Links

CONTRACT = {"exempt": {"labels": "learns who is near on walks; a test below asks whether it does"}}


def both_ways(*pairs):
    once = torch.tensor(pairs).T
    edges = torch.cat([once, once.flip(0)], dim=1)
    return edges[:, np.lexsort((edges[1], edges[0]))]


def streets(side=6):
    """A grid of streets: those that run east are of one kind, those that run north of another."""
    at = np.arange(side * side).reshape(side, side)
    east = np.stack([at[:, :-1].ravel(), at[:, 1:].ravel()], 1).tolist()
    north = np.stack([at[:-1].ravel(), at[1:].ravel()], 1).tolist()
    return both_ways(*east, *north), side * side


@pytest.mark.parametrize("attention", [True, False])
def test_a_layer_equals_the_formula_written_as_a_loop(attention):
    torch.manual_seed(0)
    layer = GAINLayer(3, 4, 5, 0.0, attention).eval()
    edges, x = both_ways((0, 1), (0, 2), (0, 3), (2, 3)), torch.randn(5, 3)
    layer.requires_grad_(False)
    h, rows = x @ layer.w.weight.T, []
    for i in range(5):  # the last one has no neighbour
        near = edges[0, edges[1] == i].tolist()
        scores = [leaky_relu(layer.attend(torch.cat([h[i], h[j]])), 0.2) if attention else 0.0 for j in near]
        shares = [math.exp(s) for s in scores]
        rows.append(
            1.5 * h[i] + sum((a / sum(shares) * h[j] for a, j in zip(shares, near, strict=True)), 0 * h[i])
        )
    torch.testing.assert_close(layer(x, Links(edges, 5)), layer.mlp(torch.stack(rows)))


def test_a_far_walk_leads_away_and_never_around_a_corner():
    # the line graph of two crossings joined by a road: 0 1 2 | 2 is the road | 2 3 4, then 5 beyond 4
    edges = both_ways((0, 1), (0, 2), (1, 2), (2, 3), (2, 4), (3, 4), (4, 5))
    roads = CSR.from_edges(edges.numpy(), 6, undirected=True)
    pairs = far_pairs(roads, np.repeat(np.arange(6), 200), 10, seed=0)
    ends = {i: set(pairs[1, pairs[0] == i].tolist()) for i in range(6)}
    # over a neighbour at the same crossing no step leads away; over the road it is 3, or 4 and on to 5
    assert ends == {0: {3, 5}, 1: {3, 5}, 2: {5}, 3: {0, 1, 5}, 4: {0, 1}, 5: {0, 1, 3}}


def test_a_near_pair_lies_within_the_walk_and_is_not_the_start():
    edges = both_ways(*((i, i + 1) for i in range(9)))
    roads = CSR.from_edges(edges.numpy(), 11, undirected=True)  # 10 is alone
    first, second = near_pairs(roads, np.repeat(np.arange(11), 300), 3, seed=1)
    apart = np.abs(first - second)
    assert set(apart.tolist()) == {1, 2, 3} and 10 not in first
    np.testing.assert_array_equal(
        near_pairs(roads, np.arange(10), 3, seed=1), near_pairs(roads, np.arange(10), 3, seed=1)
    )


def test_the_loss_is_the_formula():
    class Given(torch.nn.Module):
        out_dim = 2

        def forward(self, graph):
            return graph.x

    z = torch.tensor([[1.0, 0.0], [0.0, 3.0], [2.0, 0.0]])  # of unit length: e1, e2, e1
    terms = GAIN(Given()).loss((Data(x=z), torch.tensor([[0], [2]]), torch.tensor([[1, 1, 2]])))
    assert terms["near"].item() == pytest.approx(-math.log(1 / (1 + math.exp(-1))))
    wanted = 2 * math.log(2) - math.log(1 / (1 + math.exp(1)))
    assert terms["far"].item() == pytest.approx(wanted)


def test_edges_become_nodes_with_what_is_known_of_them_and_their_ends():
    edges = both_ways((0, 1), (1, 2), (2, 3))
    graph = Data(edge_index=edges, x=torch.arange(4.0)[:, None], num_nodes=4)
    graph.edge_attr = torch.tensor([10.0, 20.0, 30.0, 30.0, 40.0, 50.0])[:, None]  # 01 10 12 21 23 32
    labels = torch.tensor([7, 7, 8, 8, -1, -1])
    roads = edges_as_nodes(graph, "street", labels=labels)
    assert roads.data.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert roads.x.tolist() == [[15.0, 1.0], [30.0, 3.0], [45.0, 5.0]]
    assert roads.labels.tolist() == [7, 8, -1]
    with pytest.raises(BadInput, match="neither of edges nor of nodes"):
        edges_as_nodes(Data(edge_index=edges, num_nodes=4), "bare")


def test_a_batch_of_seeds_pairs_its_samples_only():
    edges, n = streets()
    roads = edges_as_nodes(Data(edge_index=edges, x=torch.randn(n, 3), num_nodes=n), "grid")
    method = GAIN(GAINEncoder(3, 8))
    batch = roads.around(np.arange(12), seed=0)
    torch.manual_seed(0)
    _, pairs, others = method.views(batch)
    assert pairs.shape[1] and pairs.max() < 12 and others.max() < 12
    assert all(torch.isfinite(t) for t in method.loss(method.views(batch)).values())


def test_the_attention_told_is_the_attention_paid():
    edges = torch.tensor([[1, 2, 0, 2], [0, 0, 1, 1]])
    graph = Data(edge_index=edges, x=torch.randn(3, 4), num_nodes=3)
    encoder = GAINEncoder(4, 8, layers=1).eval()
    ((returned, shares),) = encoder.attention(graph)
    assert (returned == edges).all() and shares.shape == (4, 1)
    torch.testing.assert_close(shares[:2].sum() + shares[2:].sum(), torch.tensor(2.0))
    (conv,) = encoder.convs
    h = conv.w(graph.x)
    heard = torch.stack([shares[0] * h[1] + shares[1] * h[2], shares[2] * h[0] + shares[3] * h[2], 0 * h[2]])
    torch.testing.assert_close(encoder.nodes(graph), conv.mlp((1 + conv.eps) * h + heard))


def test_what_does_not_fit_is_said():
    for wrong in ({"walks": ("far",)}, {"walks": ()}, {"negatives": 0}):
        with pytest.raises(BadInput, match="GAIN needs walks of 'local' and 'global'"):
            GAIN(GAINEncoder(3, 8), **wrong)
    with pytest.raises(BadInput, match="built for 3 features; the graph has 2"):
        GAINEncoder(3, 8)(Data(x=torch.zeros(2, 2), edge_index=torch.tensor([[0, 1], [1, 0]])))


def test_an_encoder_that_ends_in_relu_is_refused():
    for name, options in (("sage", {}), ("gat", {"heads": 2}), ("gin", {"norm": "none"})):
        with pytest.raises(BadInput, match="none is below 0; build it with final=False"):
            GAIN(stack(name, in_dim=3, width=8, **options))
        GAIN(stack(name, in_dim=3, width=8, **options, final=False))
    GAIN(stack("gin", in_dim=3, width=8))  # batch norm comes last
    GAIN(stack("sage", in_dim=3, width=8, act="elu"))


def test_dropout_reaches_the_dense_layers_and_their_slope_is_a_tenth():
    torch.manual_seed(0)
    layer = GAINLayer(3, 4, 5, 0.5, True)
    kinds = [type(part).__name__ for part in layer.mlp]
    assert kinds == ["Dropout", "Linear", "BatchNorm1d", "LeakyReLU"] * 3
    assert {part.negative_slope for part in layer.mlp if hasattr(part, "negative_slope")} == {0.1}
    layer.drop.p = 0.0
    edges, x = both_ways((0, 1), (0, 2)), torch.randn(3, 3)
    outputs = {tuple(layer.train()(x, Links(edges, 3)).flatten().tolist()) for _ in range(4)}
    assert len(outputs) > 1


def test_seconds_of_training_draw_walks_together_and_a_run_is_loaded_again(tmp_path):
    edges, n = streets()
    torch.manual_seed(0)
    roads = edges_as_nodes(Data(edge_index=edges, x=torch.eye(n), num_nodes=n), "grid")
    run = vergence.learn("gain", roads, epochs=60, lr=3e-3, out=tmp_path / "run", quiet=True)
    z = embed(run.encoder, roads).vectors
    np.testing.assert_allclose(embed(vergence.load(tmp_path / "run"), roads).vectors, z, rtol=1e-4, atol=1e-5)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    i, j = roads.data.edge_index.numpy()
    assert (z[i] * z[j]).sum(1).mean() > (z @ z.T).mean() + 0.2
