"""Learning from labels of one graph's nodes, with the weights that are best on the validation nodes."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from vergence.core import BadInput, Clock, Method
from vergence.data.graph.base import GraphSource


class NodeLabels(Method):
    """A method whose encoder answers with a number a class, and is judged by its own guesses.

    Labels of the training nodes of the source's usual split are looked at (of all nodes where it has no
    split); the weights that classify its validation nodes best are kept, of equals the last.

    Args:
        encoder: Maps a graph to ``Features`` with ``pooled (N, C)``.

    Attributes:
        teaches: ``(n,)``, which samples of the source teach.
        judges: ``(n,)``, which validate.
    """

    reads = ("labels",)
    best_accuracy: torch.Tensor

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__(encoder)
        self.best = copy.deepcopy(encoder).requires_grad_(False)
        self.register_buffer("best_accuracy", torch.tensor(-1.0))

    def setup(self, source: GraphSource) -> None:  # type: ignore[override]
        if source.grain != "nodes" or source.labels is None:
            name = type(self).__name__
            raise BadInput(f"{name} learns from labels of one graph's nodes; {source.uri} has none.")
        train, val = source.labels >= 0, np.zeros(len(source), bool)
        if source.protocols:
            split = source.splits()[0]
            train = np.isin(np.arange(len(source)), split.train) & train
            val = np.isin(np.arange(len(source)), split.val) & (source.labels >= 0)
        self.source, self.teaches, self.judges = source, torch.from_numpy(train), torch.from_numpy(val)

    def step_end(self, clock: Clock) -> None:
        """Keep the weights that do best on the validation nodes; at the end, go back to them."""
        if clock.step % clock.steps_per_epoch and clock.step < clock.total:
            return
        accuracy = self.validation()
        if accuracy >= self.best_accuracy:
            self.best_accuracy.fill_(accuracy)
            self.best.load_state_dict(self.encoder.state_dict())
        if clock.step == clock.total:
            self.encoder.load_state_dict(self.best.state_dict())

    @torch.no_grad()
    def validation(self) -> float:
        """Return the accuracy on the validation nodes; 0 where there are none."""
        right, training = 0, self.encoder.training
        self.encoder.eval()
        device = self.best_accuracy.device
        for batch in self.source.loader(self.source.reading_batch):
            judged = self.judges[batch.index]
            if judged.any():
                guess = self.encoder(batch.to(device)).pooled.argmax(1).cpu()
                right += int((guess == batch.label.cpu())[judged].sum())
        self.encoder.train(training)
        return right / max(1, int(self.judges.sum()))
