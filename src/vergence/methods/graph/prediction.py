"""Supervised training of networks on whole graphs, with the weights that are best on a part held out."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vergence.core import Clock, Method, Recipe
from vergence.data.graph import pyg
from vergence.data.graph.source import GraphsSource


def standardise_targets(net: Any, source: GraphsSource) -> None:
    """Give a network the means ``offset`` and deviations ``unit`` of a source's numbers to predict."""
    if source.values is not None:
        net.offset.copy_(torch.from_numpy(np.nanmean(source.values, axis=0)))
        net.unit.copy_(torch.from_numpy(np.nanstd(source.values, axis=0)).clamp(min=1e-6))


def prediction_error(net: Any, graph: pyg.Data) -> Tensor:
    """Return the squared error in standard deviations where targets are known; of labels, cross-entropy.

    Args:
        net: With ``predict``: a batch of graphs -> ``(B, outputs)``, ``offset`` and ``unit`` ``(outputs,)``.
        graph: A batch with ``target`` ``(B, outputs)``, NaN where unknown, or ``label`` ``(B,)``, -1 where.
    """
    guess = net.predict(graph)
    if "target" not in graph:
        return cross_entropy(guess, graph.label, ignore_index=-1)
    truth = (graph.target - net.offset) / net.unit
    known = truth.isfinite()
    return ((guess - truth)[known] ** 2).mean()


class Prediction(Method):
    """Train a network on targets or labels of graphs; keep the weights of least error on a ninth held out.

    Args:
        encoder: With ``predict``, ``offset`` and ``unit``; see ``prediction_error``.
        epochs: Passes over the other eight ninths.
        batch: Graphs a step.
    """

    recipe = Recipe(optimizer="adam", lr=3e-3, lr_scaling="none", clip=5.0, val_share=1 / 9)
    least: Tensor

    def __init__(self, encoder: nn.Module, *, epochs: int = 100, batch: int = 64) -> None:
        super().__init__(encoder)
        self.recipe = replace(self.recipe, epochs=epochs, batch=batch)
        self.best = copy.deepcopy(encoder).requires_grad_(False)
        self.register_buffer("least", torch.tensor(math.inf))

    def setup(self, source: GraphsSource) -> None:  # type: ignore[override]
        standardise_targets(self.encoder, source)

    def views(self, graph: pyg.Data) -> pyg.Data:
        return graph

    def loss(self, graph: pyg.Data) -> dict[str, Tensor]:
        return {"error": prediction_error(self.encoder, graph)}

    def step_end(self, clock: Clock) -> None:
        """Keep the weights of least error on what is held out, of equals the last; end with them."""
        if clock.step % clock.steps_per_epoch == 0:
            error = self.held_out_error()
            if not error > self.least:  # not a number, where no target that is held out is known: the last
                self.least.fill_(error)
                self.best.load_state_dict(self.encoder.state_dict())
        if clock.step == clock.total:
            self.encoder.load_state_dict(self.best.state_dict())

    @torch.no_grad()
    def held_out_error(self) -> float:
        """Return the mean error on the graphs that are held out."""
        assert self.held_out is not None
        total, training = 0.0, self.encoder.training
        self.encoder.eval()
        for graph in self.held_out.loader(self.held_out.reading_batch):
            total += float(prediction_error(self.encoder, graph.to(self.least.device))) * len(graph.index)
        self.encoder.train(training)
        return total / len(self.held_out)
