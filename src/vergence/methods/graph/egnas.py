"""Edge-featured Graph Neural Architecture Search (EGNAS), arXiv:2109.01356."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Clock, Estimator, Features, Method, Recipe, Stage, Turn
from vergence.data import Source
from vergence.data.graph import pyg
from vergence.data.graph.source import GraphsSource
from vergence.engine.stages import fit_stages
from vergence.methods.graph.cells import (
    EDGE_OPS,
    KEPT,
    NODE_OPS,
    SIDES,
    Cell,
    Choice,
    Genotype,
    Mixed,
    criterion,
    operation,
    places,
)
from vergence.methods.graph.encoders import build, read_out
from vergence.methods.graph.prediction import Prediction, prediction_error, standardise_targets

PLACE = "vergence.methods.graph.egnas:EGNASNet"


class EGNASNet(nn.Module):
    """Graphs with features of nodes and edges -> a prediction a graph, ``(B, outputs)``.

    A graph's vector is the mean of its nodes' and of its edges' last states.

    Args:
        in_dim: Width of the nodes' features.
        edge_dim: Width of the edges' features; 0 gives every edge a 1.
        width: Of all states.
        cells: One behind the other, all of one genotype.
        states: New states a cell.
        outputs: Width of the answer.
        genotype: What the cells are; None mixes all operations, for a search.
        edge_ops: What a search knows of edges.
    """

    def __init__(
        self,
        in_dim: int,
        edge_dim: int,
        width: int,
        cells: int,
        states: int,
        outputs: int,
        genotype: Genotype | None = None,
        edge_ops: Sequence[str] = EDGE_OPS,
    ) -> None:
        super().__init__()
        self.edge_dim, self.out_dim, self.states = edge_dim, outputs, states
        self.nodes_in, self.edges_in = nn.Linear(in_dim, width), nn.Linear(max(1, edge_dim), width)
        self.choices = nn.ModuleDict()
        if genotype is None:
            for side, names in zip(SIDES, (NODE_OPS, edge_ops), strict=True):
                for i, j in places(states):
                    self.choices[f"{side}-{i}-{j}"] = Choice(names)
        self.cells = nn.ModuleList(Cell(self._inputs(genotype, width), width) for _ in range(cells))
        self.read = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, outputs))
        self.register_buffer("offset", torch.zeros(outputs))
        self.register_buffer("unit", torch.ones(outputs))
        self.spec: dict[str, Any] = {}

    offset: Tensor
    unit: Tensor

    def _inputs(self, genotype: Genotype | None, width: int) -> dict[str, list[list[tuple[int, nn.Module]]]]:
        if genotype is not None:
            return {
                side: [
                    [(j, operation(side, name, width, affine=True)) for j, name in state] for state in states
                ]
                for side, states in genotype.items()
            }
        return {
            side: [
                [(j, Mixed(side, self.choice(side, i, j), width)) for j in range(i + 1)]
                for i in range(self.states)
            ]
            for side in SIDES
        }

    def choice(self, side: str, i: int, j: int) -> Choice:
        choice = self.choices[f"{side}-{i}-{j}"]
        assert isinstance(choice, Choice)
        return choice

    def inputs(self, side: str, i: int) -> list[Choice]:
        """Return the choices of new state i, one for each earlier state."""
        return [self.choice(side, i, j) for j in range(i + 1)]

    @property
    def undecided(self) -> int:
        """Return how many choices are open."""
        return sum(choice.open for choice in self.choices.values() if isinstance(choice, Choice))

    def decide(self, side: str) -> None:
        """Decide for the open choice of nodes or of edges that the criterion prefers, where there is one.

        What a state that now has ``KEPT`` inputs could still hear is dropped.
        """
        candidates = [
            (i, choice) for i in range(self.states) for choice in self.inputs(side, i) if choice.open
        ]
        if candidates:
            i, choice = candidates[int(criterion([choice for _, choice in candidates]).argmax())]
            choice.decide()
            if self._decided(side, i) >= KEPT:
                self._drop_open(side, i)

    def complete(self) -> None:
        """Decide for the most important of what is open until each state has its inputs; drop the rest."""
        for side in SIDES:
            for i in range(self.states):
                candidates = [choice for choice in self.inputs(side, i) if choice.open]
                candidates.sort(key=Choice.importance, reverse=True)
                for choice in candidates[: KEPT - self._decided(side, i)]:
                    choice.decide()
                self._drop_open(side, i)

    def _decided(self, side: str, i: int) -> int:
        return sum(choice.operation is not None for choice in self.inputs(side, i))

    def _drop_open(self, side: str, i: int) -> None:
        for choice in self.inputs(side, i):
            if choice.open:
                choice.drop()

    def genotype(self) -> Genotype:
        """Return what was decided."""
        return {
            side: [
                [
                    (j, name)
                    for j, choice in enumerate(self.inputs(side, i))
                    if (name := choice.operation) is not None
                ]
                for i in range(self.states)
            ]
            for side in SIDES
        }

    def predict(self, graph: pyg.Data) -> Tensor:
        """Return predictions ``(B, outputs)`` in units of the standard deviation, or logits."""
        edges = graph.edge_index
        e = graph.edge_attr.float() if self.edge_dim else edges.new_ones(edges.shape[1], 1).float()
        v, e = self.nodes_in(graph.x.float()), self.edges_in(e)
        for cell in self.cells:
            v, e = cell(v, e, edges)
        of_edges = copy.copy(graph)
        of_edges.batch = graph.batch[edges[0]]
        return self.read(torch.cat([read_out(v, graph, "mean"), read_out(e, of_edges, "mean")], dim=1))

    def forward(self, graph: pyg.Data) -> Features:
        return Features(pooled=self.predict(graph) * self.unit + self.offset)


class Search(Method):
    """Weigh operations while a network of all of them trains (DARTS, first order); decide one by one (SGAS).

    Args:
        encoder: An ``EGNASNet`` without a genotype.
        epochs: Of the search.
        warmup: Epochs before the first decision.
        every: Epochs between decisions, of which each is one for nodes and one for edges.
        alpha_lr: Rate of Adam on the operations' weights.
        batch: Graphs a step.
    """

    recipe = Recipe(
        optimizer="sgd", lr=0.025, lr_scaling="none", min_lr=1e-3, momentum=0.9, weight_decay=3e-4,
        decay_vectors=True, clip=5.0, val_share=0.5,
    )  # fmt: skip
    architecture = Recipe(
        optimizer="adam", lr_scaling="none", betas=(0.5, 0.999), weight_decay=1e-3, decay_vectors=True,
        schedule="constant",
    )  # fmt: skip
    encoder: EGNASNet

    def __init__(
        self,
        encoder: EGNASNet,
        *,
        epochs: int = 50,
        warmup: int = 10,
        every: int = 5,
        alpha_lr: float = 3e-4,
        batch: int = 64,
    ) -> None:
        super().__init__(encoder)
        self.recipe = replace(self.recipe, epochs=epochs, batch=batch)
        self.warmup, self.every, self.alpha_lr = warmup, every, alpha_lr

    def setup(self, source: GraphsSource) -> None:  # type: ignore[override]
        standardise_targets(self.encoder, source)

    def optimizers(self) -> dict[str, Turn]:
        alphas = list(self.encoder.choices.parameters())
        known = {id(p) for p in alphas}
        weights = [p for p in self.parameters() if id(p) not in known]
        recipe = replace(self.architecture, lr=self.alpha_lr)
        return {
            "operations": Turn(alphas, loss="operation_loss", recipe=recipe, batches="val"),
            "weights": Turn(weights),
        }

    def views(self, graph: pyg.Data) -> pyg.Data:
        return graph

    def loss(self, graph: pyg.Data) -> dict[str, Tensor]:
        return {"error": prediction_error(self.encoder, graph)}

    def operation_loss(self, graph: pyg.Data) -> dict[str, Tensor]:
        if self.encoder.undecided:
            return self.loss(graph)
        return {"error": 0 * torch.cat(list(self.encoder.choices.parameters())).sum()}  # nothing to weigh

    def step_end(self, clock: Clock) -> None:
        """Decide at the end of an epoch whose turn it is; complete every state at the end."""
        epoch, rest = clock.epoch - 1, clock.step % clock.steps_per_epoch
        if not rest and epoch >= self.warmup and (epoch - self.warmup) % self.every == 0:
            for side in SIDES:
                self.encoder.decide(side)
        if clock.step == clock.total:
            self.encoder.complete()
        self.watch("undecided", self.encoder.undecided)

    def genotype(self) -> Genotype:
        """Return what was decided."""
        return self.encoder.genotype()


class EGNAS(Estimator):
    """Let a search decide how nodes and edges of graphs feed each other, then train what it found.

    Cai et al. 2021, arXiv:2109.01356. A network that mixes all operations is trained on one half of the
    graphs by SGD, the weights of the operations on the other half by Adam (DARTS, first order). After a
    warm-up the choices of nodes and of edges that SGAS's criterion prefers are made every few epochs, one
    each; a state keeps two inputs. The cells found are trained anew. Graphs need targets or labels; rows that
    are given are all learned from.

    Differs from the released code: operations are weighed on a batch of the other half, not on the one that
    trains; a cell hears the last cell, not the last two, to which it adds what it makes of its new states;
    cells share one genotype; there is no perceptron in front of messages and relations; gradients are clipped
    at 5 in the search too, and its rate falls step by step; what was found trains at a rate that falls along
    half a cosine, not by plateaus. Differs from the paper: no standard deviation, minimum or generalised mean
    among the aggregations; the search goes through as many cells as the final network; a graph's vector holds
    the mean of its edges too.

    Args:
        width: Of all states.
        cells: One behind the other.
        states: New states of nodes, and of edges, a cell.
        search_epochs: Of the search.
        warmup: Epochs before the first choices.
        every: Epochs between choices; what is open at the end is chosen then, by importance.
        alpha_lr: Rate of Adam on the operations' weights.
        edge_ops: What edges may become, names of ``EDGE_OPS``.
        epochs: Of training what was found.
        batch: Graphs a step.
    """

    encoder: EGNASNet

    def __init__(
        self,
        *,
        width: int = 32,
        cells: int = 2,
        states: int = 3,
        search_epochs: int = 50,
        warmup: int = 10,
        every: int = 5,
        alpha_lr: float = 3e-4,
        edge_ops: Sequence[str] = EDGE_OPS,
        epochs: int = 100,
        batch: int = 64,
    ) -> None:
        if min(width, cells, states, search_epochs, every, epochs) < 1 or batch < 2 or warmup < 0:
            raise BadInput(
                "EGNAS needs sizes and epochs of 1 or more, warmup of 0 or more and batch of 2 or more."
            )
        if not set(edge_ops) <= set(EDGE_OPS) or set(edge_ops) <= {"none"}:
            raise BadInput(f"EGNAS needs edge_ops among {', '.join(EDGE_OPS)}; got {', '.join(edge_ops)}.")
        self.width, self.cells, self.states, self.search_epochs = width, cells, states, search_epochs
        self.warmup, self.every, self.alpha_lr = warmup, every, alpha_lr
        self.edge_ops, self.epochs, self.batch = tuple(edge_ops), epochs, batch

    def stages(self, source: Source) -> Sequence[Stage]:
        """Search, then train what was found.

        Args:
            source: A set of graphs with targets or labels.

        Raises:
            BadInput: If the source is not that.
        """
        if not isinstance(source, GraphsSource) or (source.values is None and source.labels is None):
            raise BadInput(
                f"EGNAS searches on a set of graphs with targets or labels; {source.uri} is not one."
            )
        if len(source) < 8:
            raise BadInput(f"EGNAS needs 8 graphs or more; {source.uri} has {len(source)}.")
        return [
            Stage("search", lambda before: self.search(source)),
            Stage("train", lambda before: self.final(source, before["search"].genotype())),
        ]

    def fit(self, source: Source, *, seed: int = 0) -> Self:
        fit_stages(self, source, seed=seed)
        return self

    @property
    def genotype_(self) -> Genotype:
        """After ``fit``: of every new state, (earlier state, operation)."""
        return self.encoder.spec["genotype"]

    def sizes(self, source: GraphsSource) -> dict[str, Any]:
        """Return the arguments of a network for this source, but for its genotype."""
        outputs = 1 + int(source.labels.max()) if source.labels is not None else 0
        if source.values is not None:
            outputs = source.values.shape[1]
        return {
            "in_dim": source.in_dim,
            "edge_dim": source.data.edge_attr.shape[1] if "edge_attr" in source.data else 0,
            "width": self.width,
            "cells": self.cells,
            "states": self.states,
            "outputs": outputs,
        }

    def search(self, source: GraphsSource) -> Method:
        """Return the method that searches."""
        return Search(
            EGNASNet(**self.sizes(source), edge_ops=self.edge_ops),
            epochs=self.search_epochs,
            warmup=self.warmup,
            every=self.every,
            alpha_lr=self.alpha_lr,
            batch=self.batch,
        )

    def final(self, source: GraphsSource, genotype: Genotype) -> Method:
        """Return the method that trains the network of a genotype."""
        plain = {
            side: [[list(one) for one in state] for state in states] for side, states in genotype.items()
        }
        net = build(PLACE, **self.sizes(source), genotype=plain)  # lists: config.yaml knows no tuples
        return Prediction(net, epochs=self.epochs, batch=self.batch)
