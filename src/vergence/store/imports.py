"""Imports of one file as the rows of a store: what ``export`` writes, or what other tools wrote so."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vergence.core.errors import BadInput, unknown
from vergence.data.arrays import read_npy, read_npz
from vergence.data.columns import coded, plain, read_parquet, text
from vergence.data.source import LabelName
from vergence.store.lance_io import one_line
from vergence.store.rows import COLUMNS, column_name, table_schema, vector_array

_GIVEN = ("tags", "metadata", "_media_type", "_rand", "_dataset_id")  # of FiftyOne, about itself
_CLASSES = 1_000_000  # above, labels are no numbers of classes that could be listed


@dataclass(frozen=True)
class Imported:
    """What a file holds.

    Args:
        table: Its rows, with the columns of a store first.
        classes: Names of the labels, or None.
        renamed: Columns that a store calls otherwise: the new names by those of the file.
        numbered: Whether its rows have no ids of their own but are counted from 0.
        label_name: What a label is called.
    """

    table: pa.Table
    classes: list[str] | None
    renamed: dict[str, str]
    numbered: bool = False
    label_name: LabelName = "class"

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the shape of ``schema``."""
        yield from self.table.cast(schema).to_batches(max_chunksize=8192)


def read(file: Path, *, vector: str | None = None, table: Path | None = None) -> Imported:
    """Read a file as the rows of a store.

    Labels are numbers, negative where unknown, or words, which then become classes.

    Args:
        file: ``.parquet``: columns ``id`` and ``vector`` at least; ``.npz``: arrays ``ids`` and ``vector``,
            perhaps ``labels`` and more vectors; ``.npy``: vectors ``(n, D)``, named by their row; ``.json``:
            samples as FiftyOne writes them, lists of numbers being vectors.
        vector: The column of vectors, where it is called otherwise; then the rows need no ids.
        table: Further columns of the rows of a ``.npy``: ``.parquet``, perhaps with ``id``.

    Raises:
        BadInput: If it is none of these, lacks the columns, or a row has no id or no finite vector.
    """
    columns = _columns(file)
    numbered = file.suffix == ".npy" or (vector is not None and "id" not in columns)
    if vector not in (None, "vector"):
        columns = _with_vector(file, columns, vector)
    if table is not None:
        if file.suffix != ".npy":
            raise BadInput(f"A table goes with vectors in a .npy; {file} has columns of its own.")
        more = _columns(table)
        if "vector" in more:
            raise BadInput(f"{table} has a column vector, and {file} holds the vectors too: leave one out.")
        columns, numbered = {**columns, **more}, "id" not in more
    if numbered and "id" not in columns and "vector" in columns:
        columns = {"id": pa.chunked_array([np.arange(len(columns["vector"]))]), **columns}
    if "id" not in columns or "vector" not in columns:
        raise BadInput(f"{file} needs the columns id and vector; it has {', '.join(columns)}.")
    return dataclasses.replace(_File(file, columns).rows(), numbered=numbered)


def _with_vector(file: Path, columns: dict[str, pa.ChunkedArray], vector: str) -> dict[str, pa.ChunkedArray]:
    """Return the columns with the one of that name as the vectors."""
    if vector not in columns:
        raise unknown(f"column of {file}", vector, list(columns))
    if "vector" in columns:
        raise BadInput(f"{file} has a column vector beside {vector}: rename it, or take it as the vectors.")
    return {"vector" if name == vector else name: column for name, column in columns.items()}


def _columns(file: Path) -> dict[str, pa.ChunkedArray]:
    readers = {".parquet": _parquet, ".npz": _npz, ".npy": _npy, ".json": _json}
    if file.suffix not in readers:
        raise BadInput(f"Cannot read {file}: the name must end in {', '.join(readers)}.")
    if not file.is_file():
        raise BadInput(f"There is no file {file}.")
    try:
        return readers[file.suffix](file)
    except BadInput:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{file} is not what its name says: {first}") from None


class _File:
    """The columns of a file, each of n values, while they become those of a store."""

    def __init__(self, file: Path, columns: Mapping[str, pa.ChunkedArray]) -> None:
        self.file, self.columns, self.n = file, columns, len(columns["id"])
        for name, column in columns.items():
            if len(column) != self.n:
                raise BadInput(
                    f"{file} has {self.n} ids but {len(column)} values of {name}; one each is needed."
                )
        if not self.n:
            raise BadInput(f"{file} holds no rows.")
        self.ids = self._ids()

    def rows(self) -> Imported:
        labels, names, classes = self._labels()
        made: dict[str, pa.Array] = {
            "id": pa.array(self.ids, pa.string()),
            "uri": pc.coalesce(self._cast("uri", pa.string()), pa.array(self.ids, pa.string())),
            "vector": self._vectors(),
            "label": labels,
            "class": names,
            "thumbnail": self._cast("thumbnail", pa.binary()),
        }
        renamed = {name: own for name in self.columns if (own := column_name(name)) != name}
        for name in [name for name in self.columns if name not in COLUMNS]:
            own = renamed.get(name, name)
            if own in made or (name in renamed and own in self.columns):
                raise BadInput(f"{self.file} has two columns that a store calls {own}; rename one.")
            made[own] = self._further(name)
        table = pa.table(made)
        further = [field for field in table.schema if field.name not in COLUMNS]
        schema = table_schema(made["vector"].type.list_size)
        return Imported(table.cast(pa.schema([*schema, *further])), classes, renamed)

    def _ids(self) -> list[str]:
        column = self._cast("id", pa.string())
        if column.null_count:
            raise BadInput(f"Row {_first(column.is_null())} of {self.file} has no id; every row needs one.")
        ids = column.to_pylist()
        name, count = Counter(ids).most_common(1)[0]
        if count > 1:
            raise BadInput(
                f"A store needs a different id for every row; '{name}' of {self.file} occurs more than once."
            )
        return ids

    def _vectors(self) -> pa.FixedSizeListArray:
        """Return the embeddings; every row needs one."""
        column = self.columns["vector"]
        if not _is_list(column.type) or not _is_number(column.type.value_type):
            raise BadInput(f"vector of {self.file} needs a list of numbers a row; it is {column.type}.")
        if column.null_count:
            raise self._bad(_first(column.is_null()), "is missing")
        lengths = np.asarray(pc.list_value_length(column))
        width = int(np.bincount(lengths).argmax())  # as most have
        if len(other := np.flatnonzero(lengths != (width or -1))):
            raise self._bad(int(other[0]), f"has {lengths[other[0]]} values, where {width or 1} are needed")
        vectors = _numbers(column, width)
        if len(broken := np.flatnonzero(~np.isfinite(vectors).all(1))):
            raise self._bad(int(broken[0]), "is not finite")
        return vector_array(vectors)

    def _bad(self, row: int, what: str) -> BadInput:
        return BadInput(f"The vector of row {row} of {self.file}, id '{self.ids[row]}', {what}.")

    def _further(self, name: str) -> pa.Array | pa.ChunkedArray:
        """Return another column: as vectors, null where all is NaN, if its lists are of one length."""
        column = self.columns[name]
        if pa.types.is_dictionary(column.type):
            return column.cast(column.type.value_type)
        if not _is_list(column.type) or not pa.types.is_floating(column.type.value_type):
            return column
        lengths = np.asarray(pc.list_value_length(column).drop_null())
        if not len(lengths) or not lengths[0] or (lengths != lengths[0]).any():
            return column
        vectors = _numbers(column, int(lengths[0]))
        absent = np.isnan(vectors).all(1)
        if not np.isfinite(vectors[~absent]).all():
            return column
        vectors[absent] = 0
        values = pa.array(vectors.reshape(-1))
        return pa.FixedSizeListArray.from_arrays(values, vectors.shape[1], mask=pa.array(absent))

    def _labels(self) -> tuple[pa.Array, pa.Array, list[str] | None]:
        """Return labels, the names of their classes row by row, and these names by number."""
        names = self._cast("class", pa.string())
        if "label" not in self.columns:
            labels, classes = coded(names.to_pylist())
        else:
            column = plain(text(self.columns["label"], "label", str(self.file)))
            if pa.types.is_floating(column.type) or pa.types.is_nested(column.type):
                raise self._no_labels(column)
            labels, classes = coded(column.to_pylist())
            if labels is not None and classes is not None and "class" not in self.columns:
                names = pa.array([None if i < 0 else classes[i] for i in labels.tolist()], pa.string())
        if labels is None:
            return pa.nulls(self.n, pa.int64()), names, None
        unknown = labels < 0
        names = pc.if_else(pa.array(unknown), None, names)
        known = {i: name for i, name in zip(labels.tolist(), names.to_pylist(), strict=True) if name}
        if classes is None and known and max(known) < _CLASSES:
            classes = [known.get(i, str(i)) for i in range(max(known) + 1)]
        return pa.array(labels, pa.int64(), mask=unknown), names, classes

    def _no_labels(self, column: pa.Array) -> BadInput:
        where, came = "", f"{column.type}"
        if pa.types.is_floating(column.type):
            values = column.fill_null(0).to_numpy(zero_copy_only=False)
            row = int((~(np.abs(values) < 2.0**63) | (np.rint(values) != values)).argmax())
            where, came = f" of row {row}, id '{self.ids[row]}',", str(column[row])
        return BadInput(f"Labels are whole numbers or words; label{where} of {self.file} is {came}.")

    def _cast(self, name: str, kind: pa.DataType) -> pa.Array:
        """Return a column in another type, null where there is none of that name."""
        if name not in self.columns:
            return pa.nulls(self.n, kind)
        try:
            return plain(self.columns[name]).cast(kind)
        except pa.ArrowException as error:
            raise BadInput(f"{name} of {self.file} cannot be read as {kind}: {one_line(error)}") from None


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _numbers(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """Return lists of ``width`` numbers each as ``(n, width)`` float32, NaN where there is none."""
    numbers, start = np.full((len(column), width), np.nan, np.float32), 0
    for chunk in column.chunks:
        stop = start + len(chunk)
        present = chunk.is_valid().to_numpy(zero_copy_only=False)
        values = chunk.flatten().cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
        numbers[start:stop][present] = values.reshape(-1, width)
        start = stop
    return numbers


def _first(rows: pa.Array | pa.ChunkedArray) -> int:
    return int(np.flatnonzero(rows.to_numpy(zero_copy_only=False))[0])


def _parquet(file: Path) -> dict[str, pa.ChunkedArray]:
    table = read_parquet(file)
    return dict(zip(table.column_names, table.columns, strict=True))


def _npz(file: Path) -> dict[str, pa.ChunkedArray]:
    columns = {name: _from_array(file, name, array) for name, array in read_npz(file).items()}
    for theirs, ours in (("ids", "id"), ("labels", "label")):
        if theirs in columns:
            columns[ours] = columns.pop(theirs)
    return columns


def _npy(file: Path) -> dict[str, pa.ChunkedArray]:
    vectors = _from_array(file, "vector", read_npy(file))
    return {"id": pa.chunked_array([np.arange(len(vectors))]), "vector": vectors}


def _from_array(file: Path, name: str, array: np.ndarray) -> pa.ChunkedArray:
    """Return ``(n,)`` values, or ``(n, D)`` numbers as lists."""
    if array.ndim not in (1, 2) or array.dtype.kind not in ("biufUSM" if array.ndim == 1 else "biuf"):
        raise BadInput(
            f"{name} of {file} is {array.dtype} of shape {array.shape}; a store takes values (n,) and real "
            "numbers (n, D)."
        )
    if array.ndim == 1:
        return pa.chunked_array([pa.array(array.astype(np.float32) if array.dtype == np.float16 else array)])
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite then, and refused
        numbers = pa.array(np.ascontiguousarray(array, np.float32).reshape(-1))
    return pa.chunked_array([pa.FixedSizeListArray.from_arrays(numbers, array.shape[1])])


def _json(file: Path) -> dict[str, pa.ChunkedArray]:
    samples = json.loads(file.read_text())["samples"]
    columns: dict[str, list[Any]] = {}
    for row, sample in enumerate(samples):
        flat = {name: value for name, value in sample.items() if name not in _GIVEN}
        if isinstance(known := flat.pop("_id", None), dict):  # as MongoDB writes it
            flat.setdefault("id", known.get("$oid"))
        if "filepath" in flat:
            flat["uri"] = flat.pop("filepath")
            flat.setdefault("id", flat["uri"])
        if isinstance(truth := flat.pop("ground_truth", None), dict):
            flat["class"] = truth.get("label")
        for name, value in flat.items():
            columns.setdefault(name, [None] * row).append(value)
        for values in columns.values():
            values.extend([None] * (row + 1 - len(values)))
    return {name: _from_list(file, name, values) for name, values in columns.items()}


def _from_list(file: Path, name: str, values: list[Any]) -> pa.ChunkedArray:
    try:
        return pa.chunked_array([pa.array(values)])
    except (pa.ArrowException, OverflowError) as error:
        raise BadInput(f"{name} of {file} mixes kinds of values: {one_line(error)}") from None
