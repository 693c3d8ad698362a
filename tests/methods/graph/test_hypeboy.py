"""HypeBoy: hyperedge filling by hand, what views do to memberships, and the contract on a hypergraph."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

import vergence as vg
from vergence.core import BadInput
from vergence.core.clock import Clock
from vergence.data.graph.hyper import HyperSource
from vergence.engine import embed
from vergence.evaluate.protocols.graph import node_probe
from vergence.methods.graph.hypeboy import HypeBoy, UniGCNII, drop_hyperedges

CONTRACT = {
    "source": lambda: parts(),
    "encoder": {"width": 32},
    "learn": {"epochs": 640},
    "exempt": {
        "gradients": "two stages train two sets of parts, one at a time; a test below asks both",
        "labels": "80 steps gain nothing; a test below trains for longer",
    },
}

GROUPS = [[0, 1, 2], [1, 2], [2, 3, 4, 5], [6], [0, 5]]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def source_of(groups, nodes, x=None, y=None):
    pairs = np.array([(v, e) for e, group in enumerate(groups) for v in group]).T
    return HyperSource(pairs, nodes, "groups", x=x, y=y)


def small():
    x = np.random.default_rng(0).random((7, 5)).astype(np.float32)
    return source_of(GROUPS, 7, x=x)


def parts(n=120, seed=0):
    """Nodes of three kinds; hyperedges of 3 to 5 of a kind, one member in six drawn from all."""
    rng, y = np.random.default_rng(seed), np.arange(n) % 3
    groups = []
    for i in range(150):
        kind = np.flatnonzero(y == i % 3)
        size = int(rng.integers(3, 6))
        groups.append(np.where(rng.random(size) < 1 / 6, rng.integers(0, n, size), rng.choice(kind, size)))
    x = (rng.random((n, 24)) < 0.15 + 0.12 * (np.arange(24) % 3 == y[:, None])).astype(np.float32)
    return source_of(groups, n, x=x, y=y)


def at(method, stage, steps=10):
    method.clock = Clock(0 if stage == 1 else steps - 1, steps, 1)
    return method


@pytest.mark.parametrize("heads", [True, False])
def test_filling_is_the_formula_written_as_loops(heads):
    source, z = small(), torch.randn(7, 8)
    method = HypeBoy(UniGCNII(5, width=8), heads=heads)
    key, query = (method.key, method.query) if heads else (lambda z: z, lambda z: z)
    keys, costs = normalize(key(z), dim=1), []
    for group in GROUPS:
        for v in group if len(group) > 1 else []:
            rest = sum(z[u] for u in group if u != v)
            scores = keys @ normalize(query(rest[None]), dim=1)[0]
            costs.append(-(scores[v] - torch.logsumexp(scores, 0)))
    expected = torch.stack(costs).mean()
    torch.testing.assert_close(method.filling(z, source.data.hyperedge_index), expected)


def test_equal_vectors_make_every_node_as_likely_to_be_missing():
    method = HypeBoy(UniGCNII(5, width=8), heads=False)
    cost = method.filling(torch.ones(7, 8), small().data.hyperedge_index)
    assert cost.item() == pytest.approx(math.log(7), abs=1e-5)


def test_reconstruction_judges_masked_nodes_only_and_hides_them_twice():
    source = small()
    method = at(HypeBoy(UniGCNII(5, width=8, dropout=0.0)), 1).eval()
    view, masked = method.views(source.whole_graph())
    assert masked.sum() == 3
    cost = method.reconstruction(view, masked)
    z = method.encoder.nodes
    seen = []
    method.encoder.nodes = lambda graph: seen.append(graph.x) or z(graph)
    decode = method.decoder.nodes
    method.decoder.nodes = lambda graph: seen.append(graph.x) or decode(graph)
    method.reconstruction(view, masked)
    assert (seen[0][masked] == 0).all() and torch.equal(seen[0][~masked], view.x[~masked])
    assert (seen[1][masked] == 0).all() and (seen[1][~masked] != 0).any()
    view.x = view.x.clone()
    view.x[masked] *= 7.0  # a cosine knows directions only
    torch.testing.assert_close(method.reconstruction(view, masked), cost)


def test_one_round_of_unigcnii_by_hand():
    """Two hyperedges {0, 1} and {1}; identity weights, α = 0.1 and β = log 1.5."""
    source = source_of([[0, 1], [1]], 2, x=np.array([[1.0], [3.0]], np.float32))
    encoder = UniGCNII(1, width=1, layers=1).eval()
    with torch.no_grad():
        encoder.first.weight.fill_(1.0)
        encoder.first.bias.zero_()
        encoder.mixes[0].weight.fill_(2.0)
    a, b = (
        2.0 / math.sqrt(1.5),
        3.0 / math.sqrt(2.0),
    )  # means over members, over the root of their mean degree
    mixed = torch.tensor([0.9 * a + 0.1 * 1.0, 0.9 * (a + b) / math.sqrt(2) + 0.1 * 3.0])
    expected = mixed * (1 + math.log(1.5))  # (1 - β) + 2 β
    torch.testing.assert_close(encoder.nodes(source.whole_graph())[:, 0], expected)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_dropping_keeps_whole_hyperedges_and_leaves_nobody_without(share):
    source = parts()
    graph = source.whole_graph()
    before = graph.hyperedge_index.clone()
    view = drop_hyperedges(graph, share)
    node, edge = view.hyperedge_index
    assert torch.equal(graph.hyperedge_index, before)
    assert torch.equal(torch.unique(node), torch.arange(120)) and int(edge.max()) + 1 == view.num_hyperedges
    were = {tuple(before[0][before[1] == e].tolist()) for e in range(graph.num_hyperedges)}
    left = graph.num_hyperedges - int(share * graph.num_hyperedges)
    for e in range(view.num_hyperedges):
        group = tuple(node[edge == e].tolist())
        assert group in were if e < left else len(group) == 1


def test_what_is_to_be_filled_are_all_hyperedges_and_the_view_lacks_most():
    graph = parts().whole_graph()
    view, target = at(HypeBoy(UniGCNII(24)), 2).views(graph)
    assert torch.equal(target, graph.hyperedge_index)
    assert (torch.bincount(view.hyperedge_index[1]) > 1).sum() <= 15
    hidden = (view.x != graph.x).sum() / (graph.x != 0).sum()
    assert hidden.item() == pytest.approx(0.4, abs=0.06)


def test_each_stage_trains_the_encoder_and_its_own_parts():
    source, method = parts(), HypeBoy(UniGCNII(24, width=8))
    for stage, own in ((1, ("hidden", "remasked", "decoder", "to_features")), (2, ("key", "query"))):
        method.zero_grad()
        at(method, stage)
        sum(method.loss(method.views(source.whole_graph())).values()).backward()
        reached = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None}
        assert reached == {"encoder", *own}
        assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)
    lean = HypeBoy(UniGCNII(24, width=8), reconstruct=0.0, heads=False)
    assert {name.split(".")[0] for name, _ in lean.named_parameters()} == {"encoder"}


def test_numbers_of_the_nodes_do_not_matter():
    source, turn = small(), torch.tensor([3, 1, 6, 0, 2, 5, 4])
    place = torch.argsort(turn)
    other = source_of([[int(place[v]) for v in group] for group in GROUPS], 7, x=source.x[turn].numpy())
    encoder = UniGCNII(5).eval()
    torch.testing.assert_close(
        encoder.nodes(other.whole_graph()), encoder.nodes(source.whole_graph())[turn], rtol=1e-4, atol=1e-5
    )


def test_seconds_of_training_beat_the_untrained_encoder_and_load_again(tmp_path):
    source = parts()
    rng = np.random.default_rng(0).permutation(len(source))

    def accuracy(vectors):
        split = rng[:12], rng[12:40], rng[40:]
        return node_probe(vectors, source.labels, *split, scale="standard")["accuracy"].value

    run = vg.learn("hypeboy", source, out=tmp_path / "run", quiet=True, epochs=120, lr=3e-3,
                   encoder_options={"width": 32}, drop_hyperedges=0.5)  # fmt: skip
    after = embed(run.encoder, source).vectors
    torch.manual_seed(0)
    before = embed(UniGCNII(24, width=32).eval(), source).vectors
    assert accuracy(after) > accuracy(before) + 0.02
    np.testing.assert_array_equal(embed(vg.load(tmp_path / "run"), source).vectors, after)


def test_what_cannot_be_is_told():
    with pytest.raises(BadInput, match="two or more nodes"):
        HypeBoy(UniGCNII(5)).setup(vg.open("karate"))
    with pytest.raises(BadInput, match="two or more nodes"):
        HypeBoy(UniGCNII(5)).setup(source_of([[0], [1]], 2))
    with pytest.raises(BadInput, match="reads hypergraphs"):
        UniGCNII(256).nodes(vg.open("karate").whole_graph())
    with pytest.raises(BadInput, match="drop_hyperedges in"):
        HypeBoy(UniGCNII(5), drop_hyperedges=1.0)
    with pytest.raises(BadInput, match="mask_nodes in"):
        HypeBoy(UniGCNII(5), mask_nodes=0.0)
