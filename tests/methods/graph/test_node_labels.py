"""Learning from node labels: which nodes teach and judge, and which weights are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from vergence.core import BadInput, Clock, Features
from vergence.data.graph.build import Edges, build
from vergence.data.graph.source import NodeSource
from vergence.data.graph.splits import Split
from vergence.methods.graph.node_labels import NodeLabels

LABELS = np.array([0, 1, 0, 1, -1, 0, 1, -1])
SPLIT = Split("few", np.array([0, 1, 4]), np.array([2, 3, 5, 7]), np.array([6]))


class Guesses(nn.Module):
    """Says of all nodes that they are of one class."""

    def __init__(self, guess):
        super().__init__()
        self.score = nn.Parameter(torch.zeros(2))
        self.say(guess)

    def say(self, guess):
        with torch.no_grad():
            self.score.copy_(nn.functional.one_hot(torch.tensor(guess), 2))

    def forward(self, graph):
        return Features(self.score.expand(len(graph.x), 2))


def nodes(labels=LABELS, fixed=(SPLIT,)):
    path = np.stack([np.arange(7), np.arange(1, 8)])
    x = np.eye(8, dtype=np.float32)
    return NodeSource(
        build(Edges(path, 8), "path", x=x, y=labels)[0], "path", classes=["a", "b"], fixed=list(fixed)
    )


def prepared(guess, source=None):
    method = NodeLabels(Guesses(guess))
    method.setup(source or nodes())
    return method


def test_nodes_of_the_split_teach_and_judge_where_they_have_labels():
    method = prepared(0)
    assert method.teaches.nonzero().flatten().tolist() == [0, 1]
    assert method.judges.nonzero().flatten().tolist() == [2, 3, 5]


def test_all_labelled_nodes_teach_where_there_is_no_split():
    method = prepared(0, nodes(fixed=()))
    assert method.teaches.tolist() == (LABELS >= 0).tolist() and not method.judges.any()
    assert method.validation() == 0


def test_validation_is_the_share_of_judges_that_are_guessed_and_leaves_the_mode_alone():
    assert prepared(0).validation() == pytest.approx(2 / 3)
    method = prepared(1)
    method.encoder.train()
    assert method.validation() == pytest.approx(1 / 3) and method.encoder.training


def test_the_best_weights_are_looked_for_after_each_epoch_and_taken_at_the_end():
    method = prepared(1)
    for step, guess, best in ((1, 0, -1), (2, 1, 1 / 3), (4, 0, 2 / 3), (5, 1, 2 / 3)):
        method.encoder.say(guess)
        method.step_end(Clock(step, total=6, steps_per_epoch=2))
        assert method.best_accuracy == pytest.approx(best)
    method.step_end(Clock(6, total=6, steps_per_epoch=2))
    assert method.encoder.score.tolist() == [1, 0], "the last guess was the worse one"


def test_of_equals_the_last_weights_are_kept():
    method = prepared(0)
    method.step_end(Clock(1, total=3, steps_per_epoch=1))
    with torch.no_grad():
        method.encoder.score.mul_(5)
    method.step_end(Clock(2, total=3, steps_per_epoch=1))
    assert method.best.score.tolist() == [5, 0]


def test_a_source_without_labels_is_refused_in_one_line():
    with pytest.raises(
        BadInput, match=r"^NodeLabels learns from labels of one graph's nodes; path has none\.$"
    ):
        prepared(0, nodes(labels=None, fixed=()))
