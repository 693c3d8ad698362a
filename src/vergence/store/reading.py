"""Reading a table of embeddings: its rows, vectors and neighbours."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import lance
import numpy as np
import pyarrow as pa

from vergence.core.errors import BadInput, unknown
from vergence.core.lists import read_cell
from vergence.data.source import LabelName
from vergence.store.conditions import as_filter
from vergence.store.lance_index import query_options
from vergence.store.lance_io import is_begun, is_table, lance_errors, one_line, quoted
from vergence.store.placing import recover
from vergence.store.rows import COLUMNS

T = TypeVar("T")
NOTE = "vergence"  # the key of the table's note about itself, in the metadata of its schema
MODEL = b"vergence:model"  # the key of what made a column's vectors, in the metadata of its field
ENCODER = b"vergence:encoder"  # of that one's identity
SKIPPED = "skipped.csv"


class TableReader:
    """A table of embeddings as it is read; ``Store`` also changes it.

    Rows are counted from 0 in the table's order.
    """

    def __init__(self, path: Path, table: lance.LanceDataset) -> None:
        self.path, self.table = path, table
        self._kept: dict[tuple[str, int], Any] = {}

    def __len__(self) -> int:
        return self.table.count_rows()

    def __repr__(self) -> str:
        columns = ", ".join(f"{name} ({width})" for name, width in self.vector_columns.items())
        return f"<Store {self.path}: {len(self):,} rows, {columns}>"

    @classmethod
    def open(cls, path: str | Path, *, version: int | None = None) -> Self:
        """Open the table at ``path``, as it is now or as it was at ``version``.

        Raises:
            BadInput: If there is none, or it lacks the columns of a store.
        """
        path = Path(path)
        recover(path)
        if not path.exists():
            raise BadInput(
                f"There is no store at {path}: make one with `vergence embed RUN SOURCE --out {path}`."
            )
        try:
            with lance_errors(path):
                table = lance.dataset(str(path), version=version)
                _ = table.schema, table.count_rows()
        except BadInput as error:
            if is_table(path) and version is None:
                raise BadInput(str(error)) from None
            if is_begun(path):
                raise BadInput(
                    f"{path} is not finished: run the same `vergence embed --workers ray` again to go on."
                ) from None
            what = "is not a store (a Lance table)" if version is None else f"has no version {version}"
            raise BadInput(f"{path} {what}; give the folder that `vergence embed` wrote.") from None
        missing = [name for name in COLUMNS if name not in table.schema.names]
        if missing:
            raise BadInput(f"{path} is a Lance table but not a store: it lacks {', '.join(missing)}.")
        return cls(path, table)

    @property
    def about(self) -> dict[str, Any]:
        """The table's note about itself: ``source``, ``classes``, ``models`` by vector column, ``info``."""
        with lance_errors(self.path):
            schema = self.table.schema
            about = json.loads((schema.metadata or {}).get(NOTE.encode(), b"{}"))
        if not isinstance(about, dict):
            return {}
        models = {
            field.name: field.metadata[MODEL].decode() for field in schema if MODEL in (field.metadata or {})
        }
        return {**about, "models": {**(about.get("models") or {}), **models}}

    @property
    def encoders(self) -> dict[str, dict[str, Any]]:
        """What is known of the encoders that made the vectors, by column: ``weights``, ``preprocessing``."""
        about = self.about  # which says so where the table cannot be read
        fields = [field for field in self.table.schema if ENCODER in (field.metadata or {})]
        own = {field.name: json.loads(field.metadata[ENCODER]) for field in fields}
        return {**(about.get("encoders") or {}), **own}

    @property
    def skipped(self) -> dict[str, str]:
        """Why samples of the source could not be read when the table was made, by name."""
        file = self.path / SKIPPED
        if not file.is_file():
            return {}
        with file.open(newline="") as lines:
            return {read_cell(row["name"]): read_cell(row["reason"]) for row in csv.DictReader(lines)}

    @property
    def vector_columns(self) -> dict[str, int]:
        """Names and widths of the columns that hold embeddings."""
        return {f.name: f.type.list_size for f in self.table.schema if pa.types.is_fixed_size_list(f.type)}

    @property
    def version(self) -> int:
        """Number of the latest change; ``open(path, version=...)`` goes back to an earlier one."""
        return self.table.version

    @property
    def names(self) -> list[str]:
        """The ids, in the table's order."""
        return self.read(["id"])["id"].to_pylist()

    @property
    def labels(self) -> np.ndarray | None:
        """``(n,)`` int64, -1 where unknown; None when no row has a label."""
        column = self.read(["label"])["label"]
        return None if column.null_count == len(column) else column.fill_null(-1).to_numpy()

    @property
    def classes(self) -> list[str] | None:
        """Names of the labels, or None."""
        return self.about.get("classes")

    @property
    def label_name(self) -> LabelName:
        """What a label is: "class", or "folder" where the source had it from the names of folders."""
        return "folder" if self.about.get("label_name") == "folder" else "class"

    def width(self, column: str = "vector") -> int:
        """Return D of a vector column; raises ``BadInput`` if there is none of that name."""
        if column not in self.vector_columns:
            raise unknown("vector column", column, self.vector_columns)
        return self.vector_columns[column]

    def vectors(self, column: str = "vector") -> np.ndarray:
        """Return ``(n, D)`` float32, read once and then kept; a row without such a vector is NaN."""
        return self.once(column, lambda: self._filled(column))

    def directions(self, column: str = "vector") -> np.ndarray:
        """Return the vectors at unit length ``(n, D)`` float32, kept like them; zero stays zero."""

        def scaled() -> np.ndarray:
            unit = self._filled(column)
            unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
            return unit

        return self.once(f"{column} directions", scaled)

    def present(self, column: str = "vector") -> np.ndarray:
        """Return the rows ``(m,)`` int64 that have such a vector; another model may have seen some only."""
        return np.flatnonzero(~np.isnan(self.vectors(column)[:, 0]))

    def read(self, columns: Sequence[str] | None = None, *, where: str | None = None) -> pa.Table:
        """Return rows as Arrow.

        ``where`` is a SQL condition, such as ``"class = 'cat' AND label IS NOT NULL"``; ``BadInput`` if it is
        not understood (``store.conditions``) or a column does not exist. ``columns=None`` reads all.
        """
        return self._query(columns, self._filter(where))

    def take(self, rows: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None) -> pa.Table:
        """Return these rows, in this order, as Arrow."""
        with lance_errors(self.path):
            return self.table.take(
                [int(row) for row in rows], columns=None if columns is None else list(columns)
            )

    def where(self, condition: str) -> np.ndarray:
        """Return the rows ``(m,)`` int64, ascending, that fulfil a SQL condition."""
        return self._matching(as_filter(condition, self.table.schema))

    def find(self, name: str) -> int:
        """Return the row of an id; raises ``BadInput`` if there is none."""
        rows = self._matching(f"id = {quoted(name)}")
        if not len(rows):
            some = ", ".join(self.take(range(min(3, len(self))), ["id"])["id"].to_pylist())
            raise BadInput(f"{self.path} has no row '{name}'; its ids look like {some}.")
        return int(rows[0])

    def has_index(self, column: str = "vector") -> bool:
        """Whether ``nearest`` can skip most rows; rows added since then are still looked at one by one."""
        return any(column in index.field_names for index in self.table.describe_indices())

    def recall(self, column: str = "vector") -> float | None:
        """Return the share of the true ten nearest that the index found when it was built; None without."""
        known = self.about.get("indices", {}).get(column)
        return known[2] if known and self.has_index(column) else None

    def nearest(
        self,
        queries: np.ndarray,
        k: int,
        *,
        column: str = "vector",
        where: str | None = None,
        effort: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return cosines ``(Q, k)`` float32 and rows ``(Q, k)`` int64 of approximate neighbours, best first.

        Args:
            queries: ``(Q, D)``.
            k: How many; where fewer are found, the rest is NaN and -1.
            column: Which vectors; they need an index.
            where: SQL condition that the answers fulfil.
            effort: From 1; more finds more of the true neighbours, later; 0 looks at every row. None: what
                was found to be enough when the index was built.
        """
        kind, enough, _ = self.about.get("indices", {}).get(column, ("hnsw", 2, None))
        query = query_options(
            column, np.asarray(queries, np.float32), k, kind, enough if effort is None else effort
        )
        return self._nearest_rows(query, self._filter(where))

    def _nearest_rows(self, query: dict[str, Any], where: str | None) -> tuple[np.ndarray, np.ndarray]:
        table = self._query(
            ["_distance"], where, with_row_id=True, nearest=query, prefilter=where is not None
        )
        line = table["query_index"].to_numpy()
        place = np.arange(len(line)) - np.searchsorted(line, line)  # answers come query by query
        scores = np.full((len(query["q"]), query["k"]), np.nan, np.float32)
        rows = np.full(scores.shape, -1, np.int64)
        scores[line, place] = 1 - table["_distance"].to_numpy()
        rows[line, place] = self._rows_of(table["_rowid"].to_numpy())
        return scores, rows

    def _filled(self, column: str) -> np.ndarray:
        vectors = np.full((len(self), self.width(column)), np.nan, np.float32)
        start = 0
        with lance_errors(self.path):
            for batch in self.table.to_batches(columns=[column]):
                stop = start + batch.num_rows
                present = batch[column].is_valid().to_numpy(zero_copy_only=False)
                vectors[start:stop][present] = (
                    batch[column].flatten().to_numpy().reshape(-1, vectors.shape[1])
                )
                start = stop
        return vectors

    def _rows_of(self, keys: np.ndarray) -> np.ndarray:
        """Translate Lance's ``_rowid``, which outlives changes, into rows."""
        known = self.once(
            "_rowid", lambda: self.table.to_table(columns=[], with_row_id=True)["_rowid"].to_numpy()
        )
        order = self.once("_rowid order", lambda: np.argsort(known, kind="stable"))
        return order[np.searchsorted(known, keys, sorter=order)]

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return what ``make`` gives, made once and then kept until the table changes; arrays read-only."""
        key = (name, self.version)
        if key not in self._kept:
            made = self._kept[key] = make()
            if isinstance(made, np.ndarray):
                made.flags.writeable = False
        return self._kept[key]

    def _filter(self, condition: str | None) -> str | None:
        return None if condition is None else as_filter(condition, self.table.schema)

    def _matching(self, where: str) -> np.ndarray:
        """Return the rows that pass a filter of Lance, ascending."""
        table = self._query([], where, with_row_id=True)
        return np.sort(self._rows_of(table["_rowid"].to_numpy()))

    def _query(self, columns: Sequence[str] | None, where: str | None, **options: Any) -> pa.Table:
        chosen = None if columns is None else list(columns)
        if where is None and not options and set(chosen or ()) <= set(self.table.schema.names):
            with lance_errors(self.path):  # there is nothing wrong with the question
                return self.table.to_table(columns=chosen)
        try:
            return self.table.to_table(columns=chosen, filter=where, **options)
        except (ValueError, OSError) as error:
            request = " and ".join(str(part) for part in (columns, where) if part)
            raise BadInput(
                f"{self.path} cannot answer {request}: {one_line(error)} It has the columns "
                f"{', '.join(self.table.schema.names)}."
            ) from error

    def _reload(self) -> None:
        self.table = lance.dataset(str(self.path))
        self._kept.clear()
