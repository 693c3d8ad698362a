"""Embedder: learning and embedding as one transformer of scikit-learn."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from vergence.core import BadInput
from vergence.data import Source
from vergence.data import open as open_source
from vergence.engine import embed
from vergence.train import learn

LEAST = 4  # samples that learning needs


class Embedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Learn a representation of what ``fit`` is given, without its labels; ``transform`` gives its vectors.

    It takes a table ``(n, d)`` of numbers (NaN is missing); a data frame, also with words in it; images as an
    array ``(n, H, W, 3)``, ``(n, 3, H, W)`` or ``(n, H, W)``, uint8 or float in [0, 1]; or a list of PIL
    images.

    Args:
        method: As of ``vergence.learn``, like all that follows: key of a paper, or a class.
        encoder: Name of an untrained one; None lets recipe and data choose.
        init: Encoder with weights to begin with.
        size: Side of the views in pixels (images).
        epochs: Passes over the data; None takes the paper's.
        batch_size: Samples an optimizer step.
        lr: Learning rate at that batch size.
        optimizer: None takes the paper's.
        options: Of the method, such as ``{"temperature": 0.2}``.
        seed: Of weights, order and views.
        out: Folder of the run; None keeps no run.

    Attributes:
        encoder_: The trained one, a module of torch.
        n_features_in_: d, or the length of the second axis of images.

    >>> from sklearn.datasets import load_iris
    >>> Embedder(epochs=1, batch_size=64).fit_transform(load_iris().data).shape
    (150, 256)
    """

    def __init__(
        self,
        method: Any = "simclr",
        *,
        encoder: str | None = None,
        init: str | None = None,
        size: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        optimizer: str | None = None,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
        out: str | Path | None = None,
    ) -> None:
        self.method = method
        self.encoder = encoder
        self.init = init
        self.size = size
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.options = options
        self.seed = seed
        self.out = out

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from ``X``.

        Args:
            X: Samples; see the class.
            y: Not looked at.

        Raises:
            ValueError: If there are fewer than 4 samples, or they cannot be read as any of these.
        """
        source = self._opened(X, reset=True)
        names = ("encoder", "init", "size", "epochs", "batch_size", "lr", "optimizer", "seed")
        settings: dict[str, Any] = {name: getattr(self, name) for name in names}
        with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
            out = Path(folder) / "run" if self.out is None else self.out
            run = learn(self.method, source, out=out, quiet=True, **settings, **(self.options or {}))
        self.encoder_ = run.encoder
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the vectors ``(n, D)`` float32.

        Raises:
            ValueError: If a sample cannot be read, or columns are others than those of ``fit``.
        """
        check_is_fitted(self)
        source = self._opened(X, reset=False)
        made = embed(self.encoder_, source)
        if len(made) < len(source):
            raise BadInput(f"{len(source) - len(made)} of {len(source)} samples cannot be read.")
        return made.vectors

    @property
    def _n_features_out(self) -> int:
        return int(self.encoder_.out_dim)  # type: ignore[arg-type]

    def _opened(self, X: Any, *, reset: bool) -> Source:
        if _is_images(X):
            if hasattr(X, "shape"):
                validate_data(self, X, reset=reset, skip_check_array=True)
            if len(X) < (LEAST if reset else 1):
                raise BadInput(f"Embedder needs {LEAST if reset else 1} images or more; got {len(X)}.")
            return open_source(X)
        if _has_words(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return open_source(X)
        rows = validate_data(
            self, X, reset=reset, ensure_all_finite="allow-nan", ensure_min_samples=LEAST if reset else 1
        )
        return open_source(rows)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _is_images(X: Any) -> bool:
    if isinstance(X, np.ndarray | torch.Tensor):
        return X.ndim in (3, 4)
    return isinstance(X, list | tuple) and bool(X) and isinstance(X[0], Image.Image)


def _has_words(X: Any) -> bool:
    """Whether this is a data frame with a column that is not of numbers, or one that does not tell."""
    if not hasattr(X, "__arrow_c_stream__"):
        return False
    kinds = getattr(X, "dtypes", None)
    return kinds is None or any(not _numeric(kind) for kind in kinds)


def _numeric(kind: Any) -> bool:
    return bool(kind.is_numeric()) if hasattr(kind, "is_numeric") else getattr(kind, "kind", "O") in "biuf"
