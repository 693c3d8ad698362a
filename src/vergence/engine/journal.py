"""What is written down while training: metrics, health, progress on the terminal."""

from __future__ import annotations

import csv
import math
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vergence.engine.files import told


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
        if not self.path.exists():
            return
        rows = read_csv(self.path)
        kept = [row for row in rows if row["step"] is not None and row["step"] <= step]
        self.columns = list(rows[0]) if rows else None
        if self.columns is None:
            self.path.unlink()
            return
        with told(self.path), self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in kept)

    def add(self, row: dict[str, Any]) -> None:
        fresh = self.columns is None
        self.columns = self.columns or list(row)
        with told(self.path), self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.columns, restval="", extrasaction="ignore")
            if fresh:
                writer.writeheader()
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def read_csv(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics file, numbers as numbers, empty and broken cells as None."""

    def number(text: str | None) -> Any:
        if text in (None, ""):
            return None
        try:
            value = float(text)
        except ValueError:
            return text
        return int(value) if value.is_integer() and "." not in text else value

    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        return [{k: number(v) for k, v in row.items() if k} for row in reader if None not in row.values()]


class Journal:
    """Writes ``metrics.csv``, ``health.csv`` and TensorBoard events, and shows progress.

    Args:
        out: The run's folder.
        total: Steps of the whole run.
        epochs: For display.
        start: Step from which a resumed run goes on; later rows are forgotten.
        quiet: Show nothing, as processes other than the first do.
    """

    def __init__(self, out: Path, *, total: int, epochs: int, start: int = 0, quiet: bool = False) -> None:
        self.metrics, self.health = Table(out / "metrics.csv"), Table(out / "health.csv")
        for table in (self.metrics, self.health):
            table.rewind(start)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch.utils.tensorboard import SummaryWriter
        with told(out):
            self.events = SummaryWriter(str(out / "tensorboard"), purge_step=start + 1 if start else None)
        self.total, self.epochs, self.quiet = total, epochs, quiet
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
        self._said = time.monotonic()

    def row(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """Write one row of means since the last."""
        self.metrics.add({"step": step, "epoch": epoch, **values})
        for name, value in values.items():
            self.events.add_scalar(f"train/{name}", value, step)
        loss, rate = f"loss {values['loss']:.4f}", f"{values['samples_per_second']:,.0f} samples/s"
        self.progress.update(self.task, completed=step, epoch=f"{epoch}/{self.epochs}", loss=loss, rate=rate)
        if not self.live and (time.monotonic() - self._said > 20 or step == self.total):
            self._said = time.monotonic()
            self.say(f"step {step}/{self.total}, epoch {epoch}/{self.epochs}, {loss}, {rate}")

    def check(self, step: int, epoch: int, values: dict[str, float], note: str) -> None:
        """Write one look at the encoder's health; ``note`` is shown at once when there is one."""
        self.health.add({"step": step, "epoch": epoch, **values, "note": note})
        for name, value in values.items():
            if math.isfinite(value):
                self.events.add_scalar(f"health/{name}", value, step)
        if note:
            self.say(f"[bold yellow]step {step}: {note}[/]")

    def say(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self.progress.stop()
        self.events.close()


class Silence:
    """The journal of processes other than the first."""

    def row(self, step: int, epoch: int, values: dict[str, float]) -> None: ...

    def check(self, step: int, epoch: int, values: dict[str, float], note: str) -> None: ...

    def say(self, text: str) -> None: ...

    def close(self) -> None: ...
