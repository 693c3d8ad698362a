"""EHGNN: the dual and its cost, the convolution as matrices, who is dropped, the bottleneck, a run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vergence
from vergence.core import BadInput
from vergence.data.graph.pyg import Data
from vergence.data.graph.source import GraphsSource, NodeSource
from vergence.engine import embed
from vergence.methods.graph.ehgnn import EHGNN, Dual, HyperCluster, HyperConv, HyperDrop, HyperEncoder, dual

CONTRACT = {
    "kinds": ("graphs",),
    "exempt": {"two": "views of a whole batch of graphs, drawn by chance, cannot be divided"},
}


def trees(count=24, seed=0, attr=True):
    """Trees whose edges are of the kind of their ends: 0 of equal, 1 of different atoms, 2 at the root."""
    rng = np.random.default_rng(seed)
    x, pairs, kinds, ptr = [], [], [], [0]
    for _ in range(count):
        n, start = int(rng.integers(5, 12)), ptr[-1]
        atoms = rng.integers(0, 2, n)
        ends = np.stack([[rng.integers(0, i) for i in range(1, n)], np.arange(1, n)])
        kind = np.where(ends[0] == 0, 2, (atoms[ends[0]] != atoms[ends[1]]).astype(int))
        x.append(np.eye(2)[atoms])
        pairs += [ends + start, ends[::-1] + start]
        kinds += [kind, kind]
        ptr.append(start + n)
    edges = np.concatenate(pairs, axis=1)
    order = np.lexsort((edges[1], edges[0]))
    graph = Data(
        x=torch.tensor(np.concatenate(x), dtype=torch.float32), edge_index=torch.from_numpy(edges[:, order])
    )
    if attr:
        graph.edge_attr = torch.eye(3)[np.concatenate(kinds)[order]]
    labels = np.arange(count) % 2
    return GraphsSource(graph, np.array(ptr), "trees", labels=labels)


def batch(count=24, **options):
    return trees(count, **options).batch(np.arange(count))


def test_the_dual_is_the_transposed_incidence():
    graph = batch(1)
    result, n = dual(graph), graph.num_nodes
    edges = [tuple(pair) for pair in graph.edge_index.T.tolist() if pair[0] < pair[1]]
    lonely = torch.bincount(graph.edge_index[0]) == 1
    transposed = {(e, v) for e, ends in enumerate(edges) for v in ends if not lonely[v]}
    shared = result.incidence[:, result.incidence[1] < n]
    assert {tuple(pair) for pair in shared.T.tolist()} == transposed
    own, m = result.incidence[:, result.incidence[1] >= n], len(edges)
    assert own.tolist() == [list(range(m)), list(range(n, n + m))]


def test_the_dual_grows_with_the_edges_not_with_the_square_of_a_hubs_degree():
    star = torch.stack([torch.zeros(300, dtype=torch.long), torch.arange(1, 301)])
    both = torch.cat([star, star.flip(0)], dim=1)
    graph = Data(
        x=torch.ones(301, 1), edge_index=both, batch=torch.zeros(301, dtype=torch.long), num_graphs=1
    )
    assert dual(graph).incidence.shape[1] == 600  # each edge at the hub, and its own


def test_a_convolution_is_the_product_of_the_matrices():
    torch.manual_seed(0)
    graph = batch(3)
    result, conv = dual(graph), HyperConv(3, 4)
    e = torch.randn(result.ends.shape[1], 3)
    m = torch.zeros(int(result.incidence[1].max()) + 1, len(e))
    m[result.incidence[1], result.incidence[0]] = 1
    d, b = m.sum(0), m.sum(1).clamp(min=1)
    wanted = torch.diag(1 / d) @ m.T @ torch.diag(1 / b) @ m @ conv.theta(e) + conv.bias
    torch.testing.assert_close(conv(e, result.incidence), wanted)


def test_drop_keeps_the_best_share_of_each_graph_and_all_nodes():
    graph = batch(6)
    result = dual(graph)
    net = HyperDrop(2, 3, width=4, ratio=0.5)
    torch.manual_seed(0)
    score = torch.rand(len(result.graph))
    kept = net.choose(score, result)
    for g in range(6):
        inside = result.graph == g
        assert kept[inside].sum() == -(-inside.sum() // 2)
        assert score[inside & kept].min() > score[inside & ~kept].max()
    part = result.keep(kept, graph.num_nodes)
    assert torch.equal(part.ends, result.ends[:, kept]) and torch.equal(part.column, result.column[kept])
    assert net(graph).pooled.shape == (6, 12)


def test_all_edges_kept_are_all_edges_weighed():
    torch.manual_seed(0)
    graph, net = batch(4), HyperDrop(2, 3, width=4, ratio=1.0).eval()
    assert net.choose(torch.randn(len(dual(graph).graph)), dual(graph)).all()
    before = net(graph).pooled
    for conv in net.scores:
        conv.bias.data.fill_(100.0)  # every score is 1: a plain stack of graph convolutions
    x, total = graph.x, 0
    for conv in net.convs:
        x = conv(x, conv.links(graph.edge_index, len(x))).relu()
        total = total + torch.stack([x[graph.batch == g].mean(0) for g in range(4)])
    torch.testing.assert_close(net(graph).pooled[:, 4:8], total)
    assert not torch.allclose(before, net(graph).pooled)


def test_edges_that_carry_nothing_are_ones():
    source = trees(4, attr=False)
    torch.manual_seed(0)
    net = HyperDrop.for_source(source, width=4)
    assert net.hyperconvs[0].theta.in_features == 1
    graph = source.batch(np.arange(4))
    before = net(graph).pooled
    graph.edge_attr = torch.ones(graph.num_edges, 1)
    torch.testing.assert_close(net(graph).pooled, before)


def test_the_score_gets_a_gradient_where_it_is_not_clamped():
    torch.manual_seed(0)
    graph, net = batch(8), HyperDrop(2, 3, width=8)
    for conv in net.scores:
        conv.bias.data.fill_(0.1)
    net(graph).pooled.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert all(conv.theta.weight.grad.abs().sum() > 0 for conv in net.scores)


def test_clusters_are_sums_of_their_own_graph_and_come_back_to_edges():
    torch.manual_seed(0)
    graph = batch(3)
    result, pool = dual(graph), HyperCluster(4, 2)
    e = torch.randn(result.ends.shape[1], 4)
    clusters, share = pool(e, result)
    key, value = pool.key(e, result.incidence), pool.value(e, result.incidence)
    torch.testing.assert_close(share, (key @ pool.query(pool.seeds).T / 2).softmax(1))
    for g in range(3):
        inside = result.graph == g
        pooled = pool.query(pool.seeds) + share[inside].T @ value[inside]
        torch.testing.assert_close(clusters[g], pooled + pool.last(pooled).relu())
    torch.testing.assert_close(share.sum(1), torch.ones(len(e)))
    back = pool.unpool(clusters, share, result)
    torch.testing.assert_close(back[-1], share[-1] @ clusters[2])


@pytest.mark.parametrize("attr", [True, False])
def test_the_bottleneck_is_a_share_of_the_mean_number_of_edges(attr):
    source = trees(attr=attr)
    method = EHGNN(HyperEncoder.for_source(source), ratio=0.25)
    method.setup(source)
    mean = source.data.num_edges / 2 / 24
    assert len(method.cluster.seeds) == -(-mean * 0.25 // 1)
    assert set(method.loss(source.batch(np.arange(24)))) == ({"kind"} if attr else {"squared_error"})


def test_a_graph_without_edges_has_vectors_of_zeros():
    graph = Data(x=torch.ones(3, 2), edge_index=torch.tensor([[0, 1], [1, 0]]), edge_attr=torch.ones(2, 3))
    graph.batch, graph.num_graphs = torch.tensor([0, 0, 1]), 2
    z = HyperEncoder(3, 4)(graph).pooled
    assert z.shape == (2, 12) and (z[1] == 0).all()
    assert isinstance(dual(graph), Dual)
    assert torch.isfinite(HyperDrop(2, 3, width=4)(graph).pooled).all()


def test_what_does_not_fit_is_said():
    with pytest.raises(BadInput, match="built for 5 edge features; the graph has 3"):
        HyperEncoder(5)(batch(2))
    with pytest.raises(BadInput, match="is one graph"):
        EHGNN(HyperEncoder(3)).setup(
            NodeSource(Data(edge_index=torch.zeros(2, 0).long(), num_nodes=2), "one")
        )
    with pytest.raises(BadInput, match="leave --encoder out"):
        EHGNN(torch.nn.Linear(2, 2))
    with pytest.raises(BadInput, match=r"ratio in \(0, 1\]"):
        HyperDrop(2, 3, ratio=0.0)


def test_seconds_of_training_carry_kinds_through_the_bottleneck_and_a_run_is_loaded_again(tmp_path):
    source = trees(64)
    method = EHGNN(HyperEncoder.for_source(source, width=16), ratio=0.3)
    run = vergence.learn(method, source, epochs=40, lr=0.01, batch_size=32, out=tmp_path / "run", quiet=True)
    other = batch(24, seed=7)
    result = dual(other)
    right = method.reconstruct(other, result).argmax(1) == other.edge_attr[result.column].argmax(1)
    common = other.edge_attr[result.column].mean(0).max()
    assert right.float().mean() > common + 0.1
    vectors = embed(run.encoder, source).vectors
    np.testing.assert_allclose(embed(vergence.load(tmp_path / "run"), source).vectors, vectors, rtol=1e-5)
