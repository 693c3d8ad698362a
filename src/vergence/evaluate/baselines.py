"""What a learned representation is held against: the raw input, and the encoder before training."""

from __future__ import annotations

import copy
import importlib
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from vergence.core import input_spec
from vergence.core.errors import BadInput
from vergence.data import ImageBatch, Source
from vergence.engine import embed
from vergence.engine.embedding import Embeddings

PIXELS, UNTRAINED, LEARNED = "raw pixels", "untrained encoder", "learned"
FEATURES = "raw features"
AGGREGATES, BOTH = "aggregates", "learned + aggregates"
MOST = 50  # categories of a column
_LARGEST = 32  # a photo of 224 pixels would make a vector of 150,528 numbers


class Split:
    """An encoder, the samples that teach and those that judge; vectors are computed when they are asked for.

    Args:
        encoder: What is judged.
        train: Samples that teach.
        test: Samples that judge.
    """

    def __init__(self, encoder: nn.Module, train: Source, test: Source) -> None:
        self.encoder, self.train, self.test = encoder, train, test

    @cached_property
    def train_embeddings(self) -> Embeddings:
        return self._embedded(self.train)

    @cached_property
    def test_embeddings(self) -> Embeddings:
        return self._embedded(self.test)

    def _embedded(self, source: Source) -> Embeddings:
        found = embed(self.encoder, source)
        if not np.isfinite(found.vectors).all():
            raise BadInput(
                f"The encoder gives vectors of {source.uri} that are not finite; "
                "train it again with a lower learning rate, or with --precision fp32."
            )
        return found

    @property
    def train_x(self) -> np.ndarray:
        return self.train_embeddings.vectors

    @property
    def train_y(self) -> np.ndarray:
        return _labels(self.train_embeddings)

    @property
    def test_x(self) -> np.ndarray:
        return self.test_embeddings.vectors

    @property
    def test_y(self) -> np.ndarray:
        return _labels(self.test_embeddings)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return self.train_x, self.train_y, self.test_x, self.test_y


class RawPixels(nn.Module):
    """The central square as it is, flattened: ``(B, 3 * size * size)`` in [0, 1].

    Args:
        size: Side in pixels.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.input_spec = size, {"size": size}
        self.out_dim = 3 * size * size

    def forward(self, batch: ImageBatch | Tensor) -> Tensor:
        from vergence.views.pixels.augment import plain

        if isinstance(batch, Tensor):  # pictures of that size
            return batch.flatten(1)
        with torch.autocast(batch.pixels.device.type, enabled=False):  # pixels as they are, not in bfloat16
            return plain(batch, self.size).flatten(1)


class RawFeatures(nn.Module):
    """Nodes' features as they are; of sets of graphs, their sum over each graph.

    Where a graph has none, they are its degrees, one-hot.
    """

    def forward(self, batch: Any) -> Tensor:
        from vergence.methods.graph.encoders import answer

        return answer(batch.x.float(), batch, "sum" if "ptr" in batch else None)


class RawRows(nn.Module):
    """A table's own columns: standardised numbers, flags for missing ones, categories one-hot.

    Args:
        source: Tells the columns and their scale; the ``MOST`` most frequent categories are told apart.
    """

    def __init__(self, source: Any) -> None:
        from vergence.methods.tables.encoders import for_source

        super().__init__()
        self.raw = for_source(source, "raw", embedding=1)
        self.numbers = len(self.raw.numbers) + len(self.raw.flagged)
        self.kinds = [min(count + 2, MOST) for count in self.raw.categories.values()]
        self.out_dim = self.numbers + sum(self.kinds)

    def forward(self, batch: Any) -> Tensor:
        codes = zip(self.raw.codes(batch), self.kinds, strict=True)
        told = [one_hot(code.clamp_max(kinds - 1), kinds).float() for code, kinds in codes]
        return torch.cat([self.raw.cells(batch)[:, : self.numbers], *told], 1)


def baselines(
    encoder: nn.Module, modality: str, *, seed: int = 0, source: Source | None = None
) -> dict[str, nn.Module]:
    """Return what an encoder must beat, by name.

    Raw pixels are shrunk to 32 where the encoder sees more; of event histories there are the
    hand-made aggregates, whose fields ``source`` tells, and of tables their columns.
    """
    found: dict[str, nn.Module] = {}
    if modality == "image":
        found[PIXELS] = RawPixels(min((input_spec(encoder) or {}).get("size", _LARGEST), _LARGEST))
    if modality == "events" and source is not None:
        from vergence.evaluate.aggregates import Aggregates

        found[AGGREGATES] = Aggregates(source)  # type: ignore[arg-type]
    if modality == "graph":
        found[FEATURES] = RawFeatures()
    if modality == "tables" and source is not None:
        found[FEATURES] = RawRows(source)
        if not any(True for _ in encoder.parameters()):  # fitted: nothing was there before
            return found
    if getattr(encoder, "spec", {}).get("name") == "table":  # nothing was there before
        return found
    found[UNTRAINED] = untrained(encoder, modality, seed=seed)
    return found


def untrained(encoder: nn.Module, modality: str, *, seed: int = 0) -> nn.Module:
    """Return the same architecture with fresh random weights; torch's generator is left as it was."""
    spec: dict[str, Any] | None = getattr(encoder, "spec", None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if callable(anew := getattr(encoder, "fresh", None)):  # knows more than its spec, such as words
            fresh = anew()
        elif spec:
            fresh = importlib.import_module(f"vergence.methods.{modality}.encoders").build(**spec)
        else:
            fresh = copy.deepcopy(encoder)
            for module in fresh.modules():
                if callable(reset := getattr(module, "reset_parameters", None)):
                    reset()
    first = next(encoder.parameters(), None)
    return fresh.to(first.device) if first is not None else fresh


def features(encoder: nn.Module, train: Source, test: Source) -> Split:
    """Embed both sources; samples that cannot be read are left out."""
    split = Split(encoder, train, test)
    _ = split.train_embeddings, split.test_embeddings
    return split


def _labels(embeddings: Embeddings) -> np.ndarray:
    assert embeddings.labels is not None
    return embeddings.labels
