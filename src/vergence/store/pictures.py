"""Pictures of a folder beside the rows of a file: which belongs to which, where it lies, and a small one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa

from vergence.core.errors import BadInput
from vergence.core.modality import find_modality
from vergence.data import open as open_source
from vergence.data.source import LabelName, Source
from vergence.data.written import is_text
from vergence.store.imports import Imported
from vergence.store.rows import uris

_CHUNK = 2048  # rows whose pictures are held at a time
_SIDE = 96  # pixels of the longer side of a small picture


class Pictures:
    """A picture for every row of a file.

    Where a column of the file (``id`` first) names pictures, by their path in the folder or by their file's
    name, a row has the one that it names; vectors alone have the pictures in the order of their names.

    Args:
        images: A folder of pictures.
        imported: The rows.

    Raises:
        BadInput: If there are no pictures, or it is not clear which belongs to a row.
    """

    def __init__(self, images: str | Path, imported: Imported) -> None:
        source = open_source(str(images))
        if source.modality != "image":
            raise BadInput(f"{images} holds no pictures but {source.modality}: give a folder of pictures.")
        self.source, self.table, self.classes = source, imported.table, imported.classes
        self.label_name: LabelName = "class"
        self.rows = self._rows(imported)
        if imported.classes is None and not self._labelled and source.labels is not None:
            self._take_labels(source)
        places = uris(source.root or source.uri, source.names)
        self._put("uri", pa.array([places[i] for i in self.rows.tolist()], pa.string()))

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the shape of ``schema`` with their pictures, null where one cannot be read."""
        draw = find_modality("image").load("thumbnail")

        def small(row: int) -> bytes | None:
            try:
                return draw(self.source.small_sample(row), _SIDE)
            except BadInput:
                return None

        with ThreadPoolExecutor(os.cpu_count()) as workers:
            for start in range(0, len(self.rows), _CHUNK):
                part = self.table.slice(start, _CHUNK)
                pictures = list(workers.map(small, self.rows[start : start + _CHUNK].tolist()))
                place = part.schema.get_field_index("thumbnail")
                part = part.set_column(place, "thumbnail", pa.array(pictures, pa.binary()))
                yield from part.cast(schema).combine_chunks().to_batches()

    @property
    def _labelled(self) -> bool:
        return self.table["label"].null_count < len(self.table)

    def _put(self, name: str, values: pa.Array) -> None:
        self.table = self.table.set_column(self.table.schema.get_field_index(name), name, values)

    def _take_labels(self, source: Source) -> None:
        assert source.labels is not None
        labels, self.classes, self.label_name = source.labels[self.rows], source.classes, source.label_name
        unknown = labels < 0
        self._put("label", pa.array(labels, pa.int64(), mask=unknown))
        if source.classes:
            names = [None if i < 0 else source.classes[i] for i in labels.tolist()]
            self._put("class", pa.array(names, pa.string()))

    def _rows(self, imported: Imported) -> np.ndarray:
        """Return the picture ``(n,)`` of every row."""
        names, n = self.source.names, len(self.table)
        known = _by_name(names)
        texts = [field.name for field in self.table.schema if is_text(field.type)]
        most, best, missing = 0, "", ""
        for column in texts:
            values = self.table[column].to_pylist()
            rows = [known.get(value, -1) for value in values]
            if -1 not in rows:
                return np.array(rows, np.int64)
            if (count := n - rows.count(-1)) > most:
                most, best, missing = count, column, str(values[rows.index(-1)])
        if most:
            raise BadInput(
                f"{best} names pictures of {self.source.uri}, but '{missing}' is not there: every row needs "
                "one."
            )
        if imported.numbered and n == len(names):
            return np.arange(n)
        raise BadInput(
            f"{self.source.uri} has {len(names):,} pictures for {n:,} rows, and no column names them: give "
            "vectors in the order of their paths, or a column with these."
        )


def _by_name(names: Sequence[str]) -> dict[str, int]:
    """Return the place of every picture by its path in the folder, and its file's name if no other has it."""
    short: dict[str, int] = {}
    for i, name in enumerate(names):
        last = name.rpartition("/")[2]
        short[last] = -1 if last in short else i
    return {**short, **{name: i for i, name in enumerate(names)}}
