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

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lance
import numpy as np
import pyarrow as pa

from vergence.core.errors import BadInput, unknown
from vergence.data.source import Source
from vergence.store.changes import is_new_name, put_column
from vergence.store.exports import export
from vergence.store.imports import Imported, read
from vergence.store.lance_index import EFFORTS, Index, build, query_options
from vergence.store.lance_io import batch_reader, lance_errors, one_line, quoted, write_errors
from vergence.store.notes import note, write_skipped
from vergence.store.placing import aside, exclusive, free_path, put_in_place, tidy
from vergence.store.reading import ENCODER, MODEL, NOTE, TableReader
from vergence.store.rows import COLUMNS, HasVectors, Rows, checked, vector_array

if TYPE_CHECKING:
    from vergence.store.pictures import Pictures

INDEX_FROM = 5_000  # rows; below, looking at every vector is faster than any index
_GRAPH_TO = 200_000  # rows; a graph of more takes many minutes to build
_SAMPLE = 100  # rows that are asked for their neighbours to measure an index


class Store(TableReader):
    """A table of embeddings on disk. Make one with ``create``, come back to it with ``open``.

    Rows are counted from 0 in the table's order; a deleted row moves the later ones up. Every
    change is one atomic step that makes a new ``version``; the earlier ones stay readable. Changes by several
    processes come one after the other.
    """

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
        path = free_path(path, overwrite)
        rows = Rows(source, embeddings, ids=ids, labels=labels, metadata=metadata, thumbnail=thumbnail)
        made_from = source.uri if source is not None else None
        label_name = "class" if source is None else source.label_name
        more = {"label_name": label_name, "info": dict(info or {})}
        about = note(made_from, rows.classes, model, rows.encoder, **more)
        schema = rows.schema.with_metadata(about)
        return cls._write(path, rows.batches(schema), schema, source)

    @classmethod
    def read_file(
        cls,
        file: str | Path,
        path: str | Path,
        *,
        vector: str | None = None,
        table: str | Path | None = None,
        images: str | Path | None = None,
        overwrite: bool = False,
    ) -> Store:
        """Make a store of one file: Parquet, NumPy, or JSON as FiftyOne writes it (``store.imports``).

        Args:
            file: Ends in ``.parquet``, ``.npz``, ``.npy`` or ``.json``; what ``export`` wrote comes back.
            path: As of ``create``.
            vector: The column of vectors, where it is called otherwise; then the rows need no ids.
            table: Further columns of the rows of a ``.npy``, as ``.parquet``.
            images: A folder with a picture for every row (``store.pictures``).
            overwrite: Replace the store at ``path``.

        Raises:
            BadInput: If the file has no ids and vectors, a row does not fit, it is not clear which picture
                belongs to a row, or something is at ``path``.
        """
        path = free_path(path, overwrite)
        imported = read(Path(file), vector=vector, table=None if table is None else Path(table))
        rows: Imported | Pictures = imported
        if images is not None:
            from vergence.store.pictures import Pictures

            rows = Pictures(images, imported)
        info = {"renamed": imported.renamed} if imported.renamed else {}
        about = note(str(file), rows.classes, "", label_name=rows.label_name, info=info)
        schema = rows.table.schema.with_metadata(about)
        return cls._write(path, rows.batches(schema), schema)

    @classmethod
    def _write(
        cls,
        path: Path,
        batches: Iterator[pa.RecordBatch],
        schema: pa.Schema,
        source: Source | None = None,
    ) -> Store:
        """Write a table aside and put it in its place when it is whole."""
        place = path.resolve()  # a link stays one
        made = aside(place)
        with write_errors(path):
            place.parent.mkdir(parents=True, exist_ok=True)
            tidy(place)
            try:
                with batch_reader(batches, schema) as reader:
                    lance.write_dataset(reader, str(made), enable_stable_row_ids=True)
                if source is not None:
                    write_skipped(made, source.skipped)
                put_in_place(made, place)
            finally:
                shutil.rmtree(made, ignore_errors=True)
        return cls.open(path)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the table, as it is by now, for a change."""
        with write_errors(self.path):
            with exclusive(self.path):
                with lance_errors(self.path):
                    self._reload()
                yield
            self._reload()

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
            BadInput: If an id is there already, widths, classes or columns do not fit the table, or what
                ``engine.embed`` returned is of another encoder than the table's.
        """
        rows = Rows(source, embeddings, ids=ids, labels=labels, metadata=metadata, thumbnail=thumbnail)
        with self._changing():
            schema = self.table.schema
            rows.check_fits(str(self.path), schema, self.classes, self.encoders.get("vector"))
            known = set(self.names).intersection(rows.ids)
            if known and not replace:
                some = ", ".join(sorted(known)[:3])
                raise BadInput(
                    f"{len(known)} ids are in {self.path} already ({some}); pass replace=True to renew them."
                )
            with batch_reader(rows.batches(schema), schema) as reader:
                if known:
                    insert = self.table.merge_insert("id").when_matched_update_all()
                    insert.when_not_matched_insert_all().execute(reader)
                else:
                    lance.write_dataset(reader, str(self.path), mode="append")

    def add_vectors(
        self,
        column: str,
        vectors: np.ndarray,
        *,
        ids: Sequence[str] | None = None,
        model: str = "",
        encoder: Mapping[str, Any] | None = None,
    ) -> None:
        """Put another model's embeddings beside the ones that are there.

        Args:
            column: A new name, such as ``"vector_dinov2"``.
            vectors: ``(m, D)``.
            ids: Which rows they belong to; None means all, in the table's order. The others stay
                without.
            model: What made them.
            encoder: Its identity, as ``Embeddings.encoder`` has it.

        Raises:
            BadInput: If the name is taken or lengths differ.
        """
        names = self.names if ids is None else list(ids)
        if not is_new_name(column):
            raise BadInput(f"'{column}' cannot name new vectors: use a new word of letters, digits and _.")
        if len(names) != len(vectors):
            raise BadInput(f"{len(vectors)} vectors came for {len(names)} rows; one each is needed.")
        values = vector_array(checked(vectors))
        with self._changing():
            if column in self.table.schema.names:
                raise BadInput(f"'{column}' cannot name new vectors: {self.path} has such a column.")
            known = {MODEL: model.encode(), **({ENCODER: json.dumps(encoder).encode()} if encoder else {})}
            put_column(self.table, names, pa.field(column, values.type, metadata=known), values)

    def set_column(self, name: str, values: Any, *, info: Mapping[str, Any] | None = None) -> None:
        """Give every row a value of a metadata column, in place of one of that name; rows keep their order.

        Args:
            name: A word of letters, digits and _ that no column of every store has.
            values: n of one kind, in the table's order; anything Arrow makes an array of.
            info: Is put into ``about["info"]`` in the same step; see ``set_info``.

        Raises:
            BadInput: If the name cannot be used, lengths differ, or the values are not of one kind.
        """
        if name in COLUMNS or name in self.vector_columns or not is_new_name(name):
            raise BadInput(f"'{name}' cannot name metadata: use a new word of letters, digits and _.")
        if len(values) != len(self):
            raise BadInput(f"{len(values)} values came for {len(self)} rows; one each is needed.")
        try:
            column = pa.array(values)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise BadInput(f"The values of {name} are not of one kind: {one_line(error)}") from None
        names = self.names
        with self._changing():
            metadata = None if info is None else self._described(info={**self._info, **info})
            put_column(self.table, names, pa.field(name, column.type), column, metadata)

    def drop_column(self, name: str) -> None:
        """Take a metadata column out of the table; raises ``BadInput`` if there is none of that name."""
        known = [own for own in self.table.schema.names if own not in (*COLUMNS, *self.vector_columns)]
        if name not in known:
            raise unknown("metadata column", name, known)
        with self._changing():
            self.table.drop_columns([name])

    def set_info(self, **info: Any) -> None:
        """Put these into ``about["info"]``, in place of those of the same name."""
        with self._changing():
            self._note(info={**self._info, **info})

    @property
    def _info(self) -> dict[str, Any]:
        return self.about.get("info") or {}

    def _note(self, **parts: Any) -> None:
        self.table.update_schema_metadata(dict(self._described(**parts)))

    def _described(self, **parts: Any) -> dict[str, str]:
        return {NOTE: json.dumps({**self.about, **parts})}

    def update(self, ids: Sequence[str], values: Mapping[str, Any]) -> None:
        """Give rows new values; they move to the end of the table's order, and keep what is not named.

        Args:
            ids: Which, each once.
            values: By column, one for each id: labels (a class follows), metadata or ``(m, D)`` vectors.

        Raises:
            BadInput: If an id or column is not there, an id comes twice, or values do not fit.
        """
        with self._changing():
            self._update(list(ids), values)

    def _update(self, ids: list[str], values: Mapping[str, Any]) -> None:
        schema = self.table.schema
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
        self.table.merge_insert("id").when_matched_update_all().execute(pa.table(columns))

    def delete(self, ids: Sequence[str] | None = None, *, where: str | None = None) -> int:
        """Delete rows by id or by SQL condition, and return how many they were; other ids are passed over."""
        if (ids is None) == (where is None):
            raise BadInput("delete needs either ids or a condition (where=...).")
        if ids is not None and not len(ids):
            return 0
        with self._changing():
            chosen = self._filter(where) or f"id IN ({', '.join(map(quoted, ids or ()))})"
            gone = self._query([], chosen, with_row_id=True).num_rows
            if gone:
                self.table.delete(chosen)
        return gone

    def restore(self, version: int) -> None:
        """Make the table what it was at an earlier version, as a new version of its own.

        Raises:
            BadInput: If that version is not kept any more.
        """
        with self._changing():
            type(self).open(self.path, version=version).table.restore()

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
        with self._changing():
            known = self.about.get("indices", {})
            self._note(indices={**known, column: [kind, effort, round(reached, 4)]})
        return reached

    def export(self, path: str | Path, *, where: str | None = None) -> Path:
        """Write rows to one file, whole or not at all, and return its path.

        ``.parquet`` holds every column, ``.npz`` the arrays ids, labels and one a vector column, ``.npy``
        the vectors alone, ``.json`` samples as FiftyOne writes them, without pictures; any other ending is
        ``BadInput``.
        """
        return export(self, Path(path), where)
