"""SuperGAT: its four forms of attention by hand, edges against non-edges, and what is kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import vergence
from vergence.core import BadInput, Clock
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import NodeSource
from vergence.methods.graph.encoders import for_source
from vergence.methods.graph.supergat import (
    PLACE,
    AttentionNet,
    SuperGAT,
    SuperGATLayer,
    non_edges,
)
from vergence.nets.links import Links, with_loops

CONTRACT = {"exempt": {"labels": "80 steps gain nothing beside the untrained (58 %, these up to 71)"}}

EDGES = torch.tensor([[0, 1, 1, 2, 2], [1, 0, 2, 1, 2]])  # a path 0-1-2 with a loop at 2


def parts(n=60, seed=0):
    """Three kinds of nodes, links mostly within a kind."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    pairs = np.argwhere(np.triu(rng.random((n, n)) < np.where(y[:, None] == y, 0.3, 0.03), 1)).T
    x = (rng.random((n, 12)) < 0.15 + 0.3 * (np.arange(12) % 3 == y[:, None])).astype(np.float32)
    return NodeSource(build(Edges(pairs, n), "parts", x=x, y=y)[0], "parts")


@pytest.mark.parametrize("form", ["go", "dp", "sd", "mx"])
def test_scores_and_answer_are_the_formulas_written_as_loops(form):
    layer = SuperGATLayer(5, 4, 3, form=form, average=False, dropout=0.0)
    x = torch.randn(3, 5)
    edges = with_loops(EDGES, 3)
    links = Links(edges, 3)
    h = layer.project(x)
    for head in range(3):
        w = layer.weight[:, 4 * head : 4 * head + 4]
        v = x @ w
        raw, logit = {}, {}
        for j, i in edges.T.tolist():
            s = float(v[i] @ v[j])
            go = float(torch.cat([layer.a[0, head], layer.a[1, head]]) @ torch.cat([v[i], v[j]])) if (
                form in ("go", "mx")
            ) else 0.0  # fmt: skip
            raw[i, j] = {"go": go, "dp": s, "sd": s / 2, "mx": go / (1 + math.exp(-s))}[form]
            logit[i, j] = s if form == "mx" else raw[i, j]
        result = layer.scores(h, links)[:, head]
        assert result.tolist() == pytest.approx([raw[i, j] for j, i in edges.T.tolist()], abs=1e-5)
        for i in range(3):
            near = [j for (k, j) in raw if k == i]
            rise = [math.exp(max(raw[i, j], 0.2 * raw[i, j])) for j in near]
            want = sum(r / sum(rise) * v[j] for r, j in zip(rise, near, strict=True))
            got = layer(h, links)[i, 4 * head : 4 * head + 4]
            torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)
    want = links.dot(h, h) if form == "mx" else layer.scores(h, links)
    torch.testing.assert_close(layer.joined(h, links), want.mean(1))


def test_go_without_self_supervision_is_gat():
    gat = pytest.importorskip("torch_geometric.nn").GATConv(5, 4, heads=2)
    layer = SuperGATLayer(5, 4, 2, form="go", average=False, dropout=0.0)
    with torch.no_grad():
        layer.weight.copy_(gat.lin.weight.T)
        layer.a.copy_(torch.cat([gat.att_dst, gat.att_src]))
    x = torch.randn(3, 5)
    torch.testing.assert_close(layer(layer.project(x), Links(with_loops(EDGES, 3), 3)), gat(x, EDGES))


def test_non_edges_are_neither_edges_nor_loops():
    edges = torch.from_numpy(parts().data.edge_index.numpy())
    result = non_edges(edges, 60, 500)
    assert result.shape == (2, 500) and (result[0] != result[1]).all()
    present = set(map(tuple, edges.T.tolist()))
    assert not present & set(map(tuple, result.T.tolist()))
    full = torch.cartesian_prod(torch.arange(4), torch.arange(4)).T
    assert non_edges(full, 4, 10).shape == (2, 0)


def test_asked_pairs_are_the_stated_shares_without_loops():
    source = parts()
    method = SuperGAT(for_source(source, PLACE), edge_share=0.5, negatives=0.25)
    graph = source.whole_graph()
    graph.edge_index = with_loops(graph.edge_index, 60)
    edges = source.data.num_edges
    pairs, truth = method.edge_pairs(graph)
    assert int(truth.sum()) == edges // 2 and len(truth) == edges // 2 + int(0.25 * (edges // 2))
    assert (pairs[0] != pairs[1]).all()
    assert len(torch.unique(pairs[:, truth == 1], dim=1).T) == edges // 2  # without repetition


def test_only_training_labels_are_looked_at():
    source = parts(180)
    method = SuperGAT(for_source(source, PLACE, dropout=0.0), edge_weight=0.0)
    method.setup(source)
    assert method.teaches.sum() == 18 and method.judges.sum() == 18
    graph = source.whole_graph()
    before = float(method.loss(graph)["label"].detach())
    graph.label = torch.where(method.teaches, graph.label, (graph.label + 1) % 3)
    assert float(method.loss(graph)["label"].detach()) == before
    graph.label = (graph.label + method.teaches.long()) % 3
    assert float(method.loss(graph)["label"].detach()) != before


def test_edge_term_is_the_weighted_sum_over_layers(monkeypatch):
    source = parts()
    method = SuperGAT(for_source(source, PLACE, dropout=0.0), edge_weight=3.0)
    method.setup(source)
    graph = source.whole_graph()
    pairs, truth = method.edge_pairs(graph)
    monkeypatch.setattr(method, "edge_pairs", lambda _: (pairs, truth))
    want = 0.0
    for layer, h, _ in method.encoder.layers(graph):
        p = layer.joined(h, Links(pairs, 60)).sigmoid()
        want -= float((truth * p.log() + (1 - truth) * (1 - p).log()).mean())
    assert float(method.loss(graph)["edge"].detach()) == pytest.approx(3.0 * want, rel=1e-4)


def test_best_on_validation_is_what_is_left(monkeypatch):
    source = parts()
    method = SuperGAT(for_source(source, PLACE))
    method.setup(source)
    draws = iter([0.2, 0.9, 0.9, 0.3])
    monkeypatch.setattr(method, "validation", lambda: next(draws))
    for step in range(1, 5):
        with torch.no_grad():
            method.encoder.first.bias.fill_(step)
        method.step_end(Clock(step=step, total=4))
    assert (method.encoder.first.bias == 3).all()


def edge_auc(edge_weight, seed, folder):
    """How often the last layer finds an edge likelier than a non-edge, after a short training."""
    source = parts(90)
    source.labels = np.random.default_rng(0).permutation(source.labels)  # that say nothing of the edges
    run = vergence.learn(
        "supergat", source, epochs=60, seed=seed, edge_weight=edge_weight, out=folder, quiet=True
    )
    net, graph = run.encoder.eval(), source.whole_graph()
    assert torch.equal(vergence.load(folder).eval()(graph).pooled, net(graph).pooled)
    torch.manual_seed(seed)
    absent = non_edges(graph.edge_index, 90, graph.num_edges)
    with torch.no_grad():
        present, not_there = (net.edge_probability(graph, pairs) for pairs in (graph.edge_index, absent))
    return float((present[:, None] > not_there).float().mean())


def test_edges_are_told_from_non_edges_where_labels_say_nothing_of_them(tmp_path):
    with_it, without = (
        [edge_auc(weight, seed, tmp_path / f"{weight}-{seed}") for seed in range(3)] for weight in (11.3, 0.0)
    )
    assert all(a > b for a, b in zip(with_it, without, strict=True)), (with_it, without)


def test_wrong_options_are_told():
    with pytest.raises(BadInput, match="form of attention"):
        AttentionNet(3, 2, form="my")
    with pytest.raises(BadInput, match="edge_weight"):
        SuperGAT(AttentionNet(3, 2), edge_weight=-1.0)
    with pytest.raises(BadInput, match="leave --encoder out"):
        SuperGAT(torch.nn.Linear(2, 2))
    unlabelled = NodeSource(build(Edges(EDGES.numpy(), 3), "t")[0], "t")
    with pytest.raises(BadInput, match="learns from labels"):
        for_source(unlabelled, PLACE)
