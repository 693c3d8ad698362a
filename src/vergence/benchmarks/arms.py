"""Arms of runs of record: an encoder trained, fitted, untrained, or none at all, judged by the task."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vergence.benchmarks.tasks import Task
from vergence.core import Estimator, Method
from vergence.core.modality import find_modality
from vergence.data import Source
from vergence.evaluate.score import Score
from vergence.train import learn

PAPER, UNTRAINED, RAW = "paper", "untrained", "raw"


@dataclass(frozen=True)
class Training:
    """What the trained arms of a record have in common; called with a method, it is an arm.

    All arms of a seed start from the same encoder weights and see the samples in the same order.

    Args:
        encoder: Name of the backbone.
        options: Of the backbone, such as its width.
        epochs: Of every arm that does not say its own.
        batch: Samples a step; None takes what suits the source, such as a whole graph.
        size: Side of the views of images in pixels; None where samples have none.
        settings: Further arguments of ``learn``, such as ``lr`` and ``optimizer``.

    >>> train = Training("gcn", {"width": 128}, epochs=100)
    >>> train(lambda encoder: ..., epochs=200).training.epochs
    200
    """

    encoder: str
    options: Mapping[str, Any] = field(default_factory=dict)
    _: KW_ONLY
    epochs: int
    batch: int | None = None
    size: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, method: Callable[[Any], Method], **own: Any) -> Trained:
        """Return the arm of a method, built around the encoder.

        Args:
            method: Encoder -> method.
            **own: Fields in which this arm differs, such as ``epochs``; ``options`` and ``settings`` are
                added to the common ones.
        """
        for name in {"options", "settings"} & set(own):
            own[name] = {**getattr(self, name), **own[name]}
        return Trained(method, replace(self, **own))

    @property
    def untrained(self) -> Trained:
        """The arm of the encoder as it begins."""
        return Trained(None, self)

    def start(self, source: Source) -> nn.Module:
        """Build the encoder with torch's present random numbers."""
        encoders = find_modality(source.modality).load("encoders")
        return encoders.for_source(source, self.encoder, size=self.size, **self.options)

    def train(self, method: Method, source: Source, seed: int) -> nn.Module:
        """Train a method and return its encoder."""
        settings = dict(self.settings)
        if not isinstance(method.views, str):
            settings.pop("views", None)  # options of a kind of view; this arm makes its own
        with tempfile.TemporaryDirectory() as folder:
            run = learn(
                method,
                source,
                epochs=self.epochs,
                batch_size=self.batch,
                out=Path(folder) / "run",
                seed=seed,
                workers=1,
                quiet=True,
                **settings,
            )
            return run.encoder


@dataclass(frozen=True)
class Trained:
    """An arm: an encoder, trained by a method or as it begins, and judged by the task.

    Args:
        method: Encoder -> method; None leaves the encoder untrained.
        training: Of this arm.
    """

    method: Callable[[Any], Method] | None
    training: Training

    def __call__(self, task: Task, seed: int) -> dict[str, Score | float]:
        train, test = task.data(seed)
        torch.manual_seed(seed)
        encoder = self.training.start(train)
        if self.method is not None:
            encoder = self.training.train(self.method(encoder), train, seed)
        return task.judge(encoder, train, test, seed)


@dataclass(frozen=True)
class Fitted:
    """An arm: an estimator, made anew with every seed, whose encoder the task judges.

    Args:
        estimator: () -> estimator.
    """

    estimator: Callable[[], Estimator]

    def __call__(self, task: Task, seed: int) -> dict[str, Score | float]:
        train, test = task.data(seed)
        torch.manual_seed(seed)
        return task.judge(self.estimator().fit(train, seed=seed).encoder, train, test, seed)


def raw(task: Task, seed: int) -> dict[str, Score | float]:
    """Judge what a source shows unlearned: pixels, features of nodes or rows, or aggregates of histories."""
    train, test = task.data(seed)
    baseline = find_modality(train.modality).load("raw")(train, nn.Identity())
    return task.judge(next(iter(baseline.values())), train, test, seed)
