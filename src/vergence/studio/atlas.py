"""Export of a store's map for embedding-atlas: its rows with x, y and nearest neighbours, as Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from vergence.core.errors import BadInput
from vergence.store.lance_io import write_errors
from vergence.store.table import Store
from vergence.studio.cache import fingerprint
from vergence.studio.projection import NOWHERE, Projection

X, Y, NEAR = "projection_x", "projection_y", "__neighbors"  # what embedding-atlas calls its own
AROUND = 15  # neighbours of a row, itself among them, as many as embedding-atlas looks for
_EXACT = 20_000  # rows up to which every row is compared with every other


@dataclass(frozen=True, slots=True)
class Atlas:
    """What was written.

    Args:
        path: Of the file.
        rows: How many it holds.
        command: What opens it.
    """

    path: Path
    rows: int
    command: str


def export_atlas(
    store: Store, path: str | Path, *, where: str | None = None, column: str = "vector"
) -> Atlas:
    """Write the map of a store to a Parquet file that embedding-atlas opens, whole or not at all.

    It holds every column but the vectors; ``projection_x`` and ``projection_y`` in [0, 1], the map that the
    studio shows, which is laid out first where it is not there yet; ``__neighbors``, a struct of ``ids``
    (rows of the file, counted from 0, the row itself first) and ``distances`` (1 less the cosine); and small
    pictures as structs of ``bytes`` and ``path``. Rows without a vector are left out.

    Args:
        store: Opened.
        path: Ends in ``.parquet``.
        where: SQL condition on the rows; None takes all.
        column: Which vectors.

    Raises:
        BadInput: If the name ends otherwise, no row is left, or the store has a column of one of these names.
        NoSpread: If all vectors are alike.
    """
    path = Path(path)
    if path.suffix != ".parquet":
        raise BadInput(f"Cannot write {path}: embedding-atlas opens what ends in .parquet.")
    if taken := sorted({X, Y, NEAR} & set(store.table.schema.names)):
        raise BadInput(f"{store.path} has a column {taken[0]} already, which the map would hide.")
    store.width(column)
    rows = store.present(column)
    if where is not None:
        rows = np.intersect1d(rows, store.where(where))
    if not len(rows):
        raise BadInput(f"No row of {store.path} with a {column} is left to write.")
    projection = Projection(store, column, fingerprint(store, column))
    if not projection.final:
        projection.improve()
    points = projection.now[0][rows] / np.float32(NOWHERE - 1)
    ids, distances = near_rows(store.directions(column)[rows])
    kept = [name for name in store.table.schema.names if name not in store.vector_columns]
    table = store.read(kept).take(pa.array(rows))
    if "thumbnail" in kept:
        table = _with_pictures(table)
    table = table.append_column(X, pa.array(points[:, 0])).append_column(Y, pa.array(points[:, 1]))
    near = pa.StructArray.from_arrays([_lists(ids), _lists(distances)], names=["ids", "distances"])
    table = table.append_column(NEAR, near).replace_schema_metadata(None)
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    with write_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(table, temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return Atlas(path, len(rows), f"embedding-atlas {path} --x {X} --y {Y} --neighbors {NEAR}")


def near_rows(unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return every row's neighbours ``(n, k)`` int64, itself first, and their distances ``(n, k)`` float32.

    Of more than 20,000 rows only those of neighbouring cells are compared (``use.ivf``).

    Args:
        unit: ``(n, D)`` of length 1, or zeros, which are near to nothing.
    """
    from vergence.use.ivf import IVF
    from vergence.use.topk import as_tensor, topk

    n = len(unit)
    k = min(AROUND, n)
    if n <= _EXACT:
        bank = as_tensor(unit)
        scores, rows = (part.cpu().numpy() for part in topk(bank, bank, k, "dot"))
    else:
        scores, rows = IVF.of(unit).nearest(unit, k)
        few = np.flatnonzero((rows < 0).any(1))
        if len(few):
            nearest_of_few = topk(as_tensor(unit[few]), as_tensor(unit), k, "dot")
            scores[few], rows[few] = (part.cpu().numpy() for part in nearest_of_few)
    own = np.arange(n)[:, None]
    scores = np.where(rows == own, np.inf, scores)
    scores[(rows != own).all(1), -1] = np.inf  # where equal rows have put it out, or it is zero
    rows = np.where(np.isposinf(scores), own, rows)
    order = np.argsort(-scores, axis=1, kind="stable")
    rows, scores = (np.take_along_axis(part, order, 1) for part in (rows, scores))
    scores[:, 0] = 1.0
    return rows.astype(np.int64), np.maximum(1 - scores, 0).astype(np.float32)


def _lists(values: np.ndarray) -> pa.ListArray:
    starts = pa.array(np.arange(len(values) + 1, dtype=np.int32) * np.int32(values.shape[1]))
    return pa.ListArray.from_arrays(starts, pa.array(values.ravel()))


def _with_pictures(table: pa.Table) -> pa.Table:
    """Return a table whose small pictures are structs, as embedding-atlas shows them."""
    raw = table["thumbnail"].combine_chunks().cast(pa.binary())
    if raw.null_count == len(raw):
        return table.drop_columns(["thumbnail"])
    names = table["id"].combine_chunks().cast(pa.string())
    pictures = pa.StructArray.from_arrays([raw, names], names=["bytes", "path"], mask=raw.is_null())
    return table.set_column(table.schema.get_field_index("thumbnail"), "thumbnail", pictures)
