"""EGNAS: operations as loops, the criterion by hand, two inputs a state, a search that is gone on with."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from broken_off import assert_goes_on_to_the_same
from vergence.core import BadInput, RunConfig
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import GraphsSource
from vergence.engine.fitting import fit
from vergence.methods.graph.cells import (
    EDGE_OPS,
    NODE_OPS,
    Choice,
    Message,
    Relation,
    criterion,
    random_genotype,
)
from vergence.methods.graph.egnas import EGNAS, PLACE, EGNASNet, Search
from vergence.methods.graph.encoders import build as build_encoder
from vergence.methods.graph.prediction import Prediction, prediction_error

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
    result = op(v, e, EDGES)
    for i in range(4):
        heard = [
            torch.sigmoid(op.gate.weight @ e[k] + op.gate.bias) * v[j] + op.shift.weight @ e[k]
            for k, (j, to) in enumerate(EDGES.T.tolist())
            if to == i
        ]
        expected = torch.zeros(5)
        if heard:
            stacked = torch.stack(heard)
            expected = {"max": stacked.amax(0), "mean": stacked.mean(0), "sum": stacked.sum(0)}[kind]
        torch.testing.assert_close(result[i], expected, atol=1e-5, rtol=1e-4)


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
    result = op(v, e, torch.tensor([[0, 1], [1, 0]]))
    expected = op.scale(torch.tensor(t)).sigmoid() * e[0] + op.shift.weight @ torch.tensor(t)
    torch.testing.assert_close(result[0], expected)
    torch.testing.assert_close(result[1], result[0])


def choice(*shares):
    """Return a choice of node operations with these weights, which sum to 1."""
    made = Choice(NODE_OPS)
    with torch.no_grad():
        made.alpha.copy_(torch.tensor(shares).log())
    return made


def test_the_criterion_is_importance_times_certainty_each_from_the_least_to_the_largest():
    choices = [
        choice(0.2, 0.2, 0.2, 0.2, 0.2),  # importance .8, certainty 0
        choice(0.6, 0.37, 0.01, 0.01, 0.01),  # importance .4, the surest
        choice(0.4, 0.3, 0.1, 0.1, 0.1),  # in between
    ]
    importance = [0.8, 0.4, 0.6]
    certainty = [
        1 + sum(p * math.log(p) for p in shares) / math.log(4)
        for shares in ([0.25] * 4, [0.925, 0.025, 0.025, 0.025], [0.5, 1 / 6, 1 / 6, 1 / 6])
    ]
    expected = [
        (a - min(importance)) / (max(importance) - min(importance)) * (b - min(certainty)) / (max(certainty))
        for a, b in zip(importance, certainty, strict=True)
    ]
    assert criterion(choices).tolist() == pytest.approx(expected, abs=1e-6)
    assert expected[:2] == pytest.approx([0, 0], abs=1e-12) and expected[2] > 0  # neither alone is enough
    assert criterion([choices[2]]).tolist() == [0] == criterion([Choice(["identity"])]).tolist()


def test_none_is_never_taken_and_what_was_decided_is_saved():
    made = choice(0.9, 0.01, 0.07, 0.01, 0.01)
    assert made.open and made.operation is None and made.importance() == pytest.approx(0.1)
    made.decide()
    assert not made.open and made.operation == "max"
    again = Choice(NODE_OPS)
    again.load_state_dict(made.state_dict())
    assert again.operation == "max"
    made.drop()
    assert not made.open and made.operation is None


def test_one_choice_of_nodes_and_one_of_edges_an_event_and_a_state_keeps_two_inputs():
    torch.manual_seed(0)
    net = EGNASNet(**SIZES)
    with torch.no_grad():
        net.choice("edges", 2, 1).alpha[3] = 9.0
    net.decide("edges")
    assert net.choice("edges", 2, 1).operation == EDGE_OPS[3] and net.undecided == 11
    net.decide("nodes")
    assert net.undecided == 10
    while any(one.open for i in range(3) for one in net.inputs("nodes", i)):
        net.decide("nodes")
    net.decide("nodes")  # there is nothing left
    assert all(one.open for j, one in enumerate(net.inputs("edges", 2)) if j != 1)
    with torch.no_grad():
        net.choice("edges", 2, 2).alpha[0] = -3.0  # the most important of the two that are open
    net.complete()
    assert net.undecided == 0
    assert [[len(state) for state in states] for states in net.genotype().values()] == [[1, 2, 2]] * 2
    assert [j for j, _ in net.genotype()["edges"][2]] == [1, 2]


def test_cells_share_choices_and_all_weights_and_choices_get_a_gradient(source):
    net = EGNASNet(**SIZES)
    assert len(net.choices) == 12
    prediction_error(net, source.batch(np.arange(12))).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []


def test_operations_have_no_affine_norm_while_searching():
    genotype = random_genotype(3, np.random.default_rng(0))
    for net, affine in ((EGNASNet(**SIZES), False), (EGNASNet(**SIZES, genotype=genotype), True)):
        norms = [m.after[1] for m in net.cells.modules() if isinstance(m, Message | Relation)]
        assert norms and all(norm.affine is affine for norm in norms)


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


@pytest.mark.parametrize(
    ("cls", "name", "at"),
    [(Search, "operation_loss", 1), (Search, "loss", 1), (EGNAS, "final", None), (Prediction, "loss", 2)],
)
def test_a_run_that_broke_off_in_a_turn_or_between_stages_goes_on_to_the_same_bits(
    source, tmp_path, monkeypatch, cls, name, at
):
    config = RunConfig(method="egnas", source="rings", seed=3, save_every=1)
    estimator = EGNAS(**{**TINY, "search_epochs": 2, "epochs": 2})
    whole = fit(estimator, source, config, out=tmp_path / "whole", quiet=True)
    assert {row["stage"] for row in whole.metrics} == {"search", "train"}
    assert_goes_on_to_the_same(
        whole, estimator, source, config, tmp_path / "run", monkeypatch,
        place=(cls, name), here=lambda self: at is None or self.clock.step == at, stages=("search", "train"),
    )  # fmt: skip


def test_the_weights_of_least_error_on_what_is_held_out_are_kept(source, tmp_path):
    estimator = EGNAS(**{**TINY, "epochs": 6})
    errors, states = [], []
    held_out_error = Prediction.held_out_error

    def note(self):
        errors.append(held_out_error(self))
        states.append({name: value.clone() for name, value in self.encoder.state_dict().items()})
        return errors[-1]

    Prediction.held_out_error = note
    try:
        estimator.fit(source, seed=2)
    finally:
        Prediction.held_out_error = held_out_error
    assert len(errors) == 6
    best = states[max(i for i, error in enumerate(errors) if error == min(errors))]
    assert all(torch.equal(value, best[name]) for name, value in estimator.encoder.state_dict().items())


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
