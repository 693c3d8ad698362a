"""SelfTask: targets by hand on small graphs, what is read of the labels, and that every task trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

import vergence as vg
from vergence.core import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import NodeSource
from vergence.data.graph.splits import Split
from vergence.methods.graph.label_filling import corrected, propagated
from vergence.methods.graph.selftask import (
    PRETEXTS,
    ClassGCN,
    ContextLabel,
    EdgeMask,
    PairDistance,
    SelfTask,
    label_distance,
    nearness,
)
from vergence.methods.graph.transforms import adjacency


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def parts(n=90, labelled=90):
    """Three kinds of nodes, linked mostly within a kind; 5 of each teach; from ``labelled`` on all are 0."""
    rng, y = np.random.default_rng(0), np.arange(n) % 3
    pairs = np.argwhere(np.triu(rng.random((n, n)) < np.where(y[:, None] == y, 0.2, 0.02), 1)).T
    x = (rng.random((n, 12)) < 0.2 + 0.3 * (np.arange(12) % 3 == y[:, None])).astype(np.float32)
    graph, _ = build(Edges(pairs, n), "parts", x=x, y=np.where(np.arange(n) < labelled, y, 0))
    split = Split("few", np.arange(15), np.arange(15, 30), np.arange(30, n))
    return NodeSource(graph, "parts", classes=["a", "b", "c"], fixed=[split])


def ready(source, **options):
    method = SelfTask(ClassGCN(source.in_dim, 3, width=16), **options)
    method.setup(source)
    return method


def path(n):
    return torch.stack([torch.arange(n - 1), torch.arange(1, n)])


@pytest.mark.parametrize("task", [*PRETEXTS, "none"])
def test_every_task_reaches_every_parameter(task):
    source = parts()
    method = ready(source, task=task)
    graph = source.whole_graph()
    x, edges = graph.x.clone(), graph.edge_index.clone()
    terms = method.loss(method.views(graph))
    assert set(terms) == ({"label"} if task == "none" else {"label", "self"})
    assert all(torch.isfinite(t) and t.ndim == 0 for t in terms.values())
    sum(terms.values()).backward()
    learned = [p for p in method.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learned)
    assert torch.equal(graph.x, x) and torch.equal(graph.edge_index, edges)


@pytest.mark.parametrize("task", [*PRETEXTS])
def test_labels_outside_the_training_nodes_are_never_read(task):
    def cost(source):
        torch.manual_seed(3)
        method = ready(source, task=task).eval()
        graph = source.whole_graph()
        graph.label = torch.full_like(graph.label, -1)
        return [t.item() for t in method.loss(method.views(graph)).values()]

    assert cost(parts()) == cost(parts(labelled=15))


def test_hidden_edges_are_gone_in_both_directions_and_non_edges_are_none():
    source = parts()
    graph = source.whole_graph()
    task = EdgeMask(ready(source, share=0.25), graph.x, graph.edge_index, torch.zeros(90), 3)
    view, (pairs, truth) = task.draw(graph)
    edges = {tuple(e) for e in graph.edge_index.T.tolist()}
    left = {tuple(e) for e in view.edge_index.T.tolist()}
    hidden = {tuple(e) for e in pairs[:, truth == 1].T.tolist()}
    assert len(hidden) == int(0.25 * len(edges) / 2) and len(left) == len(edges) - 2 * len(hidden)
    assert all((u, v) in edges and (u, v) not in left and (v, u) not in left for u, v in hidden)
    absent = pairs[:, truth == 0].T.tolist()
    assert len(absent) == len(hidden) and all(u != v and (u, v) not in edges for u, v in absent)


def test_pairs_are_as_far_apart_as_they_are_said_to_be():
    task = PairDistance(SelfTask(ClassGCN(1, 1)), torch.ones(9, 1), path(9), torch.zeros(9), 1)
    graph = type("G", (), {"x": torch.ones(9, 1)})()
    _, ((u, v), truth) = task.draw(graph)
    assert torch.equal(truth, (u - v).abs().clamp(max=4) - 1)
    assert set(truth.tolist()) == {0, 1, 2, 3}


def test_distances_to_labels_by_hand():
    """A path 0-1-2-3 and a node alone; class 0 is known at 0 and 3, class 1 at 1."""
    y = torch.tensor([0, 1, -1, 0, -1])
    result = label_distance(None, torch.ones(5, 1), path(4), y, 2).targets
    mean_most_least = torch.tensor(
        [
            [(1 + 1 / 3) / 2, 1, 1, 1 / 3, 1, 1],
            [(1 + 1 / 2) / 2, 1, 1, 1 / 2, 1, 1],
            [(1 / 2 + 1) / 2, 1, 1, 1 / 2, 1, 1],
            [(1 / 3 + 1) / 2, 1 / 2, 1, 1 / 3, 1 / 2, 1 / 2],
            [0, 0, 0, 0, 0, 0],
        ]
    )
    torch.testing.assert_close(result, mean_most_least)
    assert nearness(torch.tensor([-1, 0, 1, 4])).tolist() == [0, 1, 1, 0.25]


def test_context_is_the_histogram_of_two_hops():
    source = parts()
    graph = source.whole_graph()
    y = torch.from_numpy(source.labels.copy())
    y[20:] = -1
    task = ContextLabel(ready(source), graph.x, graph.edge_index, y, 3)
    a = adjacency(graph.edge_index, 90).toarray() > 0
    for v in (0, 17, 50):
        two = (a[v] | a[a[v]].any(0)) & (np.arange(90) != v)
        shares = np.bincount(task.guess[two].numpy(), minlength=3) / two.sum()
        np.testing.assert_allclose(task.shares[v].numpy(), shares, atol=1e-6)
    assert torch.equal(task.guess[:20], y[:20])
    assert (task.guess[20:] == torch.from_numpy(source.labels)[20:]).float().mean() > 0.6


def test_label_propagation_ends_at_the_nearer_label():
    y = torch.tensor([0, -1, -1, -1, -1, 1])
    result = propagated(torch.ones(6, 1), adjacency(path(6), 6, undirected=True), y, 2)
    assert result.argmax(1).tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(result.sum(1), 1, atol=1e-6)
    assert result[1, 0] > result[2, 0] > 0.5


def test_correction_moves_strays_to_the_class_they_lie_in_and_keeps_known_labels():
    truth = torch.arange(60) % 3
    z = normalize(torch.eye(3)[truth] + 0.2 * torch.randn(60, 3), dim=1)
    noisy = truth.clone()
    noisy[:12] = (noisy[:12] + 1) % 3
    y = torch.full((60,), -1)
    y[0] = noisy[0]
    result = corrected(z, noisy, y, 3)
    assert (result == truth)[1:].float().mean() > 0.95 > (noisy == truth).float().mean()
    assert result[0] == noisy[0]
    assert (corrected(z, torch.zeros(60, dtype=torch.long), torch.full((60,), -1), 3) == 0).all()


def test_a_weight_of_zero_is_labels_alone_and_the_weight_scales_the_term():
    source = parts()
    assert ready(source, weight=0.0).pretext is None
    once, twice = (ready(source, task="degree", weight=w).eval() for w in (1.0, 2.0))
    twice.load_state_dict(once.state_dict())
    one, two = (m.loss(m.views(source.whole_graph()))["self"].item() for m in (once, twice))
    assert two == pytest.approx(2 * one)


def test_the_pretext_reads_the_first_layer_and_classes_are_the_second_ones():
    source = parts()
    method, graph = ready(source, task="degree").eval(), source.whole_graph()
    x, y = graph.x, method.y
    a = adjacency(graph.edge_index, 90, undirected=True).toarray() + np.eye(90)
    root = a.sum(1) ** -0.5
    a = torch.from_numpy(root[:, None] * a * root).float()
    net = method.encoder
    hidden = (a @ x @ net.first.lin.weight.T + net.first.bias).relu()
    logits = a @ hidden @ net.second.lin.weight.T + net.second.bias
    terms = method.loss(method.views(graph))
    torch.testing.assert_close(terms["label"], torch.nn.functional.cross_entropy(logits[:15], y[:15]))
    wanted = 5.0 * ((method.head(hidden) - method.pretext.targets) ** 2).mean()
    torch.testing.assert_close(terms["self"], wanted)
    torch.testing.assert_close(net(graph).pooled, logits)


def test_only_some_guesses_are_corrected_at_a_time():
    source = parts()
    torch.manual_seed(0)
    many = ready(source, relabelled=75).eval()
    few = ready(source, relabelled=10).eval()
    few.load_state_dict(many.state_dict())
    graph = source.whole_graph()
    first = ready(source, task="context_label", weight=10.0).eval()
    first.load_state_dict(many.state_dict())
    alone = first.loss(first.views(graph))["self"]
    z = many.encoder.layers(graph)[0]
    torch.manual_seed(5)
    some = torch.randperm(75)[:10] + 15
    guess = few.pretext.guess.clone()
    guess[some] = corrected(z.detach(), guess, few.y, 3)[some]
    said = few.head(z[some]).softmax(1)
    wanted = alone + 10 * 1.5 * ((said - few.pretext.context(guess)[some]) ** 2).mean()
    torch.manual_seed(5)
    torch.testing.assert_close(few.loss(few.views(graph))["self"], wanted)


def test_what_cannot_be_is_told():
    encoder = ClassGCN(12, 3, width=8)
    with pytest.raises(BadInput, match="did you mean 'degree'"):
        SelfTask(encoder, task="degre")
    with pytest.raises(BadInput, match="share in"):
        SelfTask(encoder, share=1.0)
    with pytest.raises(BadInput, match="reads both layers of .*ClassGCN; leave --encoder out"):
        SelfTask(torch.nn.Linear(2, 2))
    with pytest.raises(BadInput, match="whose nodes have labels"):
        SelfTask(encoder).setup(NodeSource(build(Edges(path(4).numpy(), 4), "bare")[0], "bare"))
    source = parts()
    with pytest.raises(BadInput, match="leave --batch-size out"):
        ready(source).views(source.around(np.arange(3)))


def test_it_learns_from_the_command_line_names(tmp_path):
    run = vg.learn("selftask", parts(), out=tmp_path / "run", quiet=True, epochs=3, task="label_distance")
    assert run.encoder.out_dim == 3
