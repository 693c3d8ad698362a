"""Checkpointing: where training stands, with networks and optimizers, and what is said when it stops."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vergence.core import BadInput, RunConfig, VergenceError
from vergence.core.errors import out_of_memory
from vergence.engine import process_monitor
from vergence.engine.distributed import rank
from vergence.engine.files import DiskTrouble, first_line, load_checkpoint, save_checkpoint


@dataclass(frozen=True, slots=True)
class StagePlace:
    """Where in a run of several stages one of them is trained.

    Args:
        stage: Its name.
        steps: Of the stages before.
        seconds: That these took.
        config: Of the whole run.
    """

    stage: str
    steps: int
    seconds: float
    config: RunConfig


class Checkpoint:
    """A file of the folder ``checkpoint`` of a run.

    Args:
        out: The run's folder.
        name: "last", which training goes on from, or a stage that has ended.

    Attributes:
        path: The file.
        step: The step that is saved, 0 before the first.
    """

    def __init__(self, out: Path, name: str = "last") -> None:
        self.out, self.path, self.step = out, out / "checkpoint" / f"{name}.pt", 0

    def read(self) -> dict[str, Any]:
        """Return what was written, on the CPU."""
        return load_checkpoint(self.path)

    @contextlib.contextmanager
    def restoring(self) -> Iterator[None]:
        """Raise ``BadInput`` in one line where what was read does not fit this run."""
        try:
            yield
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError, IndexError) as error:
            raise BadInput(f"{self.path} is not of this run: {first_line(error)}.") from error

    def restored(self, step: int, total: int) -> None:
        """Note that training stands at ``step`` of ``total`` again.

        Raises:
            BadInput: If there is no such step.
        """
        if not 0 <= step <= total:
            raise BadInput(f"{self.path} is of step {step}, but this run has {total}.")
        self.step = step
        process_monitor.advise(self.advice())

    def write(self, step: int, state: dict[str, Any]) -> None:
        """Put a checkpoint in place of the last one, in one piece; only the first process writes."""
        if rank() == 0:
            save_checkpoint(self.path, {"step": step, **state})
        self.step = step

    def advice(self) -> str:
        """Return which step is safe and how to go on, once there is one."""
        if not (self.path.exists() and (self.out / "config.yaml").exists()):
            return "Nothing of the run is left." if self.step else ""
        return f"Step {self.step} is saved; go on with: vergence learn --resume {self.out}"

    @contextlib.contextmanager
    def explaining_failures(self, step: Callable[[], int]) -> Iterator[None]:
        """Add to what stops a run, at some ``step``, which one is safe and how to go on."""
        try:
            yield
        except (DiskTrouble, BadInput) as error:
            raise type(error)(f"{error} {self.advice()}".rstrip()) from error
        except Exception as error:
            if not out_of_memory(error):
                raise
            hint = "lower --batch-size, or raise --accumulate."
            raise VergenceError(f"Out of memory after step {step()}: {hint} {self.advice()}") from error
