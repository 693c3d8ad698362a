"""Image reader of parquet files, as the Hugging Face hub writes them."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vergence.core.errors import BadInput, WrongModality
from vergence.data.columns import coded
from vergence.data.image.cache import budget
from vergence.data.image.decode import DecodeError
from vergence.data.image.labels import NAMES, NoLabels, labels_of
from vergence.data.image.reader import ImageReader, numbered, read_ends

_AT_ONCE = 1024  # rows decoded before their bytes are counted
_PICTURES = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "bytes")


class ParquetReader(ImageReader):
    """Rows of one or more parquet files with the same columns.

    A picture is a struct with ``bytes`` (the hub's ``Image``) or a binary column; labels are whole
    numbers, named by the hub's schema metadata where it is there, truth values or words. Row groups are
    read when they are needed and kept as far as they fit.

    Args:
        paths: The files, in order.
        root: What their names are relative to.
    """

    def __init__(self, paths: list[Path], root: Path) -> None:
        self._paths, self._files = paths, [_file(path) for path in paths]
        schema = self._files[0].schema_arrow
        features = _features(schema)
        self.column = _picture_column(schema, features, paths[0])
        self.names = []
        for path, file in zip(paths, self._files, strict=True):
            if self.column not in file.schema_arrow.names:
                raise BadInput(
                    f"{path} has no column '{self.column}' as {paths[0]} has; open them one by one."
                )
            rows, size = file.metadata.num_rows, path.stat().st_size
            if not 0 <= rows <= size:  # a picture has a byte or more
                raise BadInput(f"{path} is broken: it claims {rows:,} rows in {size:,} bytes.")
            self.names += numbered(path.relative_to(root).as_posix(), rows)
        self.notes: list[str] = []
        if others := [name for name in _picture_columns(schema, features) if name != self.column]:
            self.notes.append(
                f"column '{self.column}' is read; {len(self.names) * len(others):,} pictures of "
                f"{', '.join(others)} left out"
            )
        self.labels, self.classes = self._read_labels(schema, features)
        groups = [
            (f, g, file.metadata.row_group(g))
            for f, file in enumerate(self._files)
            for g in range(file.num_row_groups)
        ]
        self._groups = [(f, g) for f, g, _ in groups]
        self._ends = np.cumsum([meta.num_rows for *_, meta in groups], dtype=np.int64)
        self._room = budget()
        stored = sum(meta.total_byte_size for *_, meta in groups)
        if stored > self._room:
            self.blocks = np.repeat(np.arange(len(groups)), np.diff(self._ends, prepend=0))
            self.together = max(1, len(groups) * self._room // (2 * stored))
        self.loaded: OrderedDict[int, pa.Array] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, i: int) -> memoryview:
        group = int(np.searchsorted(self._ends, i, side="right"))
        row = i - (int(self._ends[group - 1]) if group else 0)
        cell = self._group(group)[row]
        if not cell.is_valid:
            raise DecodeError("the cell is empty")
        return memoryview(cell.as_buffer())

    def content(self, i: int) -> bytes:
        """Of the file, whose end says where its columns lie, how long they are and what they span."""
        file, _ = self._groups[int(np.searchsorted(self._ends, i, side="right"))]
        return self._content[file]

    @cached_property
    def _content(self) -> list[bytes]:
        return [read_ends(path) for path in self._paths]

    def _group(self, group: int) -> pa.Array:
        with self._lock:
            if group not in self.loaded:
                self.loaded[group] = self._load(group)
                while len(self.loaded) > 2 and sum(a.nbytes for a in self.loaded.values()) > self._room:
                    self.loaded.popitem(last=False)
            self.loaded.move_to_end(group)
            return self.loaded[group]

    def _load(self, group: int) -> pa.Array:
        file, inside = self._groups[group]
        try:
            return self._unfolded(self._files[file], inside)
        except (pa.ArrowException, OSError, MemoryError, ValueError) as error:
            raise DecodeError(f"row group {inside} is broken: {_plain(error)}") from None

    def _unfolded(self, file: pq.ParquetFile, group: int) -> pa.Array:
        """Read a row group's pictures, a few at a time: a kilobyte of references may stand for terabytes."""
        meta, most = file.metadata.row_group(group), 2 * budget()
        rows = min(_AT_ONCE, max(1, most // max(1, meta.total_byte_size)))
        parts, total = [], 0
        for batch in file.iter_batches(rows, row_groups=[group], columns=[self.column], use_threads=False):
            column = batch.column(0)
            part = (column.field("bytes") if pa.types.is_struct(column.type) else column).cast(
                pa.large_binary()
            )
            parts.append(part)
            total += part.nbytes
            if total > most:
                raise DecodeError(f"row group {group} unfolds to more than {most:,} bytes")
        pictures = pa.concat_arrays(parts) if parts else pa.array([], pa.large_binary())
        if len(pictures) != meta.num_rows:
            raise DecodeError(f"row group {group} holds {len(pictures)} rows instead of {meta.num_rows}")
        return pictures

    def _read_labels(
        self, schema: pa.Schema, features: dict[str, Any]
    ) -> tuple[np.ndarray | None, list[str] | None]:
        named = {k: v["names"] for k, v in features.items() if isinstance(v, dict) and v.get("names")}
        column = next((c for c in [*named, *NAMES] if c in schema.names), None)
        if column is None:
            return None, None
        try:
            parts = [file.read(columns=[column]).column(0) for file in self._files]
            values, classes = labels_of(pa.chunked_array([c for part in parts for c in part.chunks]))
        except NoLabels as why:
            self.notes.append(f"column '{column}' left out: {why}")
            return None, None
        except (pa.ArrowException, OSError, ValueError) as error:
            raise BadInput(f"The labels in column '{column}' cannot be read: {_plain(error)}") from None
        if len(values) != len(self.names):
            raise BadInput(f"Column '{column}' holds {len(values)} labels for {len(self.names)} rows.")
        labels, words = coded(values)
        return labels, words or classes or named.get(column)


def _file(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)  # not mapped: a mapped file that somebody cuts short ends the process
        file.schema_arrow  # noqa: B018  may be broken where the rest is not
        return file
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise BadInput(f"{path} is not a parquet file that can be read: {_plain(error)}") from None


def _plain(error: BaseException) -> str:
    return " ".join(str(error).split())


def _features(schema: pa.Schema) -> dict[str, Any]:
    """Return the hub's description of the columns, or nothing where it is missing or odd."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def _picture_columns(schema: pa.Schema, features: dict[str, Any]) -> list[str]:
    """Return the columns that hold pictures, the likeliest first."""
    marked = [k for k, v in features.items() if isinstance(v, dict) and v.get("_type") == "Image"]
    structs = [f.name for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0]
    binary = [f.name for f in schema if pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type)]
    names = [*marked, *structs, *(p for p in _PICTURES if p in binary)]
    return [name for name in dict.fromkeys(names) if name in structs or name in binary]


def _picture_column(schema: pa.Schema, features: dict[str, Any], path: Path) -> str:
    for name in _picture_columns(schema, features):
        return name
    raise WrongModality(
        f"{path} has no column of images; found {', '.join(schema.names) or 'no columns'}, needs a struct "
        f"with 'bytes' as the Hugging Face hub writes it, or a binary column named 'image'."
    )
