"""Stores of embeddings: a Lance table, one row a sample, that every tool of ``use`` works on.

A store is an ordinary Lance dataset; ``lance``, ``lancedb`` and DuckDB read it without vergence.

===========  ====================  ============================================================
column       type                  what
===========  ====================  ============================================================
id           string                the sample's stable name in its source, once a store
uri          string                where the sample itself can be found
vector       float32[D]            its embedding; other models' go to columns of their own
label        int64, may be null    class number
class        string, may be null   class name
thumbnail    binary, may be null   small PNG or JPEG
===========  ====================  ============================================================

Any further columns are metadata and may be used in SQL conditions like the ones above.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import lance
import numpy as np
import pyarrow as pa

from vergence.core.errors import BadInput, unknown
from vergence.data.source import Skipped, Source
from vergence.store.exports import export
from vergence.store.imports import read
from vergence.store.lance_index import EFFORTS, Index, build, query_options
from vergence.store.lance_io import (
    batch_reader,
    is_begun,
    is_table,
    lance_errors,
    one_line,
    quoted,
    write_errors,
)
from vergence.store.rows import COLUMNS, HasVectors, Rows, checked, vector_array

T = TypeVar("T")
INDEX_FROM = 5_000  # rows; below, looking at every vector is faster than any index
_GRAPH_TO = 200_000  # rows; a graph of more takes many minutes to build
_SAMPLE = 100  # rows that are asked for their neighbours to measure an index
_SKIPPED = "skipped.csv"
_KEY = "vergence"  # of the table's own note about itself


def note(source: str | None, classes: list[str] | None, model: str, **more: Any) -> dict[str, str]:
    """Return what a new table says about itself, as its schema keeps it; see ``Store.about``."""
    about = {"format": 1, "source": source, "classes": classes, "models": {"vector": model}, "info": {}}
    return {_KEY: json.dumps({**about, **more})}


def write_skipped(path: Path, skipped: Skipped) -> None:
    """Put what could not be read beside the table at ``path``; no file where everything could."""
    if skipped.reasons:
        (path / _SKIPPED).write_text(skipped.table())
    else:
        (path / _SKIPPED).unlink(missing_ok=True)


def _free(path: str | Path, overwrite: bool) -> Path:
    path = Path(path)
    if path.exists() and not (overwrite and is_table(path)):
        hint = ", or pass overwrite=True to replace it" if is_table(path) else ""
        raise BadInput(f"{path} exists already: choose another path{hint}.")
    return path


class Store:
    """A table of embeddings on disk. Make one with ``create``, come back to it with ``open``.

    Rows are counted from 0 in the table's order; a deleted row moves the later ones up. Every
    change is one atomic step that makes a new ``version``; the earlier ones stay readable.
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
    def create(
        cls,
        path: str | Path,
        source: Source | None,
        embeddings: HasVectors | np.ndarray,
        *,
        ids: Sequence[str] | None = None,
        labels: np.ndarray | None = None,
        metadata: Mapping[str, Any] | pa.Table | None = None,
        thumbnail: int = 96,
        model: str = "",
        info: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> Store:
        """Write embeddings to a new table at ``path``; it appears there whole or not at all.

        Args:
            path: A folder that does not exist yet, by custom ``something.lance``.
            source: Gives names, labels and pictures; None for vectors from elsewhere.
            embeddings: What ``engine.embed`` returned, or ``(n, D)`` vectors, one for each sample.
            ids: One unique name a row; taken from ``source`` when None.
            labels: ``(n,)`` int64, -1 where unknown; taken from ``source`` when None.
            metadata: Further columns of n values each.
            thumbnail: Longer side in pixels of the pictures kept; 0 keeps none.
            model: What made the vectors, such as the path of a run.
            info: Anything JSON can hold about the whole table.
            overwrite: Replace the store at ``path``.

        Raises:
            BadInput: If something is at ``path`` already, a name occurs twice, lengths differ or a
                vector is not finite.
            VergenceError: If the disk refuses.
        """
        path = _free(path, overwrite)
        rows = Rows(source, embeddings, ids=ids, labels=labels, metadata=metadata, thumbnail=thumbnail)
        made_from = source.uri if source is not None else None
        schema = rows.schema.with_metadata(note(made_from, rows.classes, model, info=dict(info or {})))
        return cls._write(path, rows.batches(schema), schema, source)

    @classmethod
    def read_file(cls, file: str | Path, path: str | Path, *, overwrite: bool = False) -> Store:
        """Make a store of one file: Parquet, NumPy, or JSON as FiftyOne writes it (``data.imports``).

        Args:
            file: Ends in ``.parquet``, ``.npz``, ``.npy`` or ``.json``; what ``export`` wrote comes back.
            path: As of ``create``.
            overwrite: Replace the store at ``path``.

        Raises:
            BadInput: If the file has no ids and vectors, or something is at ``path`` already.
        """
        path = _free(path, overwrite)
        table, classes = read(Path(file))
        schema = table.schema.with_metadata(note(str(file), classes, ""))
        return cls._write(path, iter(table.cast(schema).to_batches(max_chunksize=8192)), schema)

    @classmethod
    def _write(
        cls,
        path: Path,
        batches: Iterator[pa.RecordBatch],
        schema: pa.Schema,
        source: Source | None = None,
    ) -> Store:
        """Write a table aside and put it in its place when it is whole."""
        temporary, old = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.old")
        with write_errors(path):
            try:
                for left in (temporary, old):
                    shutil.rmtree(left, ignore_errors=True)
                path.parent.mkdir(parents=True, exist_ok=True)
                with batch_reader(batches, schema) as reader:
                    lance.write_dataset(reader, str(temporary), enable_stable_row_ids=True)
                if source is not None:
                    write_skipped(temporary, source.skipped)
                if path.exists():
                    path.rename(old)
                temporary.rename(path)
            finally:
                for left in (temporary, old):
                    shutil.rmtree(left, ignore_errors=True)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path, *, version: int | None = None) -> Store:
        """Open the table at ``path``, as it is now or as it was at ``version``.

        Raises:
            BadInput: If there is none, or it lacks the columns of a store.
        """
        path = Path(path)
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
            about = json.loads((self.table.schema.metadata or {}).get(_KEY.encode(), b"{}"))
        return about if isinstance(about, dict) else {}

    @property
    def skipped(self) -> dict[str, str]:
        """Why samples of the source could not be read when the table was made, by name."""
        file = self.path / _SKIPPED
        if not file.is_file():
            return {}
        with file.open(newline="") as lines:
            return {row["name"]: row["reason"] for row in csv.DictReader(lines)}

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

        ``where`` is a SQL condition, such as ``"class = 'cat' AND label IS NOT NULL"``; ``BadInput``
        if it makes no sense or a column does not exist. ``columns=None`` reads all.
        """
        return self._query(columns, where)

    def take(self, rows: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None) -> pa.Table:
        """Return these rows, in this order, as Arrow."""
        with lance_errors(self.path):
            return self.table.take(
                [int(row) for row in rows], columns=None if columns is None else list(columns)
            )

    def where(self, condition: str) -> np.ndarray:
        """Return the rows ``(m,)`` int64, ascending, that fulfil a SQL condition."""
        table = self._query([], condition, with_row_id=True)
        return np.sort(self._rows_of(table["_rowid"].to_numpy()))

    def find(self, name: str) -> int:
        """Return the row of an id; raises ``BadInput`` if there is none."""
        rows = self.where(f"id = {quoted(name)}")
        if not len(rows):
            some = ", ".join(self.take(range(min(3, len(self))), ["id"])["id"].to_pylist())
            raise BadInput(f"{self.path} has no row '{name}'; its ids look like {some}.")
        return int(rows[0])

    def append(
        self,
        source: Source | None,
        embeddings: HasVectors | np.ndarray,
        *,
        ids: Sequence[str] | None = None,
        labels: np.ndarray | None = None,
        metadata: Mapping[str, Any] | pa.Table | None = None,
        thumbnail: int = 96,
        replace: bool = False,
    ) -> None:
        """Add rows; the arguments are those of ``create``.

        Columns that the new rows do not bring are null there. ``replace`` renews rows whose id is
        there already, instead of refusing them.

        Raises:
            BadInput: If an id is there already, or widths, classes or columns do not fit the table.
        """
        rows = Rows(source, embeddings, ids=ids, labels=labels, metadata=metadata, thumbnail=thumbnail)
        rows.check_fits(str(self.path), self.table.schema, self.classes)
        known = set(self.names).intersection(rows.ids)
        if known and not replace:
            some = ", ".join(sorted(known)[:3])
            raise BadInput(
                f"{len(known)} ids are in {self.path} already ({some}); pass replace=True to renew them."
            )
        schema = self.table.schema
        with write_errors(self.path), batch_reader(rows.batches(schema), schema) as reader:
            if known:
                insert = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                insert.execute(reader)
            else:
                lance.write_dataset(reader, str(self.path), mode="append")
        self._reload()

    def add_vectors(
        self, column: str, vectors: np.ndarray, *, ids: Sequence[str] | None = None, model: str = ""
    ) -> None:
        """Put another model's embeddings beside the ones that are there.

        Args:
            column: A new name, such as ``"vector_dinov2"``.
            vectors: ``(m, D)``.
            ids: Which rows they belong to; None means all, in the table's order. The others stay
                without.
            model: What made them.

        Raises:
            BadInput: If the name is taken or lengths differ.
        """
        names = self.names if ids is None else list(ids)
        if column in self.table.schema.names or not column.isidentifier():
            raise BadInput(f"'{column}' cannot name new vectors: use a new word of letters, digits and _.")
        if len(names) != len(vectors):
            raise BadInput(f"{len(vectors)} vectors came for {len(names)} rows; one each is needed.")
        with write_errors(self.path):
            self.table.merge(pa.table({"id": names, column: vector_array(checked(vectors))}), "id")
            about = self.about
            about["models"][column] = model
            self.table.update_schema_metadata({_KEY: json.dumps(about)})
        self._reload()

    def set_column(self, name: str, values: Any) -> None:
        """Give every row a value of a metadata column, in place of one of that name; rows keep their order.

        Args:
            name: A word of letters, digits and _ that no column of every store has.
            values: n of one kind, in the table's order; anything Arrow makes an array of.

        Raises:
            BadInput: If the name cannot be used or lengths differ.
        """
        if name in COLUMNS or name in self.vector_columns or not name.isidentifier():
            raise BadInput(f"'{name}' cannot name metadata: use a new word of letters, digits and _.")
        if len(values) != len(self):
            raise BadInput(f"{len(values)} values came for {len(self)} rows; one each is needed.")
        with write_errors(self.path):
            names = self.names
            if name in self.table.schema.names:
                self.table.drop_columns([name])
            self.table.merge(pa.table({"id": names, name: values}), "id")
        self._reload()

    def set_info(self, **info: Any) -> None:
        """Put these into ``about["info"]``, in place of those of the same name."""
        about = self.about
        about["info"] = {**(about.get("info") or {}), **info}
        with write_errors(self.path):
            self.table.update_schema_metadata({_KEY: json.dumps(about)})
        self._reload()

    def update(self, ids: Sequence[str], values: Mapping[str, Any]) -> None:
        """Give rows new values; they move to the end of the table's order, and keep what is not named.

        Args:
            ids: Which, each once.
            values: By column, one for each id: labels (a class follows), metadata or ``(m, D)`` vectors.

        Raises:
            BadInput: If an id or column is not there, an id comes twice, or values do not fit.
        """
        ids, schema = list(ids), self.table.schema
        fixed = [name for name in values if name in ("id", "uri", "class", "thumbnail")]
        if fixed:
            raise BadInput(
                f"{', '.join(fixed)} cannot be updated: append the rows with replace=True instead."
            )
        for name in values:
            if name not in schema.names:
                raise unknown("column", name, schema.names)
            if len(values[name]) != len(ids):
                raise BadInput(f"{len(values[name])} values of {name} came for {len(ids)} ids.")
        missing = sorted(set(ids) - set(self.names))
        if missing or len(set(ids)) < len(ids):
            what = f"has no row '{missing[0]}'" if missing else "cannot update a row twice at once"
            raise BadInput(f"{self.path} {what}.")
        columns: dict[str, pa.Array] = {"id": pa.array(ids, pa.string())}
        try:
            for name, given in values.items():
                if name in self.vector_columns:
                    columns[name] = vector_array(checked(np.asarray(given))).cast(schema.field(name).type)
                else:
                    columns[name] = pa.array(given, schema.field(name).type)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise BadInput(f"{name} of {self.path} is {schema.field(name).type}: {one_line(error)}") from None
        if "label" in values:
            known = dict(enumerate(self.classes or []))
            labels = [None if label is None or label < 0 else int(label) for label in values["label"]]
            columns["label"] = pa.array(labels, pa.int64())
            columns["class"] = pa.array([None if i is None else known.get(i) for i in labels], pa.string())
        with write_errors(self.path):
            self.table.merge_insert("id").when_matched_update_all().execute(pa.table(columns))
        self._reload()

    def delete(self, ids: Sequence[str] | None = None, *, where: str | None = None) -> int:
        """Delete rows by id or by SQL condition, and return how many they were."""
        if (ids is None) == (where is None):
            raise BadInput("delete needs either ids or a condition (where=...).")
        condition = where if ids is None else f"id IN ({', '.join(map(quoted, ids))})"
        if ids is not None and not len(ids):
            return 0
        gone = self._query([], condition, with_row_id=True).num_rows
        if gone:
            with write_errors(self.path):
                self.table.delete(condition)
            self._reload()
        return gone

    def has_index(self, column: str = "vector") -> bool:
        """Whether ``nearest`` can skip most rows; rows added since then are still looked at one by one."""
        return any(column in index.field_names for index in self.table.describe_indices())

    def index(
        self, column: str = "vector", kind: Index | None = None, *, recall: float = 0.95, seed: int = 0
    ) -> float:
        """Build an index for approximate search by cosine; replaces an earlier one.

        How much of it ``nearest`` looks at is measured: as little as finds the wanted share of the true ten
        nearest of 100 rows. That is kept in ``about["indices"]``.

        Args:
            column: Which vectors.
            kind: ``"hnsw"``, a neighbourhood graph over one byte a value: the quicker answers; ``"pq"``,
                product quantisation: the smaller index, built far sooner; None takes the latter from
                200,000 rows on.
            recall: Share of the true neighbours wanted, in (0, 1].
            seed: Of the rows that are asked.

        Returns:
            The share that was found; below ``recall`` where the most effort does not suffice.
        """
        width = self.width(column)
        kind = kind or ("hnsw" if len(self) < _GRAPH_TO else "pq")
        with write_errors(self.path):
            build(self.table, column, kind, len(self), width)
        self._reload()
        sample = np.random.default_rng(seed).choice(len(self), min(_SAMPLE, len(self)), replace=False)
        queries = np.stack(self.take(sample, [column])[column].drop_null().to_numpy()).astype(np.float32)
        truth = self._nearest_rows(query_options(column, queries, 11, kind, 0), None)[1]
        reached = float("nan")
        for effort in EFFORTS:
            answer = self._nearest_rows(query_options(column, queries, 11, kind, effort), None)[1]
            reached = float((truth[:, 1:, None] == answer[:, None]).any(2)[truth[:, 1:] >= 0].mean())
            if reached >= recall:
                break
        about = self.about
        about["indices"] = {**about.get("indices", {}), column: [kind, effort, round(reached, 4)]}
        with write_errors(self.path):
            self.table.update_schema_metadata({_KEY: json.dumps(about)})
        self._reload()
        return reached

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
        return self._nearest_rows(query, where)

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

    def export(self, path: str | Path, *, where: str | None = None) -> Path:
        """Write rows to one file, whole or not at all, and return its path.

        ``.parquet`` holds every column, ``.npz`` the arrays ids, labels and one a vector column, ``.npy``
        the vectors alone, ``.json`` samples as FiftyOne writes them, without pictures; any other ending is
        ``BadInput``.
        """
        return export(self, Path(path), where)

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
