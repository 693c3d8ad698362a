"""An event log in memory, or mapped from disk: contiguous arrays, sorted by entity and time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vergence.core.errors import BadInput
from vergence.data.arrays import read_npy
from vergence.data.columns import reason
from vergence.data.events.batch import Fields
from vergence.data.events.schema import EventSchema

ABOUT = "events.json"  # in the folder of a saved log
_ARRAYS = ("categorical", "numeric", "gap", "time", "offsets")


class Names(Sequence[str]):
    """Names kept in Arrow: a million of them cost a few megabytes."""

    def __init__(self, values: pa.Array) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> Names: ...
    def __getitem__(self, i: int | slice) -> str | Names:
        return Names(self.values[i]) if isinstance(i, slice) else self.values[i].as_py()

    def take(self, rows: np.ndarray) -> Names:
        return Names(self.values.take(pa.array(rows)))


@dataclass(eq=False)
class EventLog:
    """Every entity's events, sorted by time; events of the same time keep the order of the file.

    Args:
        schema: Complete.
        fields: Names and words of the fields.
        ids: ``n`` entities' names, in the order of their ids.
        offsets: ``(n + 1,)`` int64, where each entity's events begin.
        time: ``(N,)`` float64, see ``EventBatch``.
        gap: ``(N,)`` float32.
        categorical: ``(N, C)`` int32.
        numeric: ``(N, M)`` float32, less ``fields.offsets``.
        labels: ``(n,)`` int64, -1 where unknown, or None.
        classes: Names of the labels, or None.
        notes: What a reader of the log should know: columns and rows left out.
    """

    schema: EventSchema
    fields: Fields
    ids: Names
    offsets: np.ndarray
    time: np.ndarray
    gap: np.ndarray
    categorical: np.ndarray
    numeric: np.ndarray
    labels: np.ndarray | None = None
    classes: list[str] | None = None
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def words(self) -> str:
        """Say in plain words how the log was read, and what is worth knowing of it."""
        return "; ".join([self.reading, *self.notes]) + "."

    @property
    def reading(self) -> str:
        """What each column was read as, in words."""
        words = [
            f"{name} ({len(w):,} values)"
            for name, w in zip(self.fields.categorical, self.fields.words, strict=True)
        ]
        parts = [
            f"{len(self.time):,} events of {len(self):,} entities",
            f"id {self.schema.id}, time {self.schema.time}",
            "categorical " + (", ".join(words) or "none"),
            "numeric " + (", ".join(self.fields.numeric) or "none"),
            *([f"label {self.schema.label}"] if self.labels is not None else []),
        ]
        return "; ".join(parts)

    def save(self, folder: str | Path) -> Path:
        """Write the log to a folder that ``open`` maps into memory instead of reading it.

        Raises:
            BadInput: If something is there already.
        """
        folder = Path(folder)
        if folder.exists():
            raise BadInput(f"{folder} exists already; choose another folder for the event log.")
        folder.mkdir(parents=True)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        if self.labels is not None:
            np.save(folder / "labels.npy", self.labels)
        pq.write_table(pa.table({"id": self.ids.values}), folder / "ids.parquet")
        about = {
            "schema": dataclasses.asdict(self.schema),
            "words": self.fields.words,
            "offsets": self.fields.offsets,
            "classes": self.classes,
            "notes": self.notes,
        }
        (folder / ABOUT).write_text(json.dumps(about))
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> EventLog:
        """Map what ``save`` wrote; events are read from disk when they are needed.

        The files must stay as they are while the log is in use: a system ends a process that reads
        from a mapped file which has been cut short.

        Raises:
            BadInput: If it is not such a folder, or a file of it is broken.
        """
        folder = Path(folder)
        try:
            about = json.loads((folder / ABOUT).read_text())
            said = {k: tuple(v) if isinstance(v, list) else v for k, v in about["schema"].items()}
            schema = EventSchema(**said)  # type: ignore[arg-type]
            arrays = {name: read_npy(folder / f"{name}.npy", mmap_mode="c") for name in _ARRAYS}
            labels = read_npy(folder / "labels.npy") if (folder / "labels.npy").exists() else None
            if not (folder / "ids.parquet").is_file():
                raise ValueError("ids.parquet is no regular file")
            ids = pq.read_table(folder / "ids.parquet")["id"].combine_chunks()
            words = tuple(tuple(w) for w in about["words"])
            classes, notes = about["classes"], about["notes"]
            fields = Fields(
                schema.categorical or (), schema.numeric or (), words, tuple(about.get("offsets", ()))
            )
            _check(arrays, fields, len(ids))
            if labels is not None and labels.shape != (len(ids),):
                raise ValueError(f"labels.npy holds {labels.shape}, not one a history")
        except Exception as error:  # noqa: BLE001 - numpy lets out what its tokenizer raises
            raise BadInput(
                f"{folder} is not an event log that EventLog.save wrote: {reason(error)}"
            ) from None
        arrays["offsets"] = np.array(arrays["offsets"])
        return cls(
            schema,
            fields,
            Names(ids),
            labels=labels,
            classes=classes,
            notes=notes,
            **arrays,
        )


def _check(arrays: dict[str, np.ndarray], fields: Fields, entities: int) -> None:
    """Raise ``ValueError`` if the arrays do not belong together."""
    offsets, n = arrays["offsets"], len(arrays["time"])
    widths = {"categorical": len(fields.categorical), "numeric": len(fields.numeric)}
    kinds = {"categorical": "i4", "numeric": "f4", "gap": "f4", "time": "f8", "offsets": "i8"}
    for name, array in arrays.items():
        shape = (n, widths[name]) if name in widths else (entities + 1,) if name == "offsets" else (n,)
        if array.shape != shape or array.dtype != np.dtype(kinds[name]):
            raise ValueError(f"{name}.npy holds {array.dtype} {array.shape}, not {kinds[name]} {shape}")
    if offsets[0] != 0 or offsets[-1] != n or (np.diff(offsets) < 1).any():
        raise ValueError("offsets.npy does not cut the events into histories")
    most = arrays["categorical"].max(0, initial=0)
    if len(fields.words) != len(most) or any(
        len(words) < code for words, code in zip(fields.words, most.tolist(), strict=True)
    ):
        raise ValueError("a category has no word")
    if arrays["categorical"].size and arrays["categorical"].min() < 0:
        raise ValueError("a category is below 0")
