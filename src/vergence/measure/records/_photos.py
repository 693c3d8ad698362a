"""What runs of record of curation and clustering share: a short SimCLR, and its vectors as a table."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from vergence.core import Estimator
from vergence.data import Source
from vergence.data.tables import TableSource, from_vectors
from vergence.engine import embed
from vergence.learn.api import learn


class Found(nn.Module):
    """Stands for an encoder where what an arm finds is rows or their groups.

    Args:
        rows: ``(m,)`` int64, or a label of every row.
    """

    out_dim = 0

    def __init__(self, rows: np.ndarray) -> None:
        super().__init__()
        self.rows = rows


class Finding(Estimator):
    """An arm that is a function of vectors and a seed."""

    def __init__(self, find: Any) -> None:
        self.find = find

    def fit(self, source: Any, *, seed: int = 0) -> Finding:
        self.encoder = Found(self.find(source.numeric, seed))
        return self


def simclr(source: Source, *, epochs: int, seed: int, batch: int = 128) -> nn.Module:
    """Train a small SimCLR and return its encoder."""
    with tempfile.TemporaryDirectory() as folder:
        run = learn(
            "simclr",
            source,
            encoder="resnet-tiny",
            size=32,
            epochs=epochs,
            batch_size=batch,
            optimizer="adamw",
            lr=2e-3,
            weight_decay=1e-4,
            warmup=1,
            out=Path(folder) / "run",
            seed=seed,
            workers=1,
            quiet=True,
        )
        return run.encoder


def vectors(encoder: nn.Module, source: Source, mean: np.ndarray | None = None) -> TableSource:
    """Return unit vectors of images, ``mean (D,)`` taken off first, with their labels."""
    found = embed(encoder, source)
    x = found.vectors if mean is None else found.vectors - mean
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return from_vectors(unit, found.labels, name="CIFAR-10 embeddings")
