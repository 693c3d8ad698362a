"""LEGATO: the graph, the pooling and every term of the loss by hand."""

import numpy as np
import pytest
import torch

import vergence
from vergence.core import BadInput
from vergence.methods.tables.encoders import build, for_source
from vergence.methods.tables.legato import GCN, LEGATO, RelationalGCN, ViewGraph, off_diagonal

CONTRACT = {
    "kinds": ("numbers",),
    "exempt": {"labels": "a random graph of views is already wider than the row it comes from"},
}

PLACE = "vergence.methods.tables.legato:ViewGraph"


@pytest.fixture(scope="module")
def source():
    return vergence.open("sklearn:breast_cancer")


def encoder_of(source, **options):
    torch.manual_seed(0)
    return for_source(source, PLACE, dim=8, **options)


def test_ten_groups_of_three_become_five_nodes_of_twice_the_width(source):
    encoder = encoder_of(source)
    assert [len(group) for group in encoder.groups] == [3] * 10 and encoder.groups[0] == [0, 10, 20]
    assert (encoder.nodes, encoder.wide, encoder.out_dim) == (5, 16, 80)  # K h in total
    assert encoder_of(source, mean=True)(source.batch(np.arange(4))).shape == (4, 16)
    again = build(**encoder.spec)
    again.load_state_dict(encoder.state_dict())
    batch = source.batch(np.arange(6))
    torch.testing.assert_close(again.eval()(batch), encoder.eval()(batch))


def test_the_learned_graph_is_symmetric_its_own_diagonal_one_and_faint_edges_gone(source):
    latent = encoder_of(source).latent(torch.randn(16, 30))
    torch.testing.assert_close(latent.graph, latent.graph.mT)
    torch.testing.assert_close(latent.graph.diagonal(dim1=1, dim2=2), torch.ones(16, 10))
    edges = latent.graph[latent.graph > 0]
    assert edges.min() >= 0.1 and edges.max() < 1 + 1e-5
    torch.testing.assert_close(latent.assignment.sum(1), torch.ones(16, 5))  # softmax over input nodes
    inner = latent.assignment.mT @ latent.graph @ latent.assignment
    torch.testing.assert_close(latent.links, torch.where(inner >= 0.1, inner, 0.0))


def test_a_convolution_by_hand():
    layer = GCN(1, 1)
    torch.nn.init.ones_(layer.weight.weight)
    torch.nn.init.zeros_(layer.weight.bias)
    links = torch.tensor([[[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    out = layer(links, torch.tensor([[[2.0], [4.0], [5.0]]]))
    torch.testing.assert_close(out, torch.tensor([[[3.0], [3.0], [5.0]]]))


def test_a_node_that_has_a_loop_gets_no_second_one():
    layer = GCN(1, 1)
    torch.nn.init.ones_(layer.weight.weight)
    torch.nn.init.zeros_(layer.weight.bias)
    links = torch.tensor([[[1.0, 0.5], [0.5, 1.0]]])
    out = layer(links, torch.tensor([[[3.0], [6.0]]]))  # degrees 1.5: (3 + 3) / 1.5 and (1.5 + 6) / 1.5
    torch.testing.assert_close(out, torch.tensor([[[4.0], [5.0]]]))


def test_a_relational_convolution_is_a_sum_over_pairs_and_tells_nodes_apart():
    torch.manual_seed(0)
    own = RelationalGCN(4, 3, 2)
    torch.nn.init.normal_(own.bias)
    links, nodes = torch.rand(5, 4, 4), torch.randn(5, 4, 3)
    links = (links + links.mT) / 2
    other = own(links, nodes)
    for i in range(4):
        expected = own.bias + sum(links[:, i, j, None] * (nodes[:, j] @ own.weight[i, j]) for j in range(4))
        torch.testing.assert_close(other[:, i], expected)
    turn = torch.tensor([1, 0, 2, 3])
    assert not torch.allclose(own(links[:, turn][:, :, turn], nodes[:, turn])[:, turn], other)


def test_a_relational_encoder_learns(source):
    method = LEGATO(encoder_of(source, relational=True))
    sum(method.loss(source.batch(np.arange(12))).values()).backward()
    assert all(p.grad is not None for p in method.parameters())


def test_orthogonal_nodes_cost_nothing_and_equal_ones_all():
    assert off_diagonal(torch.eye(3)[None]).item() == pytest.approx(0.0)
    assert off_diagonal(torch.ones(2, 3, 4)).item() == pytest.approx(1.0)
    assert off_diagonal(torch.ones(2, 1, 4)).item() == pytest.approx(0.0, abs=1e-6)


def test_the_terms_are_the_stated_ones(source):
    method = LEGATO(encoder_of(source), orthogonality=0.5, sparsity=0.25).eval()
    batch = source.batch(np.arange(12))
    values = method.encoder.scaled(batch)
    latent = method.encoder.latent(values)
    result = method.loss(batch)
    gap = (latent.graph - torch.eye(10)).abs().sum() / 12
    torch.testing.assert_close(result["sparsity"], 0.25 * gap)
    spread = method.unassign(latent.links, latent.nodes).softmax(2)
    back = spread.mT @ latent.links @ spread
    assert (back < 0.1).any(), "faint edges of the rebuilt graph are cut as those of the others are"
    apart = (latent.graph - torch.where(back >= 0.1, back, 0.0)).norm() / 12
    torch.testing.assert_close(result["graph"], apart)
    torch.testing.assert_close(result["orthogonality"], 0.5 * off_diagonal(latent.nodes))
    for decoder in method.decoders:  # a decoder that says 0 leaves the mean square of the values
        torch.nn.init.zeros_(decoder[-1].weight)
        torch.nn.init.zeros_(decoder[-1].bias)
    torch.testing.assert_close(method.loss(batch)["views"], values.square().mean())


def test_a_complete_graph_is_all_ones_and_needs_no_learner(source):
    encoder = encoder_of(source, complete=True)
    assert encoder.relate is None
    assert torch.equal(encoder.latent(torch.randn(3, 30)).graph, torch.ones(3, 10, 10))


def test_what_does_not_fit_is_said(source):
    with pytest.raises(BadInput, match="ViewGraph"):
        LEGATO(for_source(source, "mlp", dim=4))
    with pytest.raises(BadInput, match="groups"):
        ViewGraph(["a", "b"], {}, groups=[[0, 1]])
