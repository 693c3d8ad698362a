"""Event histories as a ``Source``: one sample an entity, batches gathered without a loop over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from vergence.data.events.batch import EventBatch, stretches
from vergence.data.events.log import ABOUT, EventLog
from vergence.data.events.read import read_log
from vergence.data.events.schema import EventSchema
from vergence.data.paths import table_files
from vergence.data.source import ArraySource, Skipped


def open_events(uri: str, paths: Sequence[Path] | None = None, *, limit: float = 0.5) -> EventSource:
    """Open ``events:PATH?id=…&time=…`` or a folder that ``EventLog.save`` wrote.

    Args:
        uri: With or without the scheme.
        paths: The files it stands for; None takes the path in it.
        limit: See ``read_log``.

    Raises:
        BadInput: As ``read_log`` does.
    """
    path, schema = EventSchema.from_uri(uri)
    where = Path(path).expanduser()
    if (where / ABOUT).is_file():
        return EventSource(EventLog.load(where), f"events:{path}", limit=limit)
    paths = [file for one in paths or [where] for file in table_files(one)]
    return EventSource(read_log(paths or [where], schema, limit=limit), schema.uri(path), limit=limit)


class EventSource(ArraySource):
    """The entities of an event log.

    ``view_options`` hold the shortest slice that suits the lengths of the histories: 25 events, or a
    quarter of the median history where that is shorter.

    Args:
        log: Their events.
        uri: What was opened.
        limit: Kept for ``skipped``; every entity of a log can be read.
    """

    modality = "events"

    def __init__(self, log: EventLog, uri: str, *, limit: float = 0.5) -> None:
        self.log, self.uri, self.classes = log, uri, log.classes
        self.notes, self.reading = log.notes, log.reading
        self.skipped = Skipped(limit)
        middle = float(np.median(np.diff(log.offsets)))
        self.view_options: dict[str, Any] = {"shortest": int(min(25, max(1, middle // 4)))}
        self._tensors = {
            name: torch.from_numpy(getattr(log, name)) for name in ("categorical", "numeric", "gap", "time")
        }
        self._offsets = torch.from_numpy(log.offsets)
        self.choose_rows(np.arange(len(log)))

    def choose_rows(self, rows: np.ndarray) -> None:
        self.rows = rows
        whole = len(rows) == len(self.log)
        self.names = self.log.ids if whole else self.log.ids.take(rows)
        self.labels = None if self.log.labels is None else self.log.labels[rows]

    def __repr__(self) -> str:
        kinds = 0 if self.labels is None else len(np.unique(self.labels[self.labels >= 0]))
        return (
            f"<{len(self):,} event histories, {kinds or 'no'} classes, from {self.uri}: {self.log.words()}>"
        )

    def sample(self, i: int) -> pa.Table:
        """Return one entity's events as a table: time, then the fields, words as words."""
        log, row = self.log, int(self.rows[i])
        part = slice(int(log.offsets[row]), int(log.offsets[row + 1]))
        columns: dict[str, Any] = {str(log.schema.time): np.asarray(log.time[part])}
        for k, (name, words) in enumerate(zip(log.fields.categorical, log.fields.words, strict=True)):
            codes = log.categorical[part, k]
            columns[name] = pa.array([words[c - 1] if c else None for c in codes.tolist()], pa.string())
        for k, name in enumerate(log.fields.numeric):
            values = np.asarray(log.numeric[part, k])
            if log.fields.offsets:
                values = values + np.float64(log.fields.offsets[k])
            columns[name] = pa.array(values, from_pandas=True)
        return pa.table(columns)

    def content(self, i: int) -> bytes:
        first, end = self.log.offsets[self.rows[i] : self.rows[i] + 2].tolist()
        columns = (self.log.time, self.log.numeric, self.log.categorical)
        return b"".join(column[first:end].tobytes() for column in columns)

    def batch(self, index: np.ndarray) -> EventBatch:
        """Return the whole histories of these entities ``(B,)``, in this order."""
        entities = torch.from_numpy(self.rows[index])
        starts = self._offsets[entities]
        rows, offsets = stretches(starts, self._offsets[entities + 1] - starts)
        return EventBatch(
            **{name: values.index_select(0, rows) for name, values in self._tensors.items()},
            offsets=offsets,
            index=torch.from_numpy(np.asarray(index, np.int64)),
            label=torch.from_numpy(self.labels_of(index)),
            fields=self.log.fields,
        )
