"""Table rows as a ``Source``: batches are picked out of contiguous arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from vergence.core.errors import BadInput
from vergence.data.columns import checked_table, narrowed, reason
from vergence.data.paths import table_files
from vergence.data.source import ArraySource, Skipped
from vergence.data.tables.batch import Columns, TableBatch
from vergence.data.tables.read import Values, read_table, values_of
from vergence.data.tables.schema import TableSchema


def open_table(uri: str, paths: Sequence[Path] | None = None, *, limit: float = 0.5) -> TableSource:
    """Open ``table:PATH?label=…&categorical=a,b&group=NAME:a,b``.

    Args:
        uri: With or without the scheme.
        paths: The files it stands for; None takes the path in it, or the files of that folder.
        limit: Kept for ``skipped``.

    Raises:
        BadInput: If it cannot be read, or a named column is not there.
    """
    path, schema = TableSchema.from_uri(uri)
    where = Path(path).expanduser()
    paths = [file for one in paths or [where] for file in table_files(one)]
    table, notes = read_table(paths or [where], limit=limit)
    _, values = values_of(table, schema, path)
    values.notes += notes
    return TableSource(values, schema.uri(path), limit=limit)


def from_frame(frame: Any, schema: TableSchema | None = None, *, name: str = "frame") -> TableSource:
    """Take the rows of a data frame: pandas, polars, pyarrow, or whatever speaks Arrow.

    Args:
        frame: Is copied column by column.
        schema: What is not said in it is guessed.
        name: Stands for the uri; a frame cannot be opened again.

    Raises:
        BadInput: If it is no data frame, two columns have one name, or a named column is not there.
    """
    if not isinstance(frame, pa.Table):
        if not hasattr(frame, "__arrow_c_stream__"):
            raise BadInput(f"from_frame needs a data frame that speaks Arrow; got {type(frame).__name__}.")
        try:
            frame = pa.table(frame)
        except Exception as error:  # noqa: BLE001 - pandas and Arrow raise all kinds, of columns whose values differ in kind
            raise BadInput(f"{name} cannot be read: {reason(error)}") from None
    _, values = values_of(checked_table(frame, name), schema or TableSchema(), name)
    return TableSource(values, name)


def from_vectors(
    vectors: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    name: str = "vectors",
    one_unit: bool = True,
    classes: list[str] | None = None,
) -> TableSource:
    """Take vectors, such as embeddings, as a table of columns "0", "1", ….

    Args:
        vectors: ``(n, D)``.
        labels: ``(n,)``, -1 where unknown, or None.
        name: Stands for the uri.
        one_unit: The columns are of one kind and keep their proportions. Others that are large for their
            spread are centred, see ``Columns.offsets``.
        classes: Names of the labels.

    Raises:
        BadInput: If the shapes do not fit.
    """
    if vectors.ndim != 2 or not vectors.size or (labels is not None and len(labels) != len(vectors)):
        raise BadInput(f"from_vectors needs vectors (n, D) and labels (n,); got {vectors.shape}.")
    names = tuple(str(i) for i in range(vectors.shape[1]))
    if one_unit:
        numeric, centres = np.where(np.isfinite(vectors), vectors, np.nan).astype(np.float32), np.zeros(0)
    else:
        near = [narrowed(_exact(column)) for column in vectors.T]
        numeric = np.stack([column for column, _ in near], axis=1)
        centres = np.array([centre for _, centre in near])
    offsets = tuple(centres.tolist()) if centres.any() else ()
    columns = Columns(names, one_unit=one_unit, offsets=offsets)
    known = None if labels is None else np.asarray(labels, np.int64)
    empty = np.empty((len(vectors), 0), np.int32)
    return TableSource(Values(columns, numeric, empty, known, classes), name)


def _exact(column: np.ndarray) -> np.ndarray:
    """Return numbers as int64 where they are whole and signed, else as float64."""
    return column.astype(np.int64 if column.dtype.kind == "i" else np.float64)


class TableSource(ArraySource):
    """The rows of a table.

    Args:
        values: Its arrays.
        uri: What was opened.
        limit: Kept for ``skipped``; every row of a table can be read.
    """

    modality = "tables"
    precision = "fp32"  # bfloat16 has three digits, and these networks are small

    def __init__(self, values: Values, uri: str, *, limit: float = 0.5) -> None:
        self.values, self.uri, self.classes, self.columns = values, uri, values.classes, values.columns
        self.skipped = Skipped(limit)
        self.notes, self.reading = values.notes, values.reading
        self.view_options: dict[str, Any] = {}
        self.choose_rows(np.arange(len(values.numeric)))

    def choose_rows(self, rows: np.ndarray) -> None:
        self.rows = rows
        self.names = [f"{self.uri}#{row}" for row in rows.tolist()]
        self.labels = None if self.values.labels is None else self.values.labels[rows]

    def __repr__(self) -> str:
        kinds = 0 if self.labels is None else len(np.unique(self.labels[self.labels >= 0]))
        groups = [f"{len(self.columns.groups)} groups"] if self.columns.groups else []
        parts = [self.reading or f"numeric {_some(self.columns.numeric)}", *groups, *self.notes]
        return f"<{len(self):,} rows, {kinds or 'no'} classes, from {self.uri}: {'; '.join(parts)}>"

    @property
    def numeric(self) -> np.ndarray:
        """Numbers ``(n, M)`` float32, less ``columns.offsets``, NaN where missing."""
        return self.values.numeric[self.rows]

    @property
    def categorical(self) -> np.ndarray:
        """Codes ``(n, C)`` int32, 0 where missing."""
        return self.values.categorical[self.rows]

    def sample(self, i: int) -> dict[str, Any]:
        """Return one row by the names of its columns, words as words, None where missing."""
        row = int(self.rows[i])
        numbers = [self.columns.number(i, value) for i, value in enumerate(self.values.numeric[row].tolist())]
        cells: dict[str, Any] = {
            name: None if value != value else value
            for name, value in zip(self.columns.numeric, numbers, strict=True)
        }
        codes = self.values.categorical[row].tolist()
        for name, words, code in zip(self.columns.categorical, self.columns.words, codes, strict=True):
            cells[name] = words[code - 1] if code else None
        return cells

    def content(self, i: int) -> bytes:
        row = int(self.rows[i])
        return self.values.numeric[row].tobytes() + self.values.categorical[row].tobytes()

    def batch(self, index: np.ndarray) -> TableBatch:
        """Return these rows ``(B,)``, in this order."""
        rows = self.rows[index]
        return TableBatch(
            numeric=torch.from_numpy(self.values.numeric[rows]),
            categorical=torch.from_numpy(self.values.categorical[rows]),
            index=torch.from_numpy(np.array(index, np.int64)),
            label=torch.from_numpy(self.labels_of(index)),
            columns=self.columns,
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f", … ({len(names)} in all)" if len(names) > 8 else "")
