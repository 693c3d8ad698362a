"""The table of graphs, on graphs so small that every score is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from vergence.core.errors import BadInput
from vergence.data.graph import GraphsSource, NodeSource, pyg
from vergence.data.graph.splits import Split
from vergence.evaluate.baselines import FEATURES, LEARNED, UNTRAINED
from vergence.evaluate.graph_table import graph_rows, graph_scores, scores_of

TRAIN, VAL, TEST = np.arange(5), np.arange(5, 7), np.arange(7, 17)
TRUE = np.array([0, 0, 0, 1, 1, 0, 1, *[0] * 7, *[1] * 3])
SEEN = np.where(np.isin(np.arange(17), [7, 8]), 1, TRUE)  # two test nodes of class 0 look like class 1
# accuracy 8 of 10; F1 of class 0 from 5 right and 2 missed, of class 1 from 3 right and 2 too many
ACCURACY, MACRO_F1 = 0.8, (2 * 5 / (2 * 5 + 2) + 2 * 3 / (2 * 3 + 2)) / 2


def ring(n):
    """Return the edges of a ring in both directions, sorted by source."""
    return torch.tensor([[i, j] for i in range(n) for j in sorted({(i - 1) % n, (i + 1) % n})]).T


def nodes(labels, seen, *, fixed=()):
    graph = pyg.Data(x=torch.eye(2)[seen], edge_index=ring(len(seen)), num_nodes=len(seen))
    graph.y = None if labels is None else torch.as_tensor(labels)
    return NodeSource(graph, "ring", fixed=fixed)


class Knows(nn.Module):
    """Gives every node its class; before it was trained, all nodes the same vector."""

    def __init__(self, classes):
        super().__init__()
        self.register_buffer("vectors", torch.eye(2)[classes])

    def forward(self, batch):
        return self.vectors[batch.node]

    def fresh(self):
        blind = Knows(np.zeros(len(self.vectors), np.int64))
        blind.vectors = torch.ones_like(self.vectors)
        return blind


@pytest.fixture
def public():
    return nodes(TRUE, SEEN, fixed=[Split("public", TRAIN, VAL, TEST)])


def test_node_scores_are_those_counted_by_hand(public):
    scores = scores_of(torch.eye(2)[SEEN].numpy(), public)
    assert set(scores) == {"accuracy", "macro-F1"}
    assert scores["accuracy"].value == pytest.approx(ACCURACY) and scores["accuracy"].n == len(TEST)
    assert scores["macro-F1"].value == pytest.approx(MACRO_F1)
    assert graph_scores(Knows(SEEN), public)["macro-F1"].value == pytest.approx(MACRO_F1)


def mutual_information(a, b):
    """Normalised by the mean of both entropies, as sums over pairs of groups."""

    def entropy(of):
        shares = [(of == group).mean() for group in set(of)]
        return -sum(share * math.log(share) for share in shares)

    joint = entropy(np.array([f"{x} {y}" for x, y in zip(a, b, strict=True)]))
    return 2 * (entropy(a) + entropy(b) - joint) / (entropy(a) + entropy(b))


def test_rows_hold_the_encoder_beside_raw_features_and_itself_untrained(public):
    rows, about = graph_rows(Knows(TRUE), public, [])
    assert list(rows) == [FEATURES, UNTRAINED, LEARNED]
    accuracy = {name: scores["public, accuracy"].value for name, scores in rows.items()}
    macro = {name: scores["public, macro-F1"].value for name, scores in rows.items()}
    # what is blind says the more frequent class of training: 7 of 10, F1 14/17 and 0
    assert accuracy == pytest.approx({FEATURES: ACCURACY, UNTRAINED: 0.7, LEARNED: 1.0})
    assert macro == pytest.approx({FEATURES: MACRO_F1, UNTRAINED: 7 / 17, LEARNED: 1.0})
    assert rows[FEATURES]["NMI"].value == pytest.approx(mutual_information(TRUE, SEEN))
    assert rows[LEARNED]["NMI"].value == pytest.approx(1.0)
    assert rows[UNTRAINED]["NMI"].value == pytest.approx(0.0)
    assert (about["train"], about["test"], about["source"], about["held_out"]) == (5, 10, "ring", False)


def test_several_protocols_stand_side_by_side_and_random_splits_are_drawn():
    labels = np.arange(100) % 2
    source = nodes(
        labels, labels, fixed=[Split("public", np.arange(20), np.arange(20, 40), np.arange(40, 100))]
    )
    rows, _ = graph_rows(Knows(labels), source, ["random-10-10-80", "public"])
    scores = rows[LEARNED]
    assert [name for name in scores if name != "NMI"] == [
        *("random-10-10-80, accuracy", "random-10-10-80, macro-F1", "public, accuracy", "public, macro-F1")
    ]
    assert all(scores[name].value == pytest.approx(1.0) for name in scores)
    assert rows[UNTRAINED]["public, accuracy"].value == pytest.approx(0.5)


def test_nodes_with_several_labels_have_f1_of_both_kinds_and_no_clusters():
    marks = np.zeros((40, 2), np.int64)
    marks[np.arange(40), np.arange(40) % 2] = 1
    source = nodes(marks, np.arange(40) % 2)
    rows, _ = graph_rows(Knows(np.arange(40) % 2), source, [])
    assert set(rows[LEARNED]) == {"random-50-50, macro-F1", "random-50-50, micro-F1"}
    assert all(score.value == pytest.approx(1.0) for score in rows[LEARNED].values())


def test_sets_of_graphs_are_judged_by_a_support_vector_machine():
    labels = np.arange(20) % 2
    seen = labels.copy()
    seen[[0, 1]] = 1, 0  # one graph of each class looks like the other class
    pairs = torch.arange(40).reshape(20, 2)
    edges = torch.stack([pairs.flatten(), pairs.flip(1).flatten()])
    graphs = pyg.Data(x=torch.eye(2)[np.repeat(seen, 2)], edge_index=edges, num_nodes=40)
    source = GraphsSource(graphs, np.arange(0, 41, 2), "pairs", labels=labels)
    scores = scores_of(torch.eye(2)[seen].numpy(), source)
    assert set(scores) == {"SVM"} and scores["SVM"].value == pytest.approx(18 / 20)


def test_what_cannot_be_judged_is_one_line(public):
    with pytest.raises(BadInput, match="measure needs labels; ring has none"):
        scores_of(np.eye(17), nodes(None, SEEN))
    with pytest.raises(BadInput, match="did you mean 'public'"):
        scores_of(np.eye(17), public, protocol="pubic")
