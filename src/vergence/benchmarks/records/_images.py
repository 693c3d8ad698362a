"""What runs of record on images share: CIFAR-10 and its short training, a frozen SimCLR, its vectors."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from vergence.benchmarks.arms import Training
from vergence.benchmarks.tasks import KNN, Metric, Task, images
from vergence.data import Source
from vergence.data.tables import TableSource, from_vectors
from vergence.engine import embed
from vergence.evaluate.protocols.finetune import finetune
from vergence.evaluate.score import Score
from vergence.train import learn

ADAMW: dict[str, Any] = {"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1e-4, "warmup": 1}


def cifar10(*metrics: Metric, train: int = 5_000, test: int = 5_000, deal: Any = None) -> Task:
    """Make a task of CIFAR-10, judged by k-NN where no metric is given."""
    return images("cifar10", *(metrics or (KNN,)), train=train, test=test, deal=deal)


def short(epochs: int, encoder: str = "resnet-tiny", **options: Any) -> Training:
    """Return a training of a few epochs at 32 pixels, a batch of 128, by AdamW.

    Args:
        epochs: Of every arm.
        encoder: Name of the backbone.
        **options: Of the backbone.
    """
    return Training(encoder, options, epochs=epochs, batch=128, size=32, settings=ADAMW)


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
            **ADAMW,
            out=Path(folder) / "run",
            seed=seed,
            workers=1,
            quiet=True,
            **settings,
        )
        return run.encoder


def vectors(encoder: nn.Module, source: Source, mean: np.ndarray | None = None) -> TableSource:
    """Return unit vectors of images, ``mean (D,)`` taken off first, with their labels."""
    embedded = embed(encoder, source)
    x = embedded.vectors if mean is None else embedded.vectors - mean
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return from_vectors(unit, embedded.labels, name="embeddings")


def tenth(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score:
    """Fine-tune on every tenth label."""
    return finetune(encoder, train, test, epochs=20, batch_size=64, labels_share=0.1, seed=seed)


TENTH = Metric("accuracy after fine-tuning on 1,000 labels; untrained: from scratch", tenth)
