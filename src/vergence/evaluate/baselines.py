"""Baselines: the raw input and the encoder before training, which a representation is held against."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.core import pooled
from vergence.core.errors import BadInput
from vergence.core.modality import Modality, find_modality
from vergence.core.specs import is_own
from vergence.data import Source
from vergence.engine import embed
from vergence.engine.embedding import Embeddings
from vergence.nets.own import renewed

PIXELS, UNTRAINED, LEARNED = "raw pixels", "untrained encoder", "learned"
FEATURES = "raw features"


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
        embeddings = embed(self.encoder, source)
        if not np.isfinite(embeddings.vectors).all():
            raise BadInput(
                f"The encoder gives vectors of {source.uri} that are not finite; "
                "train it again with a lower learning rate, or with --precision fp32."
            )
        return embeddings

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


def baselines(encoder: nn.Module, source: Source, *, seed: int = 0) -> dict[str, nn.Module]:
    """Return what an encoder must beat, by name: the raw input, and itself untrained."""
    modality = find_modality(source.modality)
    raw = modality.load("raw")
    networks: dict[str, nn.Module] = dict(raw(source, encoder)) if raw else {}
    if (fresh := untrained(encoder, modality, seed=seed)) is not None:
        networks[UNTRAINED] = fresh
    return networks


def beside(networks: Mapping[str, nn.Module], encoder: nn.Module) -> dict[str, nn.Module]:
    """Return the encoder's vectors joined with those of each baseline that asks for it (``joins``)."""
    joins = {name: net for name, net in networks.items() if getattr(net, "joins", False)}
    return {f"{LEARNED} + {name}": Both(net, encoder) for name, net in joins.items()}


class Both(nn.Module):
    """The vectors of two encoders side by side."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.out_dim = int(first.out_dim) + int(second.out_dim)  # type: ignore[arg-type]

    def forward(self, batch: Any) -> Tensor:
        return torch.cat([pooled(self.first(batch)).float(), pooled(self.second(batch)).float()], 1)


def untrained(encoder: nn.Module, modality: str | Modality, *, seed: int = 0) -> nn.Module | None:
    """Return the same architecture with fresh random weights, or None for one that has none.

    torch's generator is left as it was. An encoder that knows more than its ``spec``, such as words, says
    in ``fresh()`` what it was before.
    """
    spec: dict[str, Any] | None = getattr(encoder, "spec", None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if callable(anew := getattr(encoder, "fresh", None)):
            fresh = anew()
        elif is_own(encoder):
            fresh = renewed(encoder)
        elif spec:
            known = find_modality(modality) if isinstance(modality, str) else modality
            fresh = known.load("encoders").build(**spec)
        else:
            fresh = copy.deepcopy(encoder)
            for module in fresh.modules():
                if callable(reset := getattr(module, "reset_parameters", None)):
                    reset()
    first = next(encoder.parameters(), None)
    return fresh if fresh is None or first is None else fresh.to(first.device)


def features(encoder: nn.Module, train: Source, test: Source) -> Split:
    """Embed both sources; samples that cannot be read are left out."""
    split = Split(encoder, train, test)
    _ = split.train_embeddings, split.test_embeddings
    return split


def _labels(embeddings: Embeddings) -> np.ndarray:
    assert embeddings.labels is not None
    return embeddings.labels
