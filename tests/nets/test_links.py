"""Sums over links against dense matrices."""

import pytest
import torch

from vergence.nets.links import Links, with_loops

NODES, HEARERS = 7, 5


@pytest.fixture
def links():
    torch.manual_seed(0)
    source, target = torch.randint(NODES, (12,)), torch.randint(HEARERS - 1, (12,))  # the last hears nobody
    source, target = torch.cat([source, source[:1]]), torch.cat([target, target[:1]])  # one link twice
    return Links(torch.stack([source, target]), NODES, HEARERS)


def dense(links, weight):
    return torch.zeros(HEARERS, NODES, dtype=weight.dtype).index_put(
        (links.target, links.source), weight, accumulate=True
    )


def test_sums_are_products_with_the_dense_matrix(links):
    x, weight = torch.randn(NODES, 3), torch.rand(13)
    torch.testing.assert_close(links.sum(x), dense(links, torch.ones(13)) @ x)
    torch.testing.assert_close(links.sum(x, weight), dense(links, weight) @ x)
    assert links.sum(x)[-1].eq(0).all()
    own = Links(torch.stack([links.source, links.target]), NODES, HEARERS, weight=weight)
    assert torch.equal(own.sum(x), links.sum(x, weight))


def test_turned_links_are_the_transpose(links):
    y, weight = torch.randn(HEARERS, 3), torch.rand(13)
    torch.testing.assert_close(links.transposed().sum(y, weight), dense(links, weight).T @ y)
    assert torch.equal(links.transposed().transposed().sum(torch.eye(NODES)), links.sum(torch.eye(NODES)))


def test_each_head_has_weights_of_its_own(links):
    x, weight = torch.randn(NODES, 2, 3), torch.rand(13, 2)
    want = torch.stack([dense(links, weight[:, h]) @ x[:, h] for h in range(2)], 1)
    torch.testing.assert_close(links.sum(x, weight), want)
    y = torch.randn(HEARERS, 2, 3)
    torch.testing.assert_close(links.dot(y, x), (y[links.target] * x[links.source]).sum(-1))


def test_gradients_of_sums_and_dot_products_are_right(links):
    x = torch.randn(NODES, 2, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(HEARERS, 2, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(13, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(links.sum, (x, weight))
    assert torch.autograd.gradcheck(links.sum, (x[:, 0], weight[:, 0]))
    assert torch.autograd.gradcheck(links.dot, (y, x))
    assert torch.autograd.gradcheck(links.dot, (y[:, 0], x[:, 0]))


def test_shares_sum_to_one_over_what_a_node_hears_and_survive_large_scores(links):
    score = torch.randn(13, 2) + 500
    summed = torch.zeros(HEARERS, 2).index_add(0, links.target, links.softmax(score))
    torch.testing.assert_close(
        summed, (torch.bincount(links.target, minlength=HEARERS) > 0).float()[:, None].expand(-1, 2)
    )
    one = links.softmax(score[:, 0])
    torch.testing.assert_close(one, links.softmax(score)[:, 0])
    assert torch.autograd.gradcheck(links.softmax, (score.double().requires_grad_(),))


def test_few_digits_are_summed_in_float32_and_no_links_are_a_sum_of_nothing(links):
    x = torch.randn(NODES, 3)
    assert links.sum(x.bfloat16()).dtype == torch.float32
    none = torch.empty(2, 0, dtype=torch.long)
    x.requires_grad_()
    out = Links(none, NODES).sum(x)
    out.sum().backward()
    assert out.eq(0).all() and x.grad.eq(0).all()


def test_only_as_much_is_kept_for_the_way_back_as_it_needs(links):
    kept = []
    x = torch.randn(NODES, 3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        links.sum(x, torch.rand(13))
    assert kept == [(13,)]


def test_every_node_gets_one_loop():
    edges = with_loops(torch.tensor([[0, 1, 1], [1, 0, 1]]), 3)
    assert edges.tolist() == [[0, 1, 0, 1, 2], [1, 0, 0, 1, 2]]
