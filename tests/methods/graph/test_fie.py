"""FIE: the EM step as a loop, the kernel on its anchors, k-means, and what a neighbourhood is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from vergence.core import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import NodeSource
from vergence.methods.graph.encoders import build as build_encoder
from vergence.methods.graph.fie import (
    FIE,
    FIELayer,
    KernelMap,
    adjacency_with_loops,
    em_step,
    spherical_kmeans,
)

SMALL = {"width": 16, "mixtures": 3, "depth": 2}


@pytest.fixture
def source():
    rng = np.random.default_rng(0)
    x = rng.random((50, 7)).astype(np.float32)
    return NodeSource(build(Edges(rng.integers(0, 45, (2, 120)), 50), "t", x=x)[0], "t")


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def test_one_em_step_from_the_means_is_the_formula_written_as_loops(source):
    x, means = torch.randn(50, 7), normalize(torch.randn(3, 7), dim=1)
    result = em_step(x, means, adjacency_with_loops(source.whole_graph()), variance=0.5)
    near = [{i} for i in range(50)]
    for j, i in source.data.edge_index.T.tolist():
        near[i].add(j)
    for i in range(50):
        for p in range(3):
            top, total = torch.zeros(7), 0.0
            for j in near[i]:
                rise = [math.exp(float(means[q] @ x[j]) / float(x[j].norm()) / 0.5) for q in range(3)]
                top, total = top + rise[p] / sum(rise) * x[j], total + rise[p] / sum(rise)
            torch.testing.assert_close(result[i, p], top / total, atol=1e-5, rtol=1e-4)


def test_one_component_is_the_mean_of_the_neighbourhood_less_mu(source):
    layer = FIELayer(7, 1, 1.0)
    layer.means.copy_(normalize(torch.randn(1, 7), dim=1))
    graph = source.whole_graph()
    hears = adjacency_with_loops(graph).to_dense()
    want = hears @ graph.x / hears.sum(1, keepdim=True) - layer.means
    torch.testing.assert_close(layer(graph.x, adjacency_with_loops(graph)), want)


def test_a_lonely_node_hears_itself_and_a_loop_counts_once():
    x = np.eye(3, dtype=np.float32)
    graph = NodeSource(build(Edges(np.array([[0, 0], [1, 0]]), 3), "t", x=x)[0], "t").whole_graph()
    assert adjacency_with_loops(graph).to_dense().tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_products_of_mapped_anchors_are_the_kernel_matrix():
    kernel, w = KernelMap(6, 10, 0.8), normalize(torch.randn(10, 6), dim=1)
    kernel.place(w)
    z = kernel(w)
    torch.testing.assert_close(z @ z.T, ((w @ w.T - 1) / 0.64).exp(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(kernel(3 * w), 3 * z, atol=1e-4, rtol=1e-4)  # homogeneous in length
    assert (kernel(torch.zeros(1, 6)) == 0).all()


def test_anchors_that_repeat_stay_finite():
    kernel, w = KernelMap(4, 6, 1.0), normalize(torch.randn(1, 4), dim=1).expand(6, -1)
    kernel.place(w)
    assert torch.isfinite(kernel(torch.randn(5, 4))).all()


def test_kmeans_finds_directions_whatever_the_seed():
    true = torch.eye(4)
    x = normalize(true.repeat_interleave(50, 0) + 0.1 * torch.randn(200, 4, generator=draws()), dim=1)
    starts = [spherical_kmeans(x, 4, generator=draws(seed)) for seed in range(8)]
    served = [float((x @ c.T).amax(1).mean()) for c in starts]
    assert max(served) > 0.98
    best = starts[int(np.argmax(served))]
    assert torch.allclose(best.norm(dim=1), torch.ones(4)) and ((best @ true).amax(1) > 0.98).all()
    twice = x[:1].expand(6, -1)
    assert torch.isfinite(spherical_kmeans(twice, 3, generator=draws())).all()


def test_fit_is_repeated_by_its_seed_and_built_again(source):
    first, again, other = (FIE(**SMALL).fit(source, seed=s).transform(source) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (50, 2 * 16 + 3 * 16) and not np.array_equal(first, other)
    net = FIE(**SMALL).fit(source, seed=1).encoder
    made = build_encoder(**net.spec)
    made.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(made(source.whole_graph()).pooled.numpy(), first)


def test_numbers_of_nodes_do_not_matter(source):
    net, batch = FIE(**SMALL).fit(source).encoder, source.whole_graph()
    turn = torch.randperm(50, generator=draws())
    other = batch.clone()
    other.x, other.edge_index = batch.x[turn], torch.argsort(turn)[batch.edge_index]
    torch.testing.assert_close(net(other).pooled, net(batch).pooled[turn], rtol=1e-4, atol=1e-5)


def test_wrong_options_are_told(source):
    with pytest.raises(BadInput, match="sigma and variance above 0"):
        FIE(sigma=0.0)
    with pytest.raises(BadInput, match="as many nodes as mixtures; got 50 and 60"):
        FIE(mixtures=60, width=4).fit(source)
