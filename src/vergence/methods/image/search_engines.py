"""Search engines of pictures, or a collection in the place of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import nn

from vergence.core import BadInput
from vergence.data import Source
from vergence.data import open as open_source
from vergence.engine import embed
from vergence.store.table import Store


@runtime_checkable
class SearchEngine(Protocol):
    """Whatever can be asked for pictures of a thing: a web search behind an adapter, or ``LocalEngine``."""

    @property
    def concepts(self) -> Sequence[str]:
        """What can be asked for, C words or phrases."""
        ...

    @property
    def vectors(self) -> np.ndarray:
        """``(C, T)``, an embedding of each, by a language model or otherwise: like concepts lie near."""
        ...

    def search(self, concept: str, count: int, *, seed: int = 0) -> Source:
        """Return up to ``count`` pictures of a concept; another seed may return others."""
        ...


class LocalEngine:
    """A collection that answers from its groups: classes with a name, or clusters of its vectors.

    Args:
        source: Pictures.
        of: ``(n,)`` int64, the group of each, from 0; -1 of those that are never found.
        concepts: Name of each group.
        vectors: ``(C, T)``, an embedding of each group.
    """

    def __init__(self, source: Source, of: np.ndarray, concepts: Sequence[str], vectors: np.ndarray) -> None:
        of = np.asarray(of)
        if of.shape != (len(source),) or of.max(initial=-1) >= len(concepts) or len(vectors) != len(concepts):
            raise BadInput(
                f"A local engine needs a group for each of {len(source)} pictures, and a name and a vector "
                f"for each group; got {of.shape}, {len(concepts)} names and {len(vectors)} vectors."
            )
        self.source, self.of = source, of
        self.concepts, self.vectors = list(concepts), np.asarray(vectors, np.float32)
        self._number = {name: i for i, name in enumerate(self.concepts)}

    def __repr__(self) -> str:
        return f"<{len(self.source):,} pictures of {len(self.concepts):,} concepts, from {self.source.uri}>"

    def search(self, concept: str, count: int, *, seed: int = 0) -> Source:
        """Return ``count`` pictures of a group drawn at random, or all of it if it has fewer."""
        number = self._number.get(concept)
        if number is None:
            raise BadInput(f"{self.source.uri} knows no concept '{concept}'.")
        rows = np.flatnonzero(self.of == number)
        drawn = np.random.default_rng([seed, number]).permutation(rows)[:count]
        return self.source.subset(np.sort(drawn))

    @classmethod
    def of_vectors(
        cls, source: Source, vectors: np.ndarray, *, concepts: int | None = None, seed: int = 0
    ) -> LocalEngine:
        """Make an engine of pictures that have been embedded, in the source's order.

        Args:
            source: Where every picture has a class with a name, these are the concepts.
            vectors: ``(n, D)``; the mean of a group stands for it.
            concepts: Number of clusters to take instead of classes; None takes classes, or where there are
                none about the square root of n clusters.
            seed: Of k-means.
        """
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        names = source.classes
        if concepts is None and names and source.labels is not None and source.labels.min() >= 0:
            of, named = source.labels, names
        else:
            from sklearn.cluster import MiniBatchKMeans

            count = concepts or max(2, round(len(source) ** 0.5))
            of = MiniBatchKMeans(min(count, len(source)), random_state=seed, n_init=1).fit_predict(unit)
            named = [f"cluster {i}" for i in range(of.max() + 1)]
        used = np.unique(of)  # a class without a picture cannot be found
        of = np.searchsorted(used, of)
        sums = np.zeros((len(used), unit.shape[1]), np.float32)
        np.add.at(sums, of, unit.astype(np.float32))
        return cls(source, of, [named[i] for i in used], sums / np.bincount(of)[:, None])


def as_engine(pool: Any, encoder: nn.Module, *, seed: int = 0) -> SearchEngine:
    """Return an engine as it is, or one made of a store, of pictures or of where they lie.

    Args:
        pool: A ``SearchEngine``, a ``Store`` or a ``Source``, or the path or name of one of these two.
        encoder: Embeds pictures once, where there is no store.
        seed: Of clusters.

    Raises:
        BadInput: If it is none of these, or the pictures of a store cannot be opened any more.
    """
    if isinstance(pool, SearchEngine):
        return pool
    if isinstance(pool, str | Path) and Path(pool).suffix == ".lance":
        pool = Store.open(pool)
    if isinstance(pool, Store):
        uri = pool.about.get("source")
        if not uri:
            raise BadInput(f"{pool.path} does not know which pictures it was made of: give these instead.")
        source = open_source(uri)
        place = {name: i for i, name in enumerate(source.names)}
        if any(name not in place for name in pool.names):
            raise BadInput(f"{uri} has changed since {pool.path} was made of it: embed it again.")
        return LocalEngine.of_vectors(
            source.subset([place[name] for name in pool.names]), pool.vectors(), seed=seed
        )
    source = open_source(pool)
    if source.modality != "image":
        raise BadInput(f"Pictures are searched for; {source.uri} holds none.")
    embeddings = embed(encoder, source)
    return LocalEngine.of_vectors(source.subset(embeddings.index), embeddings.vectors, seed=seed)
