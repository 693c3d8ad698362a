"""Embeds samples: turns them into vectors with a trained encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.core import pooled, reading_spec
from vergence.data.source import Source
from vergence.engine.devices import device_of, in_best_precision
from vergence.engine.identity import identity


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of the samples that could be read.

    Args:
        vectors: ``(n, D)`` float32.
        index: ``(n,)`` int64, their rows in the source, ascending.
        labels: ``(n,)`` int64, -1 where unknown; None when the source has no labels.
        encoder: Identity of the encoder whose pooled vectors they are, which a store keeps; None of others.
    """

    vectors: np.ndarray
    index: np.ndarray
    labels: np.ndarray | None
    encoder: Mapping[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.index)


@torch.no_grad()
def embed(
    encoder: nn.Module,
    source: Source,
    *,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    read: Callable[[Any], Tensor] | None = None,
) -> Embeddings:
    """Return the embeddings of every readable sample, in the source's order.

    Args:
        encoder: Takes the source's batches; put in evaluation mode for the while.
        source: Where the samples come from.
        batch_size: Samples a forward pass; None takes what suits the source. The vectors do not depend
            on it, but for nodes of a graph that is too large to be read in one piece.
        device: Where to compute; None stays where the encoder is.
        read: What to take from a batch instead of the pooled vectors ``(B, D)``, such as
            ``lambda batch: encoder.layers(batch)[1].flatten(1)``.

    Raises:
        BadInput: If more samples than ``source.skipped.limit`` allows cannot be read.
    """
    device = torch.device(device) if device else device_of(encoder)
    training = encoder.training
    encoder.to(device).eval()
    take = read or (lambda batch: pooled(encoder(batch)))
    vectors, index, labels = [], [], []
    try:
        for batch in source.loader(batch_size or source.reading_batch, spec=reading_spec(encoder)):
            moved = batch.to(device)
            with in_best_precision(device, source.precision):
                output = take(moved)
            vectors.append(output.float().cpu().numpy())
            index.append(batch.index.cpu().numpy())
            labels.append(batch.label.cpu().numpy())
    finally:
        encoder.train(training)
    source.skipped.check(len(source), source.uri)
    return Embeddings(
        np.concatenate(vectors) if vectors else np.empty((0, 0), np.float32),
        np.concatenate(index) if index else np.empty(0, np.int64),
        np.concatenate(labels) if source.labels is not None and labels else None,
        identity(encoder) if read is None else None,
    )
