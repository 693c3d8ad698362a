"""Imports of one file as the rows of a store: what ``export`` writes, or what other tools wrote so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from vergence.core.errors import BadInput
from vergence.data.arrays import read_npy, read_npz
from vergence.store.rows import COLUMNS, checked, table_schema, vector_array

_GIVEN = ("tags", "metadata", "_media_type", "_rand", "_dataset_id")  # of FiftyOne, about itself


def read(file: Path) -> tuple[pa.Table, list[str] | None]:
    """Return a file's rows with the columns of a store first, and the names of the classes.

    Args:
        file: ``.parquet``: columns ``id`` and ``vector`` at least; ``.npz``: arrays ``ids`` and ``vector``,
            perhaps ``labels`` and more vectors; ``.npy``: vectors ``(n, D)``, named by their row; ``.json``:
            samples as FiftyOne writes them, lists of numbers being vectors.

    Raises:
        BadInput: If it is none of these, lacks the columns, or a vector is not finite.
    """
    readers = {".parquet": _parquet, ".npz": _npz, ".npy": _npy, ".json": _json}
    if file.suffix not in readers:
        raise BadInput(f"Cannot read {file}: the name must end in {', '.join(readers)}.")
    if not file.is_file():
        raise BadInput(f"There is no file {file}.")
    try:
        columns = readers[file.suffix](file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{file} is not what its name says: {first}") from None
    if "id" not in columns or "vector" not in columns:
        raise BadInput(f"{file} needs the columns id and vector; it has {', '.join(columns)}.")
    return _table(file, columns)


def _table(file: Path, columns: dict[str, Any]) -> tuple[pa.Table, list[str] | None]:
    ids = [str(name) for name in columns.pop("id")]
    if len(set(ids)) < len(ids):
        raise BadInput(f"A store needs a different id for every row; one of {file} occurs more than once.")
    names = columns.pop("class", None)
    labels = columns.pop("label", None)
    classes = None
    if names is not None:
        if labels is None:
            classes = sorted({name for name in names if name is not None})
            labels = [None if name is None else classes.index(name) for name in names]
        known = {label: name for label, name in zip(labels, names, strict=True) if label is not None}
        if classes is None and known:
            classes = [known.get(i) or str(i) for i in range(max(known) + 1)]
    vectors = {name: columns.pop(name) for name in list(columns) if _is_vectors(columns[name])}
    if "vector" not in vectors:
        raise BadInput(f"The column vector of {file} does not hold one list of numbers a row, all as long.")
    n = len(ids)
    made: dict[str, Any] = {
        "id": pa.array(ids, pa.string()),
        "uri": pa.array(columns.pop("uri", None) or ids, pa.string()),
        "vector": vector_array(checked(np.asarray(vectors.pop("vector")))),
        "label": pa.nulls(n, pa.int64()) if labels is None else pa.array(labels, pa.int64()),
        "class": pa.nulls(n, pa.string()) if names is None else pa.array(names, pa.string()),
        "thumbnail": pa.array(columns.pop("thumbnail", None) or [None] * n, pa.binary()),
    }
    for name, column in vectors.items():
        made[name] = _with_gaps(column)
    try:
        made.update({name: pa.array(values) for name, values in columns.items()})
    except pa.ArrowException as error:
        raise BadInput(f"{file} mixes kinds of values in one column: {error}") from None
    table = pa.table(made)
    own = table_schema(table.schema.field("vector").type.list_size)
    return table.cast(pa.schema([*own, *(f for f in table.schema if f.name not in COLUMNS)])), classes


def _is_vectors(values: Any) -> bool:
    """Whether all values that are there are lists of as many numbers."""
    present = [value for value in values if value is not None]
    if not present or not isinstance(present[0], list | np.ndarray) or not len(present[0]):
        return False
    return all(len(value) == len(present[0]) for value in present) and isinstance(
        present[0][0], int | float | np.number
    )


def _with_gaps(values: Any) -> pa.Array:
    """Return vectors as Arrow, null where there is none."""
    width = len(next(value for value in values if value is not None))
    filled = np.stack([np.zeros(width) if value is None else np.asarray(value) for value in values])
    absent = np.array([value is None or bool(np.isnan(np.asarray(value, float)).all()) for value in values])
    filled[absent] = 0
    return pa.FixedSizeListArray.from_arrays(
        pa.array(checked(filled).reshape(-1)), width, mask=pa.array(absent)
    )


def _parquet(file: Path) -> dict[str, Any]:
    return parquet.read_table(file).to_pydict()


def _npz(file: Path) -> dict[str, Any]:
    columns: dict[str, Any] = dict(read_npz(file))
    columns["id"] = columns.pop("ids")
    if "labels" in columns:
        columns["label"] = [None if label < 0 else int(label) for label in columns.pop("labels")]
    return columns


def _npy(file: Path) -> dict[str, Any]:
    vectors = checked(read_npy(file))
    return {"id": range(len(vectors)), "vector": vectors}


def _json(file: Path) -> dict[str, Any]:
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
    return columns
