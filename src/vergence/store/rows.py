"""The rows of a store, a chunk at a time: names, vectors, labels and small pictures as Arrow."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from vergence.core.errors import BadInput
from vergence.core.modality import find_modality
from vergence.core.specs import encoder_difference
from vergence.data.arrow_types import ordinary
from vergence.data.paths import from_printable, printable
from vergence.data.source import Source

COLUMNS = ("id", "uri", "vector", "label", "class", "thumbnail")
_CHUNK = 2048  # rows held at a time
_LOOKED = 64  # names that tell whether samples are files
# columns of Lance's answers
_KEPT = ("_rowid", "_rowaddr", "_rowoffset", "_distance", "_score", "query_index")


class HasVectors(Protocol):
    """What ``engine.embed`` returns: vectors ``(n, D)`` and their rows ``(n,)`` in the source."""

    @property
    def vectors(self) -> np.ndarray: ...

    @property
    def index(self) -> np.ndarray: ...


class Rows:
    """Embeddings joined with what their source knows about each sample, checked and ready to be written.

    The arguments are those of ``Store.create``.
    """

    def __init__(
        self,
        source: Source | None,
        embeddings: HasVectors | np.ndarray,
        *,
        ids: Sequence[str] | None = None,
        labels: np.ndarray | None = None,
        metadata: Mapping[str, Any] | pa.Table | None = None,
        thumbnail: int = 96,
    ) -> None:
        given = isinstance(embeddings, np.ndarray)
        if isinstance(embeddings, np.ndarray):
            self.vectors = checked(embeddings)
            self.index = np.arange(len(self.vectors))
        else:
            self.vectors, self.index = checked(embeddings.vectors), np.asarray(embeddings.index)
        if source is not None and ids is None:
            if given and len(source) != len(self.vectors):
                raise BadInput(
                    f"{source.uri} has {len(source)} samples, but {len(self.vectors)} vectors came."
                )
            ids = [source.names[i] for i in self.index.tolist()]
        if ids is None:
            raise BadInput("Vectors without a source need a name each: pass ids=[...].")
        self.ids = [str(name) for name in ids]
        if metadata is None and source is not None:
            metadata = source.store_columns(self.index) or None
        self.metadata = pa.table({}) if metadata is None else ordinary(pa.table(metadata))
        for what, column in {
            "ids": self.ids,
            "labels": labels,
            "metadata": metadata and self.metadata,
        }.items():
            if column is not None and len(column) != len(self.vectors):
                raise BadInput(
                    f"{len(self.vectors)} vectors came with {len(column)} {what}; one each is needed."
                )
        if len(set(self.ids)) < len(self.ids):
            twice = Counter(self.ids).most_common(1)[0][0]
            raise BadInput(f"A store needs a different id for every row; '{twice}' occurs more than once.")
        _check_names(self.metadata.column_names)
        if labels is None and source is not None and source.labels is not None:
            labels = source.labels[self.index]
        self.labels = None if labels is None else np.asarray(labels, np.int64)
        self.encoder: Mapping[str, Any] | None = getattr(embeddings, "encoder", None)
        self.source, self.classes = source, source.classes if source is not None else None
        self.uris = self.ids if source is None else uris(source.root or source.uri, self.ids)
        self.thumbnail = thumbnail
        self._draw = None if source is None else find_modality(source.modality).load("thumbnail")

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([*table_schema(self.vectors.shape[1]), *self.metadata.schema])

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the shape of ``schema``; columns that are not known here are null."""
        workers = ThreadPoolExecutor(os.cpu_count())
        with workers:
            for start in range(0, len(self.ids), _CHUNK):
                part = slice(start, min(start + _CHUNK, len(self.ids)))
                n = part.stop - part.start
                columns = {
                    "id": pa.array(self.ids[part], pa.string()),
                    "uri": pa.array(self.uris[part], pa.string()),
                    "vector": vector_array(self.vectors[part]),
                    "label": pa.nulls(n, pa.int64()),
                    "class": pa.nulls(n, pa.string()),
                    "thumbnail": pa.nulls(n, pa.binary()),
                }
                if self._draw and self.thumbnail:
                    pictures = list(workers.map(self._picture, self.index[part]))
                    columns["thumbnail"] = pa.array(pictures, pa.binary())
                if self.labels is not None:
                    labels = self.labels[part]
                    columns["label"] = pa.array(labels, pa.int64(), mask=labels < 0)
                    columns["class"] = pa.array([self._class(i) for i in labels.tolist()], pa.string())
                for name in self.metadata.column_names:
                    columns[name] = self.metadata[name][part].combine_chunks()
                yield pa.record_batch(
                    [
                        columns[f.name].cast(f.type) if f.name in columns else pa.nulls(n, f.type)
                        for f in schema
                    ],
                    schema=schema,
                )

    def check_fits(
        self, path: str, schema: pa.Schema, classes: list[str] | None, encoder: Mapping[str, Any] | None
    ) -> None:
        """Raise ``BadInput`` if these rows do not fit the table at ``path``, filled by ``encoder``."""
        have, come = schema.field("vector").type.list_size, self.vectors.shape[1]
        if have != come:
            raise BadInput(
                f"{path} holds vectors of {have} values, the new ones have {come}: use one encoder."
            )
        check_same_encoder(path, encoder, self.encoder)
        if self.classes and classes and self.classes != classes:
            raise BadInput(f"{path} numbers its classes otherwise than the new rows: give labels that fit.")
        strange = [name for name in self.metadata.column_names if name not in schema.names]
        if strange:
            raise BadInput(f"{path} has no column {', '.join(strange)}; it has {', '.join(schema.names)}.")

    def _class(self, label: int) -> str | None:
        return self.classes[label] if self.classes and 0 <= label < len(self.classes) else None

    def _picture(self, row: int) -> bytes | None:
        assert self.source is not None and self._draw is not None
        try:
            return self._draw(self.source.small_sample(int(row)), self.thumbnail)
        except BadInput:
            return None


def check_same_encoder(
    path: str | Path, before: Mapping[str, Any] | None, now: Mapping[str, Any] | None
) -> None:
    """Raise ``BadInput`` if vectors of an encoder cannot be compared with those of the table at ``path``.

    Args:
        path: Of the table.
        before: Identity of the encoder that filled it; None where it is not known.
        now: Of the one of now.
    """
    if difference := encoder_difference(before, now):
        raise BadInput(
            f"{path} was filled by another encoder than this one: {difference}. Use the one that filled it, "
            "or embed everything again."
        )


def table_schema(width: int) -> pa.Schema:
    """Return the columns of a store whose vectors have ``width`` values, without metadata."""
    own = {
        "id": pa.string(),
        "uri": pa.string(),
        "vector": pa.list_(pa.float32(), width),
        "label": pa.int64(),
        "class": pa.string(),
        "thumbnail": pa.binary(),
    }
    return pa.schema(list(own.items()))


def _check_names(names: Sequence[str]) -> None:
    """Raise ``BadInput`` if metadata cannot be called so."""
    if taken := [name for name in names if name in COLUMNS]:
        raise BadInput(f"Metadata cannot be called {', '.join(taken)}: a store has such columns already.")
    for name in names:
        if (better := column_name(name)) != name:
            raise BadInput(f"Metadata cannot be called '{name}': call it {better}.")


def column_name(name: str) -> str:
    """Return a name as a column of a table may have it: Lance takes a dot for a field and keeps some names.

    >>> column_name("meta.width"), column_name("shot")
    ('meta_width', 'shot')
    """
    plain = name.replace(".", "_").replace("`", "_") or "unnamed"
    return f"{plain}_" if plain in _KEPT else plain


def checked(vectors: np.ndarray) -> np.ndarray:
    """Return vectors as contiguous float32 ``(n, D)``.

    Raises:
        BadInput: If the shape is another, there are none, or a value is not finite.
    """
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise BadInput(f"A store needs vectors (n, D) with at least one row; got shape {vectors.shape}.")
    vectors = np.ascontiguousarray(vectors, np.float32)
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise BadInput(
            f"{bad.sum()} of {len(bad)} vectors, the first in row {bad.argmax()}, are not finite: "
            "the encoder has diverged; train it again with a lower learning rate."
        )
    return vectors


def vector_array(vectors: np.ndarray) -> pa.FixedSizeListArray:
    """Return ``(n, D)`` float32 as Arrow, without a copy."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


def uris(root: str, names: Sequence[str]) -> list[str]:
    """Return where each named sample of a source can be found: a path where one of the first is a file."""
    if "://" not in root:
        for folder in (Path(root), Path(root).parent):
            if any(_leads_to_file(folder, name) for name in names[:_LOOKED]):
                return [f"{printable(str(folder.resolve()))}/{name}" for name in names]
    return [f"{printable(root)}#{name}" for name in names]


def _leads_to_file(folder: Path, name: str) -> bool:
    """Say whether a name is that of a file in ``folder``, or of a row of one (``file.parquet#17``)."""
    path = from_printable(name)
    return any(os.path.isfile(folder / part) for part in (path, path.rpartition("#")[0]))
