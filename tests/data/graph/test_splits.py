import numpy as np
import pytest
import torch

import vergence
from vergence.core import BadInput
from vergence.data.graph import Split, link_split
from vergence.data.graph.build import Edges, build
from vergence.data.graph.splits import folds_10, random_10_10_80


def grid(side=12):
    place = np.arange(side * side).reshape(side, side)
    across = np.stack([place[:, :-1].ravel(), place[:, 1:].ravel()])
    down = np.stack([place[:-1].ravel(), place[1:].ravel()])
    pairs = np.concatenate([across, down], axis=1)
    graph, _ = build(Edges(pairs, side * side, {"edge_weight": np.arange(1.0, pairs.shape[1] + 1)}), "grid")
    return graph


def keys(pairs, n):
    return set((pairs.min(0).values * n + pairs.max(0).values).tolist())


def test_held_out_links_are_in_neither_direction_of_what_is_learned_from():
    graph = grid()
    n, cut = graph.num_nodes, link_split(graph, val=0.05, test=0.1, seed=0)
    links = keys(graph.edge_index, n)
    parts = [keys(part, n) for part in (cut.train, cut.val, cut.test)]
    assert set.union(*parts) == links and sum(map(len, parts)) == len(links)
    assert [len(part) for part in parts] == [len(links) - 13 - 26, 13, 26]
    assert keys(cut.graph.edge_index, n) == parts[0]
    assert cut.graph.edge_index.shape[1] == 2 * len(parts[0]) == len(cut.graph.edge_weight)
    assert cut.protocol == "links-85-5-10"


def test_values_stay_with_their_edges():
    graph = grid()
    known = dict(zip(map(tuple, graph.edge_index.T.tolist()), graph.edge_weight.tolist(), strict=True))
    cut = link_split(graph, seed=3)
    rows = zip(map(tuple, cut.graph.edge_index.T.tolist()), cut.graph.edge_weight.tolist(), strict=True)
    assert all(known[pair] == weight for pair, weight in rows)


def test_negatives_are_no_links_no_loops_and_never_twice():
    graph = grid(6)
    n, cut = graph.num_nodes, link_split(graph, val=0.2, test=0.3, seed=1)
    both = torch.cat([cut.val_negatives, cut.test_negatives], dim=1)
    assert len(keys(both, n)) == both.shape[1] == cut.val.shape[1] + cut.test.shape[1]
    assert not keys(both, n) & keys(graph.edge_index, n)
    assert (both[0] < both[1]).all()


def test_a_full_graph_has_no_negatives_to_draw():
    pairs = np.argwhere(np.triu(np.ones((6, 6)), 1)).T
    graph, _ = build(Edges(pairs, 6), "full")
    with pytest.raises(BadInput, match="cannot hold out"):
        link_split(graph, seed=0)


def test_a_seed_repeats_a_split_and_another_changes_it():
    first, again, other = (link_split(grid(), seed=s) for s in (0, 0, 1))
    assert torch.equal(first.test, again.test) and torch.equal(first.test_negatives, again.test_negatives)
    assert not torch.equal(first.test, other.test)


def test_random_split_leaves_unlabelled_rows_out():
    labels = np.array([0, 1] * 50 + [-1] * 20)
    split = random_10_10_80(labels, seed=0)
    every = np.concatenate([split.train, split.val, split.test])
    assert (len(split.train), len(split.val), len(split.test)) == (10, 10, 80)
    assert sorted(every.tolist()) == list(range(100))


def test_ten_folds_judge_every_graph_once_and_class_by_class():
    labels = np.array([0] * 60 + [1] * 40)
    folds = folds_10(labels, seed=0)
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(100))
    assert all((labels[fold.test] == 0).sum() == 6 for fold in folds)
    assert all(not set(fold.train) & set(fold.test) for fold in folds)


def test_a_row_cannot_have_two_tasks():
    with pytest.raises(ValueError, match="two tasks"):
        Split("mine", np.array([0, 1]), np.array([1]), np.array([2]))


def test_protocols_go_by_their_own_names():
    source = vergence.open("karate")
    with pytest.raises(BadInput, match="too few"):
        source.splits("public")
