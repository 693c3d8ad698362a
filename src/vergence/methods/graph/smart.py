"""Temporal Generalization Estimation in Evolving Graphs, arXiv:2404.04969."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from vergence.core import BadInput, Clock, Estimator, Method, Recipe, Stage
from vergence.core.features import pooled
from vergence.data import Source
from vergence.data.graph import pyg
from vergence.data.graph.temporal import TemporalSource
from vergence.engine.stages import fit_stages
from vergence.methods.graph.monitor import Monitor, network
from vergence.methods.graph.snapshots import LEAST, Snapshots, loss_of, snapshots_of, taught, unseen

PLACE = "vergence.methods.graph.smart:Monitor"


class OneBatch:
    """A sampler whose epochs are one batch, always the same.

    Args:
        graph: The batch.
    """

    def __init__(self, graph: pyg.Data) -> None:
        self.graph = graph

    def __len__(self) -> int:
        return 1

    def epoch(self, epoch: int, *, seed: int, start: int, rank: int, world: int) -> Iterator[pyg.Data]:
        """Yield the batch, unless it is done."""
        return iter([] if start else [self.graph])


class Classification(Method):
    """Train the network that is watched, on every second labelled node of the first snapshot.

    Args:
        encoder: A graph -> logits ``(N, C)`` or ``Features``.
        snapshot: With ``y``.
    """

    recipe = Recipe(
        optimizer="adam", lr=0.01, lr_scaling="none", weight_decay=5e-4, decay_vectors=True,
        schedule="constant", epochs=200,
    )  # fmt: skip

    def __init__(self, encoder: nn.Module, snapshot: pyg.Data) -> None:
        super().__init__(encoder)
        self.graph = copy.copy(snapshot)
        self.graph.rows = taught(snapshot)

    def batches(self, source: Source) -> OneBatch:
        return OneBatch(self.graph)

    def views(self, graph: pyg.Data) -> pyg.Data:
        return graph

    def loss(self, graph: pyg.Data) -> dict[str, Tensor]:
        logits = pooled(self.encoder(graph))
        return {"label": cross_entropy(logits[graph.rows], graph.y[graph.rows])}


class Watch(Method):
    """Train a monitor on labelled snapshots: the squared error of its estimates, and reconstruction.

    Args:
        encoder: The monitor.
        snapshots: Labelled ones, oldest first.
        losses: Of the network on each, in nats, ``(T,)``.
        epochs: Passes over all of them.
    """

    recipe = Recipe(
        optimizer="adam", lr=1e-2, lr_scaling="none", weight_decay=1e-4, decay_vectors=True,
        schedule="constant",
    )  # fmt: skip
    encoder: Monitor

    def __init__(
        self, encoder: Monitor, snapshots: Sequence[pyg.Data], losses: Tensor, *, epochs: int = 100
    ) -> None:
        super().__init__(encoder)
        self.recipe = replace(self.recipe, epochs=epochs)
        answers = torch.cat([encoder.said(snapshot) for snapshot in snapshots])
        encoder.centre.copy_(answers.mean(0))
        encoder.spread.copy_(answers.std(0).clamp(min=1e-6))
        encoder.level.copy_(torch.stack([losses.mean(), losses.std().clamp(min=1e-6)]))
        graphs = [encoder.feature_graph(snapshot) for snapshot in snapshots]
        self.graph, self.last = pyg.Batch.from_data_list(graphs), graphs[-1]
        self.graph.losses = (losses - encoder.level[0]) / encoder.level[1]

    def batches(self, source: Source) -> OneBatch:
        return OneBatch(self.graph)

    def views(self, graph: pyg.Data) -> pyg.Data:
        return graph

    def loss(self, graph: pyg.Data) -> dict[str, Tensor]:
        cost, z = self.encoder.reconstruction(graph)
        self.encoder.standardise(z)
        state, _ = self.encoder.rnn(self.encoder.pooled(z, graph))
        return {"estimate": mse_loss(self.encoder.read(state)[:, 0], graph.losses), "reconstruct": cost}

    def step_end(self, clock: Clock) -> None:
        """At the end, let the monitor remember the labelled snapshots."""
        if clock.step == clock.total:
            device = self.encoder.home.device
            self.encoder.remember(self.graph.to(device), self.last.to(device))


class Deployment(Estimator):
    """Follow the later snapshots, one after the other, without their labels.

    Args:
        monitor: As it was before deployment; it stays as it is.
        snapshots: Later ones, oldest first.
    """

    encoder: Monitor

    def __init__(self, *, monitor: Monitor, snapshots: Sequence[pyg.Data]) -> None:
        self.monitor, self.snapshots = monitor, snapshots

    def fit(self, source: Source, *, seed: int = 0) -> Self:
        self.encoder = copy.deepcopy(self.monitor).cpu()
        for i, shot in enumerate(self.snapshots):
            self.encoder.guessed[i] = self.encoder.estimate(pyg.Data(x=shot.x, edge_index=shot.edge_index))
        return self


class SMART(Estimator):
    """Tell how wrong a deployed graph network is by now, on a graph that grows, without new labels.

    Lu, Ma, Gan, Wang, Zhu, Zhou, Liang 2024, arXiv:2404.04969. Before deployment, an extractor and a
    recurrent network learn the frozen network's loss from the labelled snapshots. After it, the extractor
    alone follows the graph by reconstructing edges and features of each new snapshot; no label is read.

    ``fit`` takes the labelled snapshots, first to last, and ``estimate`` each later one; or ``fit`` takes
    a ``TemporalSource``, cuts it into ``snapshots``, reads the labels of the first ``known`` of them and
    estimates the others (``estimates``).

    Differs from the paper: no official code is known; sizes, rates and steps are ours; φ and the decoders
    reconstruct before deployment too, so that later steps start from decoders that mean something; the
    recurrent network has ReLUs, so that its estimates may leave the range of the known losses; what φ's own
    steps do to the last labelled snapshot is taken off (``Monitor``), without which they drown the drift.

    Args:
        model: The network whose loss is asked for, trained: a graph (``x``, ``edge_index``) -> logits
            ``(N, C)``. None, with a source, trains a GCN on half of the labels of its first snapshot; these
            nodes are left out of all losses.
        snapshots: Into how many a source is cut, equally many new edges between them; at least 4.
        known: Share of them whose labels are read, in (0, 1), at least 3 of them.
        width: Of the extractor and of the recurrent network, at least 1.
        weight: λ of structure against features, in [0, 1].
        share: Of the edges that augmented graphs lose and gain, in [0, 1).
        epochs: Passes over the labelled snapshots, at least 1.
        steps: Of adaptation, each later snapshot; 0 or more.
        lr: Of these steps, above 0.
    """

    encoder: Monitor

    def __init__(
        self,
        *,
        model: nn.Module | None = None,
        snapshots: int = 20,
        known: float = 0.3,
        width: int = 16,
        weight: float = 0.5,
        share: float = 0.2,
        epochs: int = 100,
        steps: int = 5,
        lr: float = 1e-3,
    ) -> None:
        if snapshots < 4 or not 0 < known < 1 or min(width, epochs) < 1 or steps < 0 or lr <= 0:
            raise BadInput(
                "SMART needs 4 or more snapshots, known in (0, 1), width and epochs of 1 or more, "
                f"steps of 0 or more, lr > 0; got {snapshots}, {known}, {width}, {epochs}, {steps} and {lr}."
            )
        if not 0 <= weight <= 1 or not 0 <= share < 1:
            raise BadInput(f"SMART needs weight in [0, 1] and share in [0, 1); got {weight} and {share}.")
        self.model, self.snapshots, self.known, self.width = model, snapshots, known, width
        self.weight, self.share, self.epochs, self.steps, self.lr = weight, share, epochs, steps, lr

    def fit(self, source: Source | Sequence[pyg.Data], *, seed: int = 0) -> Self:
        """Learn from labelled snapshots; of a source, estimate the loss on the later ones.

        Args:
            source: A ``TemporalSource`` with labels, or 3 or more snapshots (``Data`` with ``x``,
                ``edge_index`` and ``y``, -1 where unknown), oldest first.
            seed: Of weights and draws.
        """
        fit_stages(self, source if isinstance(source, Source) else Snapshots(source), seed=seed)
        return self

    def stages(self, source: Source) -> Sequence[Stage]:
        """Train the network where none is given, then its monitor, which follows the later snapshots.

        Args:
            source: A ``TemporalSource`` with labels, or ``Snapshots``.
        """
        if isinstance(source, TemporalSource):
            return self._on_source(source)
        if not isinstance(source, Snapshots):
            raise BadInput(
                "smart watches a graph that grows: temporal:FILE with labels beside it, or 3 or more "
                f"snapshots; {source.uri} is neither."
            )
        if (model := self.model) is None:
            raise BadInput("smart needs the network whose loss it shall estimate: SMART(model=...).")
        return [Stage("monitor", lambda before: self.watch(model, source.snapshots, 0))]

    def _on_source(self, source: TemporalSource) -> Sequence[Stage]:
        shots = snapshots_of(source, self.snapshots)
        early = min(max(LEAST, math.ceil(self.known * len(shots))), len(shots) - 1)
        width, classes = shots[0].x.shape[1], int(source.labels.max()) + 1  # type: ignore[union-attr]
        stages, first = list[Stage](), shots[0]
        if self.model is None:
            shots = unseen(shots)
            stages.append(Stage("network", lambda before: Classification(network(width, classes), first)))

        def watch(before: dict[str, Any]) -> Watch:
            model = before["network"].encoder if self.model is None else self.model
            return self.watch(model, shots[:early], len(shots) - early)

        def deploy(before: dict[str, Any]) -> Deployment:
            return Deployment(monitor=before["monitor"].encoder, snapshots=shots[early:])

        return [*stages, Stage("monitor", watch), Stage("deployment", deploy)]

    def watch(self, model: nn.Module, shots: Sequence[pyg.Data], later: int) -> Watch:
        """Return what trains the monitor of a network on labelled snapshots, ``later`` others to come."""
        model = copy.deepcopy(model).cpu()  # the given one stays as it is
        losses = torch.tensor([loss_of(model, shot) for shot in shots])
        with torch.no_grad():
            classes = pooled(model(shots[0])).shape[1]
        options: dict[str, Any] = {
            "width": self.width, "weight": self.weight, "share": self.share, "steps": self.steps,
            "lr": self.lr, "estimates": later, "anchor": [len(shots[-1].x), shots[-1].num_edges],
        }  # fmt: skip
        in_dim = shots[0].x.shape[1]
        monitor = Monitor(in_dim, classes, model=model, **options)
        if self.model is None:
            monitor.spec = {"name": PLACE, "in_dim": in_dim, "classes": classes, **options}  # type: ignore[assignment]
        return Watch(monitor, shots, losses, epochs=self.epochs)

    @property
    def estimates(self) -> np.ndarray:
        """After ``fit``: the estimated loss of every later snapshot of the source, in nats."""
        return self.encoder.guessed.double().numpy()

    def estimate(self, snapshot: pyg.Data) -> float:
        """Return the estimated loss on the next snapshot, in nats; once each, in the order of time."""
        return self.encoder.estimate(snapshot)
