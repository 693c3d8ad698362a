"""Loggers: what is written down while training, which is metrics, health, progress on the terminal."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vergence.core.errors import BadInput
from vergence.engine.files import disk_errors, first_line, write_text, write_whole
from vergence.engine.trackers import Callback, Tracker, finite


class Table:
    """A csv file that grows by rows keyed by ``step``; after ``rewind`` it goes on without a gap or double.

    Args:
        path: Where it lies; created with the first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: list[str] | None = None

    def rewind(self, step: int) -> None:
        """Forget rows after ``step``, and one that a killed process left half-written."""
        rows = _whole_rows(self.path) if self.path.exists() else []
        if rows and "step" not in rows[0]:
            raise BadInput(f"{self.path} has no column 'step': move it away, and a new one is begun.")
        kept = [row for row in rows if re.fullmatch("[0-9]{1,15}", row["step"]) and int(row["step"]) <= step]
        if not kept:
            with disk_errors(self.path):
                self.path.unlink(missing_ok=True)
            return
        self._rewrite(kept, list(kept[0]))

    def _rewrite(self, rows: list[dict[str, str]], columns: list[str]) -> None:
        self.columns = columns
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(self.path, lambda temporary: temporary.write_text(text.getvalue(), newline=""))

    def add(self, row: dict[str, Any]) -> None:
        fresh = self.columns is None
        if self.columns is not None and any(name not in self.columns for name in row):
            self._rewrite(_whole_rows(self.path), [*self.columns, *(n for n in row if n not in self.columns)])
        self.columns = self.columns or list(row)
        mode = "x" if fresh else "r+"  # never to begin anew, without a header, where somebody deleted it
        with disk_errors(self.path), self.path.open(mode, newline="") as file:
            file.seek(0, os.SEEK_END)
            writer = csv.DictWriter(file, self.columns, restval="", extrasaction="ignore")
            if fresh:
                writer.writeheader()
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def read_csv(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics file, numbers as numbers, empty cells as None; broken rows are left out.

    Raises:
        BadInput: If it is missing, or no table at all.
    """

    def number(text: str) -> Any:
        try:
            value = float(text)
        except ValueError:
            return text or None
        return int(value) if value.is_integer() and "." not in text else value

    return [{name: number(text) for name, text in row.items()} for row in _whole_rows(path)]


def _whole_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="") as file:
            return [row for row in csv.DictReader(file) if None not in row and None not in row.values()]
    except (OSError, ValueError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read as a table: {first_line(error)}.") from error


class Events:
    """TensorBoard's event file, written through at every row, so that a killed run has lost nothing of it.

    Args:
        folder: Where it goes, beside the files of earlier starts.
        start: First step of this start; what earlier ones wrote from there on is void.
    """

    def __init__(self, folder: Path, start: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event = Event
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            before = [int(path.name.split(".")[3]) for path in folder.glob("events.out.tfevents.*.vergence")]
            first = max(
                [int(time.time()), *(second + 1 for second in before)]
            )  # files are read in this order
            self.path = folder / f"events.out.tfevents.{first:010d}.vergence"
            self._file = self.path.open("xb")
            self._records = RecordWriter(self._file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self._write(Event(wall_time=time.time(), step=start, session_log=SessionLog(status=SessionLog.START)))

    def add(self, part: str, step: int, values: Mapping[str, float]) -> None:
        """Write one point of each curve ``part/name``."""
        event = self._event(wall_time=time.time(), step=step)
        for name, value in values.items():
            event.summary.value.add(tag=f"{part}/{name}", simple_value=value)
        self._write(event)

    def _write(self, event: Any) -> None:
        with disk_errors(self.path):
            self._records.write(event.SerializeToString())
            self._file.flush()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # nothing waits to be written but what failed before
            self._file.close()


def write_missing_tables(out: Path) -> None:
    """Leave tables without rows in a run in which nothing was trained or skipped."""
    headers = {"metrics": "step,epoch,loss", "health": "step,epoch,note", "skipped": "name,reason"}
    for name, header in headers.items():
        if not (out / f"{name}.csv").exists():
            write_text(out / f"{name}.csv", f"{header}\n")


class Logger:
    """Writes ``metrics.csv``, ``health.csv`` and TensorBoard events, and shows progress.

    Args:
        out: The run's folder.
        total: Steps of the whole run.
        epochs: For display.
        start: Step from which a resumed run goes on; later rows are forgotten.
        quiet: Show nothing, as processes other than the first do.
        stage: Name of the stage that is trained, in a column of its own; "" for a run of one.
        tracker: That the rows also go to.
        callbacks: The same, functions of the user's own.
    """

    def __init__(
        self,
        out: Path,
        *,
        total: int,
        epochs: int,
        start: int = 0,
        quiet: bool = False,
        stage: str = "",
        tracker: Tracker | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.metrics, self.health = Table(out / "metrics.csv"), Table(out / "health.csv")
        for table in (self.metrics, self.health):
            table.rewind(start or -1)  # step 0 is looked at again
        self.events = Events(out / "tensorboard", start + 1 if start else 0)
        self.tracker, self.callbacks = tracker, tuple(callbacks)
        self.total, self.epochs, self.quiet = total, epochs, quiet
        self.stage = {"stage": stage} if stage else {}
        self.console = Console(stderr=True, quiet=quiet)
        self.live = not quiet and sys.stderr.isatty()
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.fields[loss]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.live,
        )
        self.task = self.progress.add_task(
            "", total=total, completed=start, epoch=f"0/{epochs}", loss="", rate=""
        )
        self.progress.start()
        self._printed = time.monotonic()

    def row(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """Write one row of means since the last."""
        self.metrics.add({"step": step, "epoch": epoch, **self.stage, **values})
        self._tell("train", step, values)
        loss, rate = f"loss {values['loss']:.4f}", f"{values['samples_per_second']:,.0f} samples/s"
        self.progress.update(self.task, completed=step, epoch=f"{epoch}/{self.epochs}", loss=loss, rate=rate)
        if not self.live and (time.monotonic() - self._printed > 20 or step == self.total):
            self._printed = time.monotonic()
            self.say(f"step {step}/{self.total}, epoch {epoch}/{self.epochs}, {loss}, {rate}")

    def check(self, step: int, epoch: int, values: dict[str, float], note: str) -> None:
        """Write one look at the encoder's health; ``note`` is shown at once when there is one."""
        self.health.add({"step": step, "epoch": epoch, **self.stage, **values, "note": note})
        self._tell("health", step, values)
        if note:
            self.say(f"[bold yellow]step {step}: {note}[/]")

    def _tell(self, part: str, step: int, values: Mapping[str, float]) -> None:
        """Pass a row on; a tracker that fails is left behind, for the run is worth more than its curves."""
        numbers = finite(values)
        self.events.add(part, step, numbers)
        if self.tracker is not None:
            try:
                self.tracker.add(part, step, numbers)
            except Exception as error:  # noqa: BLE001 - of a network, a server, a library
                name = type(self.tracker).__name__
                self.say(f"step {step}: {name} failed ({first_line(error)}); the run goes on without.")
                self.tracker = None
        for callback in self.callbacks:
            callback(part, step, numbers)

    def say(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self.progress.stop()
        self.events.close()
        if self.tracker is not None:
            with contextlib.suppress(Exception):  # the run has ended, and its tables are whole
                self.tracker.close()


class NullLogger:
    """The logger of processes other than the first."""

    def row(self, step: int, epoch: int, values: dict[str, float]) -> None: ...

    def check(self, step: int, epoch: int, values: dict[str, float], note: str) -> None: ...

    def say(self, text: str) -> None: ...

    def close(self) -> None: ...
