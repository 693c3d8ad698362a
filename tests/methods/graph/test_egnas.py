"""EGNAS: operations as loops, the surest choice first, two inputs a state, and a search that ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vergence.core import BadInput
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import GraphsSource
from vergence.methods.graph.egnas import (
    EDGE_OPS,
    EGNAS,
    NODE_OPS,
    PLACE,
    Choice,
    EGNASNet,
    Message,
    Relation,
    decide_one,
    error,
    random_genotype,
)
from vergence.methods.graph.encoders import build as build_encoder

EDGES = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])  # a path; node 3 is alone
SIZES = {"in_dim": 4, "edge_dim": 2, "width": 8, "cells": 2, "states": 3, "outputs": 1}
TINY = {"width": 8, "cells": 1, "search_epochs": 3, "warmup": 0, "every": 1, "epochs": 3, "batch": 8}


CONTRACT = {"source": lambda: rings(), "options": TINY}


@pytest.fixture
def source():
    return rings()


def rings():
    """24 rings of 3 to 6 nodes, the number of which is to be predicted."""
    rng, pairs, ptr, y = np.random.default_rng(0), [], [0], []
    for _ in range(24):
        n = int(rng.integers(3, 7))
        pairs.append(np.stack([np.arange(n), (np.arange(n) + 1) % n]) + ptr[-1])
        y.append([float(n)])
        ptr.append(ptr[-1] + n)
    edges = Edges(np.concatenate(pairs, axis=1), ptr[-1])
    x = rng.random((ptr[-1], 4)).astype(np.float32)
    graph, _ = build(edges, "rings", x=x)
    graph.edge_attr = torch.from_numpy(rng.random((graph.num_edges, 2)).astype(np.float32))
    return GraphsSource(graph, np.array(ptr), "rings", values=np.array(y))


@pytest.mark.parametrize("kind", ["max", "mean", "sum"])
def test_messages_are_the_formula_written_as_a_loop(kind):
    op, v, e = Message(kind, 5, True).eval(), torch.randn(4, 5), torch.randn(4, 5)
    op.after = torch.nn.Identity()
    found = op(v, e, EDGES)
    for i in range(4):
        told = [
            torch.sigmoid(op.gate.weight @ e[k] + op.gate.bias) * v[j] + op.shift.weight @ e[k]
            for k, (j, to) in enumerate(EDGES.T.tolist())
            if to == i
        ]
        want = torch.zeros(5)
        if told:
            stacked = torch.stack(told)
            want = {"max": stacked.amax(0), "mean": stacked.mean(0), "sum": stacked.sum(0)}[kind]
        torch.testing.assert_close(found[i], want, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "t"),
    [
        ("difference", [3.0, 1.0]),
        ("gaussian", [math.exp(-9), math.exp(-1)]),
        ("product", [-2.0, 2.0]),
        ("sum", [1.0, 3.0]),
        ("mean", [0.5, 1.5]),
        ("max", [2.0, 2.0]),
    ],
)
def test_relations_by_hand_and_the_same_from_either_end(kind, t):
    op = Relation(kind, 2, True)
    op.after = torch.nn.Identity()
    v = torch.tensor([[2.0, 1.0], [-1.0, 2.0]])
    e = torch.tensor([[1.0, -1.0]]).expand(2, -1)
    found = op(v, e, torch.tensor([[0, 1], [1, 0]]))
    want = op.scale(torch.tensor(t)).sigmoid() * e[0] + op.shift.weight @ torch.tensor(t)
    torch.testing.assert_close(found[0], want)
    torch.testing.assert_close(found[1], found[0])


def test_certainty_is_one_when_sure_and_none_is_never_taken():
    choice = Choice(NODE_OPS)
    with torch.no_grad():
        choice.alpha.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0]))
        assert choice.certainty() == pytest.approx(0.0, abs=1e-6)
        choice.alpha.copy_(torch.tensor([-40.0, 40.0, 0.0, 0.0, 0.0]))
        assert choice.certainty() == pytest.approx(1.0, abs=1e-6)
        choice.alpha.copy_(torch.tensor([math.log(3.0), 0.0, -60.0, -60.0, -60.0]))
        assert choice.certainty() == pytest.approx(0.25, abs=1e-4)  # "none" holds the rest
    choice.decide()
    assert choice.chosen == "identity"


def test_the_surest_choice_is_first_and_a_state_keeps_two_inputs():
    net = EGNASNet(**SIZES)
    with torch.no_grad():
        net.choice("edges", 2, 1).alpha[3] = 9.0
    decide_one(net)
    assert net.choice("edges", 2, 1).chosen == EDGE_OPS[3]
    assert sum(bool(c.chosen) for c in net.choices.values()) == 1
    while decide_one(net):
        pass
    for side in ("nodes", "edges"):
        assert [len(state) for state in net.genotype()[side]] == [1, 2, 2]
    assert (1, EDGE_OPS[3]) in net.genotype()["edges"][2]


def test_cells_share_choices_and_all_weights_and_choices_get_a_gradient(source):
    net = EGNASNet(**SIZES)
    assert len(net.choices) == 12
    error(net, source.batch(np.arange(12))).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []


def test_no_affine_norm_while_searching():
    norms = [m for m in EGNASNet(**SIZES).cells.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert norms and not any(m.affine for m in norms)
    drawn = EGNASNet(**SIZES, genotype=random_genotype(3, np.random.default_rng(0)))
    norms = [m for m in drawn.cells.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert all(m.affine for m in norms)


def test_a_prediction_does_not_depend_on_who_shares_its_batch(source):
    net = EGNASNet(**SIZES, genotype=random_genotype(3, np.random.default_rng(1))).eval()
    together, alone = net(source.batch(np.arange(9))).pooled, net(source.batch(np.array([4]))).pooled
    torch.testing.assert_close(together[4], alone[0], atol=1e-5, rtol=1e-4)


def test_a_seed_repeats_search_and_training_and_the_spec_builds_it_again(source):
    first, again = EGNAS(**TINY).fit(source, seed=1), EGNAS(**TINY).fit(source, seed=1)
    assert first.genotype_ == again.genotype_
    np.testing.assert_array_equal(first.transform(source), again.transform(source))
    made = build_encoder(**first.encoder.spec).eval()
    made.load_state_dict(first.encoder.state_dict())
    batch = source.batch(np.arange(24))
    assert torch.equal(made(batch).pooled, first.encoder(batch).pooled)
    assert first.encoder.spec["name"] == PLACE


def test_edge_operations_can_be_frozen_and_labels_are_classes(source):
    frozen = EGNAS(edge_ops=("identity",), **TINY).fit(source)
    assert {name for state in frozen.genotype_["edges"] for _, name in state} == {"identity"}
    kinds = GraphsSource(source.data, source.ptr, "rings", labels=np.arange(24) % 3)
    assert EGNAS(**TINY).fit(kinds).transform(kinds).shape == (24, 3)


def test_wrong_options_are_told(source):
    with pytest.raises(BadInput, match="edge_ops among"):
        EGNAS(edge_ops=("film",))
    with pytest.raises(BadInput, match="targets or labels"):
        EGNAS(**TINY).fit(GraphsSource(source.data, source.ptr, "rings"))
