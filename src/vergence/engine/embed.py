"""Turn samples into vectors with a trained encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.core import pooled
from vergence.data.source import Source


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of the samples that could be read.

    Args:
        vectors: ``(n, D)`` float32.
        index: ``(n,)`` int64, their rows in the source, ascending.
        labels: ``(n,)`` int64, -1 where unknown; None when the source has no labels.
    """

    vectors: np.ndarray
    index: np.ndarray
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.index)


def device_of(module: nn.Module) -> torch.device:
    """Return where a module's parameters live, the CPU when it has none."""
    first = next(module.parameters(), None)
    return first.device if first is not None else torch.device("cpu")


def best_precision(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the hardware computes with it (GPU, AMX, AVX512-BF16), else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type == "cpu":
        fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return torch.float32


@torch.no_grad()
def embed(
    encoder: nn.Module,
    source: Source,
    *,
    batch_size: int = 512,
    device: torch.device | str | None = None,
    read: Callable[[Any], Tensor] | None = None,
) -> Embeddings:
    """Return the embeddings of every readable sample, in the source's order.

    Args:
        encoder: Takes the source's batches; put in evaluation mode for the while.
        source: Where the samples come from.
        batch_size: Samples a forward pass; the vectors do not depend on it.
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
    half = best_precision(device)
    vectors, index, labels = [], [], []
    try:
        for batch in source.loader(batch_size, size=getattr(encoder, "size", None)):
            moved = batch.to(device)
            with torch.autocast(device.type, half, enabled=half != torch.float32):
                found = take(moved)
            vectors.append(found.float().cpu().numpy())
            index.append(batch.index.cpu().numpy())
            labels.append(batch.label.cpu().numpy())
    finally:
        encoder.train(training)
    source.skipped.check(len(source), source.uri)
    return Embeddings(
        np.concatenate(vectors), np.concatenate(index), np.concatenate(labels) if source.labels is not None else None
    )
