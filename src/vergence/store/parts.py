"""A store that many processes write in parts: a part is done or not, and the table appears whole at the end.

While it is made, the folder of the table holds

- ``data/``: the rows of the parts, as Lance fragments that no version of the table names yet,
- ``_parts/job.json``: what is being made,
- ``_parts/JOB/17.json``: that part 17 is done: which fragment has its rows, and what could not be read.

A part is done as soon as its record is there, whoever wrote it and however often; whatever has no record is
as if it had not been. One commit at the end makes the fragments of the records the table.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import lance
from lance.fragment import FragmentMetadata, write_fragments

from vergence.core.errors import BadInput, VergenceError
from vergence.data.source import Source
from vergence.store.lance_io import PARTS, batch_reader, is_begun, is_table, lance_errors, write_errors
from vergence.store.notes import note, write_skipped
from vergence.store.placing import recover
from vergence.store.rows import Rows, table_schema
from vergence.store.table import Store

_MOST = 10_000  # parts; each becomes a file of the table
_USUAL = 8192  # rows a part of a large source, while they are not too many
_FEW = 256  # parts of a small one


def part_rows(samples: int, batch: int) -> int:
    """Return how many rows a part has: whole batches, so that each is computed as in one piece.

    >>> part_rows(1_797, 512), part_rows(1_000_000, 512), part_rows(1_000_000_000, 512)
    (512, 4096, 100352)
    """
    wanted = max(min(-(-samples // _FEW), _USUAL), -(-samples // _MOST))
    return -(-wanted // batch) * batch


@dataclass(frozen=True)
class Part:
    """The record of a part that is done.

    Args:
        number: Which, counted from 0.
        rows: How many it has; 0 where none of its samples could be read.
        width: D of its vectors.
        fragment: The Lance fragment that holds them, or None.
        skipped: Why samples could not be read, by name.
    """

    number: int
    rows: int
    width: int
    fragment: dict[str, Any] | None
    skipped: dict[str, str]


class Parts:
    """The table at ``path`` while it is being made; see ``begin``.

    Args:
        path: Of the table.
        job: Name of the attempt.
        count: Parts that make up the whole.
    """

    def __init__(self, path: Path, job: str, count: int) -> None:
        self.path, self.job, self.count = path, job, count
        self.folder = path / PARTS / job

    @classmethod
    def begin(cls, path: Path, what: Mapping[str, Any], count: int, *, overwrite: bool = False) -> Parts:
        """Start to make a table, or go on where the same was being made.

        Args:
            path: Where the table is to be.
            what: Decides what its rows will be; anything JSON can hold.
            count: Parts that make up the whole.
            overwrite: Replace a table that is there, or parts of another one.

        Raises:
            BadInput: If something else is at ``path``.
            VergenceError: If the disk refuses.
        """
        recover(path)
        job, exists = _job(path), is_table(path)
        if job and job["what"] == dict(what) and (overwrite or not exists or _job_in(path) == job["id"]):
            return cls(path, job["id"], count)
        if exists and not overwrite:
            raise BadInput(
                f"{path} exists already: choose another path, or pass overwrite=True to replace it."
            )
        if job and not overwrite:
            raise BadInput(
                f"{path} holds the begun embeddings of {job['what'].get('source')} by "
                f"{job['what'].get('model')}: run that again to go on, or overwrite them."
            )
        if not (exists or is_begun(path) or _empty(path)):
            raise BadInput(f"{path} exists already: choose another path.")
        job = {"id": uuid.uuid4().hex, "what": dict(what)}
        with write_errors(path):
            shutil.rmtree(path / PARTS, ignore_errors=True)
            _write(path / PARTS / "job.json", json.dumps(job))
        return cls(path, job["id"], count)

    @property
    def committed(self) -> bool:
        """Whether the table is there and only the tidying is left to do."""
        return is_table(self.path) and _job_in(self.path) == self.job

    def done(self) -> dict[int, Part]:
        """Return the records of the parts that are done, by number."""
        done = {}
        for file in self.folder.glob("*.json"):
            try:
                part = Part(**json.loads(file.read_text()))
            except (OSError, ValueError, TypeError):  # such as a file emptied by a power cut
                continue
            done[part.number] = part
        return done

    def find(self, number: int) -> Part | None:
        """Return the record of a part, or None where it is not done."""
        try:
            return Part(**json.loads((self.folder / f"{number}.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def attempt(self, number: int) -> int:
        """Note that work on a part begins, and return how often it has begun."""
        with write_errors(self.path):
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / f"{number}.tries").open("a") as file:
                file.write(".")
                return file.tell()

    def forget_attempts(self) -> None:
        """Let every part begin as if for the first time."""
        for file in self.folder.glob("*.tries"):
            file.unlink(missing_ok=True)

    def write(self, number: int, rows: Rows | None, skipped: Mapping[str, str]) -> Part:
        """Write a part; it is done when this returns.

        Args:
            number: Which.
            rows: None where none of its samples could be read.
            skipped: Why samples could not be read, by name.

        Raises:
            VergenceError: If the disk refuses.
        """
        part = Part(number, 0, 0, None, dict(skipped))
        with write_errors(self.path):
            if rows is not None:
                schema = rows.schema
                with batch_reader(rows.batches(schema), schema) as reader:
                    (fragment,) = write_fragments(
                        reader, str(self.path), schema=schema, mode="overwrite", enable_stable_row_ids=True
                    )
                width = rows.vectors.shape[1]
                part = Part(number, len(rows.ids), width, fragment.to_json(), dict(skipped))
            _write(self.folder / f"{number}.json", json.dumps(asdict(part)))
        return part

    def commit(self, source: Source, *, model: str, encoder: Mapping[str, Any] | None = None) -> None:
        """Make the parts the table at ``path``, in one step.

        Args:
            source: Where the samples came from; its ``skipped`` is what the records say.
            model: What made the vectors.
            encoder: Its identity.

        Raises:
            VergenceError: If a part is missing, or the disk refuses.
        """
        done = self.done()
        if missing := set(range(self.count)) - done.keys():
            raise VergenceError(
                f"{len(missing)} of {self.count} parts of {self.path} are gone: something else wrote or "
                "removed them. Run this again."
            )
        parts = [done[number] for number in range(self.count) if done[number].rows]
        label_name = source.label_name
        about = note(source.uri, source.classes, model, encoder, label_name=label_name, job=self.job)
        schema = table_schema(parts[0].width).with_metadata(about)
        fragments = [FragmentMetadata.from_json(json.dumps(part.fragment)) for part in parts]
        with write_errors(self.path):
            write_skipped(self.path, source.skipped)
            lance.LanceDataset.commit(
                str(self.path), lance.LanceOperation.Overwrite(schema, fragments), enable_stable_row_ids=True
            )

    def tidy(self) -> None:
        """Delete what is no part of the finished table: records, half-written files, what was replaced."""
        with write_errors(self.path):
            lance.dataset(str(self.path)).cleanup_old_versions(timedelta(0), delete_unverified=True)
        for records in (self.path / PARTS).iterdir():
            if records.is_dir():
                shutil.rmtree(records, ignore_errors=True)
        shutil.rmtree(self.path / PARTS, ignore_errors=True)  # last, so that all before it can be repeated


def _empty(path: Path) -> bool:
    """Whether nothing is there, or a folder that holds nothing."""
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def _job(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads((path / PARTS / "job.json").read_text())
    except (OSError, ValueError):
        return None


def _job_in(path: Path) -> str | None:
    """Return the job that made the table at ``path``."""
    with lance_errors(path):
        return Store.open(path).about.get("job")


def _write(path: Path, text: str) -> None:
    """Put a whole file in place; of several writers at once the last one wins."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
