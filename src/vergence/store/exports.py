"""Exports of a store to one file, for tools that do not read Lance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from vergence.core.errors import BadInput
from vergence.data.arrow_types import times_as_words
from vergence.store.lance_io import write_errors
from vergence.store.reading import TableReader

SUFFIXES = (".parquet", ".npz", ".npy", ".json")


def export(store: TableReader, path: Path, where: str | None = None) -> Path:
    """Write rows of a store to ``path``; see ``Store.export``."""
    if path.suffix not in SUFFIXES:
        raise BadInput(f"Cannot write {path}: the name must end in {', '.join(SUFFIXES)}.")
    rows = np.arange(len(store)) if where is None else store.where(where)
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    with write_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".parquet":
                parquet.write_table(store.read(where=where), temporary)
            elif path.suffix == ".npy":
                np.save(temporary, store.vectors()[rows])
            elif path.suffix == ".json":
                temporary.write_text(
                    json.dumps({"name": store.path.stem, "samples": _samples(store, where)}, default=str)
                )
            else:
                np.savez(temporary, **_arrays(store, rows))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def _samples(store: TableReader, where: str | None) -> list[dict[str, Any]]:
    """Return rows as FiftyOne's samples: a file path, tags, a classification, and further fields."""
    columns = [f.name for f in store.table.schema if f.name != "label" and not pa.types.is_binary(f.type)]
    rows = times_as_words(store.read(columns, where=where)).to_pylist()
    for row in rows:
        row["filepath"], row["tags"] = row.pop("uri"), []
        name = row.pop("class")
        row["ground_truth"] = None if name is None else {"_cls": "Classification", "label": name}
    return rows


def _arrays(store: TableReader, rows: np.ndarray) -> dict[str, Any]:
    known = store.take(rows, ["id", "label"])
    return {
        "ids": np.array(known["id"].to_pylist()),
        "labels": known["label"].fill_null(-1).to_numpy(),
        **{name: store.vectors(name)[rows] for name in store.vector_columns},
    }
