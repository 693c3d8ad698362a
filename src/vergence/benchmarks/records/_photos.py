"""What runs of record of retrieval and curation share: arms that find, a short SimCLR, its vectors."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from vergence.core import Estimator
from vergence.data import Source
from vergence.data.tables import TableSource, from_vectors
from vergence.engine import embed
from vergence.evaluate.score import Score
from vergence.train import learn


class Found(nn.Module):
    """Stands for an encoder where an arm finds something else.

    Args:
        what: Rows, their groups, a number, a classifier: what the record's protocol judges.
    """

    out_dim = 0
    what: Any

    def __init__(self, what: Any) -> None:
        super().__init__()
        self.what = what


def as_found(found: nn.Module, train: Source, test: Source, seed: int) -> Score | float:
    """The protocol of arms that find a number."""
    assert isinstance(found, Found) and isinstance(found.what, Score | float)
    return found.what


def stand_in(source: Any, seed: int) -> tuple[Source, Source]:
    """Be the ``prepare`` of arms that deal their data out themselves."""
    return (from_vectors(np.eye(4, dtype=np.float32), None, name="dealt out by the arms"),) * 2


DEALT_OUT: dict[str, Any] = {
    "batch": None,
    "encoder": None,
    "protocol": as_found,
    "pixels": False,
    "prepare": stand_in,
}  # of a ``Record`` whose arms deal their data out themselves and find a number


class Finding(Estimator):
    """An arm that is a function of what is learned from and a seed.

    Args:
        find: (source, seed) -> what ``Found`` holds.
    """

    def __init__(self, find: Callable[[Any, int], Any]) -> None:
        self.find = find

    def fit(self, source: Any, *, seed: int = 0) -> Finding:
        self.encoder = Found(self.find(source, seed))
        return self


def simclr(
    source: Source, *, epochs: int, seed: int, batch: int = 128, size: int = 32, **settings: Any
) -> nn.Module:
    """Train a small SimCLR and return its encoder.

    Args:
        source: Of images.
        epochs: Passes.
        seed: Of all that is drawn.
        batch: Samples a step.
        size: Side of the views in pixels.
        **settings: Further ones of ``learn``, such as ``views`` and ``encoder_options``.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = learn(
            "simclr",
            source,
            encoder="resnet-tiny",
            size=size,
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
            **settings,
        )
        return run.encoder


def vectors(encoder: nn.Module, source: Source, mean: np.ndarray | None = None) -> TableSource:
    """Return unit vectors of images, ``mean (D,)`` taken off first, with their labels."""
    found = embed(encoder, source)
    x = found.vectors if mean is None else found.vectors - mean
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return from_vectors(unit, found.labels, name="embeddings")
