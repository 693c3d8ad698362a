"""Selections of a store's rows: sent as a mask, tagged into a column, exported as ids, and taken back."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from vergence.core.errors import BadInput, unknown
from vergence.core.lists import cell, write_lines
from vergence.store.table import Store

LONGEST = 60  # characters of a tag
_UNDONE = 20  # tags that can be taken back
_KINDS = {
    "csv": "text/csv",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
    "txt": "text/plain",
}


def read_mask(text: str, rows: int) -> np.ndarray:
    """Return the rows ``(m,)`` int64, ascending, of a mask: the count of all, ":", and their bits in base64.

    Raises:
        BadInput: If it is no base64, or not of as many bits as there are rows.
    """
    of, _, coded = text.partition(":")
    if of != str(rows):
        raise BadInput(f"A selection is a mask of {rows:,} rows: load the page again.")
    try:
        raw = base64.b64decode(coded.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise BadInput("A selection is a mask in base64.") from None
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
    if len(raw) != -(-rows // 8) or bits[rows:].any():
        raise BadInput(f"A selection is a mask of {rows:,} rows: load the page again.")
    return np.flatnonzero(bits[:rows])


def mask_text(rows: np.ndarray, count: int) -> str:
    """Return rows of ``count`` as the text that ``read_mask`` reads."""
    return f"{count}:{base64.b64encode(write_mask(rows, count).tobytes()).decode()}"


def write_mask(rows: np.ndarray, count: int) -> np.ndarray:
    """Return a mask of ``count`` rows as bytes, a bit a row, the lowest first."""
    bits = np.zeros(count, bool)
    bits[rows] = True
    return np.packbits(bits, bitorder="little")


def export(store: Store, rows: np.ndarray, kind: str) -> bytes:
    """Return the ids of rows as a file.

    Args:
        store: Opened.
        rows: ``(m,)`` of it.
        kind: ``csv`` (a spreadsheet reads no id as a formula), ``json``, ``parquet``, or ``txt``, one a line,
            as ``vergence delete --ids @FILE`` reads it.

    Raises:
        BadInput: If the kind is another.
    """
    if kind not in _KINDS:
        raise unknown("kind of file", kind, _KINDS)
    ids = store.read(["id"])["id"].take(pa.array(rows))
    file: Any = io.BytesIO() if kind == "parquet" else io.StringIO()
    if kind == "parquet":
        parquet.write_table(pa.table({"id": ids}), file)
        return file.getvalue()
    names = ids.to_pylist()
    if kind == "csv":
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id"])
        writer.writerows([cell(name)] for name in names)
    elif kind == "json":
        json.dump(names, file)
    else:
        file.write(write_lines(names))
    return file.getvalue().encode("utf-8", "backslashreplace")


def media_type(kind: str) -> str:
    return _KINDS[kind]


class Tags:
    """Words that people give to rows, in columns of the store, and that they can take back.

    Args:
        store: Opened.
        check: Raises ``BadInput`` if somebody else has changed the store.
    """

    def __init__(self, store: Store, check: Callable[[], None]) -> None:
        self.store, self.check = store, check
        self._done: list[tuple[str, pa.Array | None, pa.Array]] = []  # column, before, after

    def put(self, rows: np.ndarray, column: str, tag: str) -> str:
        """Give rows a tag in a column of text, new or there already; an empty tag takes theirs away.

        Returns:
            What was done, for people to read.

        Raises:
            BadInput: If no row is given, the tag or the name cannot be used, the column holds something else,
                or the store was changed by somebody else.
        """
        tag = " ".join(tag.split())
        if not len(rows):
            raise BadInput("No sample is selected.")
        if len(tag) > LONGEST or not (tag.isprintable() or not tag):
            raise BadInput(f"A tag has up to {LONGEST} characters that can be printed.")
        self.check()
        before = self._words(column)
        if before is None and not tag:
            raise BadInput(f"There is no column {column} to take tags from.")
        after = np.full(len(self.store), None, object)
        if before is not None:
            after[:] = before.to_numpy(zero_copy_only=False)
        after[rows] = tag or None
        now = pa.array(after.tolist(), pa.string())
        self.store.set_column(column, now)
        self._done = [*self._done, (column, before, now)][-_UNDONE:]
        what = f"have {tag} in the column {column}" if tag else f"have no tag in the column {column} now"
        return f"{len(rows):,} samples {what}."

    def undo(self) -> str:
        """Take the last tag back, and return what was done.

        Raises:
            BadInput: If there is none, or its column has been changed since.
        """
        if not self._done:
            raise BadInput("There is no tag to take back.")
        column, before, after = self._done[-1]
        self.check()
        if (now := self._words(column)) is None or not now.equals(after):
            raise BadInput(f"The column {column} has been changed since: the tag stays.")
        if before is None:
            self.store.drop_column(column)
        else:
            self.store.set_column(column, before)
        del self._done[-1]
        return f"The column {column} is as it was before."

    @property
    def undoable(self) -> int:
        """How many tags can be taken back."""
        return len(self._done)

    def _words(self, column: str) -> pa.Array | None:
        """Return a column of text as it is, None where there is none."""
        schema = self.store.table.schema
        if column not in schema.names:
            return None
        kind = schema.field(column).type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if column in ("id", "uri", "class") or not text:
            raise BadInput(f"The column {column} holds no tags (it is {kind}): choose another name.")
        values = self.store.read([column])[column].combine_chunks()
        return values.cast(pa.string())
