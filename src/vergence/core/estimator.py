"""Estimator: the contract of what is fitted rather than trained, such as walks, closed forms, k-means, EM."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from vergence.core.features import pooled
from vergence.core.stage import Stage

if TYPE_CHECKING:
    from vergence.data import Source


class Estimator(ABC):
    """Says how a representation is computed from a source; as in scikit-learn, options come first.

    ``__init__`` takes keyword-only options and keeps each under its own name.

    Attributes:
        encoder: What ``fit`` leaves: takes the source's batches, answers with vectors ``(B, D)`` or
            ``Features``, and states its ``out_dim``.
        reads: Targets that it learns from; the source must hold them.
    """

    encoder: nn.Module
    reads: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def fit(self, source: Source, *, seed: int = 0) -> Self:
        """Compute ``encoder`` from unlabelled data; the same seed gives the same one."""

    def stages(self, source: Source) -> Sequence[Stage] | None:
        """Return the stages of an estimator that the engine trains, or None where ``fit`` does it all.

        See ``Method.stages``. Its ``fit`` then calls ``vergence.engine.stages.fit_stages``, which runs them
        without leaving a run.
        """
        return None

    @property
    def result(self) -> dict[str, Any]:
        """What ``fit`` computed besides vectors, for the run's ``config.yaml``: numbers, words, lists."""
        return {}

    @torch.no_grad()
    def transform(self, source: Source) -> np.ndarray:
        """Return the vectors ``(n, D)`` float32 of every sample of a source."""
        batches = source.loader(source.reading_batch)
        return np.concatenate([pooled(self.encoder(batch)).float().cpu().numpy() for batch in batches])

    def get_params(self) -> dict[str, Any]:
        """Return the options by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_params().items())})"
