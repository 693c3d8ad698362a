"""Runs of record on graphs: ablations that take away the idea and nothing else; worlds as they are told."""

from __future__ import annotations

import numpy as np
import torch

from vergence.benchmarks.record import find_record
from vergence.benchmarks.records._graphs import blocks, few_labels
from vergence.benchmarks.records.bandana import Deleted
from vergence.benchmarks.records.meow import Unweighted
from vergence.data.graph.pyg import Data
from vergence.methods.graph import encoders, meow
from vergence.methods.graph.hypeboy import HypeBoy


def test_hypeboys_arms_fill_hyperedges_for_equally_many_steps():
    arms = find_record("hypeboy").arms
    steps = {}
    for name in ("paper", "no feature reconstruction"):
        arm = arms[name]
        method = arm.method(encoders.build(arm.training.encoder, in_dim=4, width=8))
        assert isinstance(method, HypeBoy)
        steps[name] = round(arm.training.epochs * (1 - method.reconstruct))
    assert set(steps.values()) == {200}


def test_a_deleted_edge_is_deleted_in_both_directions():
    torch.manual_seed(0)
    once = torch.stack([torch.arange(40), torch.arange(1, 41)])
    graph = Data(x=torch.ones(41, 1), edge_index=torch.cat([once, once.flip(0)], dim=1))
    widths = Deleted(encoders.build("gcn", in_dim=1, width=4, layers=2)).bandwidths(graph)
    assert torch.equal(widths[:, :40], widths[:, 40:])
    assert set(widths.flatten().tolist()) == {0.0, 1.0} and 0 < widths.mean() < 0.6


def test_meows_ablation_weighs_all_negatives_as_if_no_clustering_spared_them(monkeypatch):
    seen = []
    method = Unweighted.__new__(Unweighted)
    torch.nn.Module.__init__(method)
    method.clusters, method.temperature, method.prototypes = (2, 3), 0.4, 1.0
    monkeypatch.setattr(
        "vergence.benchmarks.records.meow.weighted_info_nce",
        lambda a, b, rows, weigh, temperature: seen.append(weigh(rows)) or a.sum(),
    )
    z = torch.nn.functional.normalize(torch.randn(6, 4), dim=1)
    terms = method.terms(z, z, torch.arange(6))
    assert set(terms) == {"contrast", "prototypes"} and (seen[0] == 2).all()
    assert meow.MEOW.terms is not Unweighted.terms


def test_blocks_are_as_homophilous_and_dense_as_they_are_asked_to_be():
    y = np.arange(4000) % 4
    u, v = blocks(np.random.default_rng(0), y, degree=6.0, homophily=0.7)
    assert abs((y[u] == y[v]).mean() - 0.7) < 0.02
    assert abs(2 * len(u) / len(y) - 6.0) < 0.02 and (u != v).all()


def test_few_labels_are_as_many_of_each_class_and_no_node_has_two_tasks():
    y = np.arange(60) % 3
    split = few_labels(np.random.default_rng(0), y, 4, val=9)
    assert np.bincount(y[split.train]).tolist() == [4, 4, 4] and len(split.val) == 9
    every = np.concatenate([split.train, split.val, split.test])
    assert sorted(every.tolist()) == list(range(60))
