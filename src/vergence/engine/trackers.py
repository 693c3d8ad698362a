"""Experiment trackers: what a run writes down also goes to Weights & Biases, MLflow, or a function."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from vergence.core import BadInput, RunConfig, need, unknown
from vergence.engine.files import first_line, write_json

Callback = Callable[
    [str, int, Mapping[str, float]], None
]  # (part, step, values): ("train", 50, {"loss": 2.3})
PROJECT = "vergence"  # of Weights & Biases, and the experiment of MLflow
_IDS = "trackers.json"  # in the run's folder: what its trackers call it, so that a resumed run goes on there


class Tracker(Protocol):
    """Takes the rows of a run's tables as they are written."""

    def add(self, part: str, step: int, values: Mapping[str, float]) -> None:
        """Take one row.

        Args:
            part: Table: "train" (losses, rates) or "health" (of the encoder).
            step: Optimizer steps taken.
            values: Finite numbers by name.
        """

    def close(self) -> None:
        """Send what waits, at the end of a stage or run."""


class WeightsAndBiases:
    """A run of Weights & Biases in the project "vergence", or in that which WANDB_PROJECT says."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        wandb = need("wandb", extra="track")
        known = _ids(folder).get("wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=folder.name, dir=str(folder), config=config.to_dict(), id=known, resume="allow",
        )  # fmt: skip
        _keep(folder, wandb=self._run.id)

    def add(self, part: str, step: int, values: Mapping[str, float]) -> None:
        self._run.log({f"{part}/{name}": value for name, value in values.items()}, step=step)

    def close(self) -> None:
        self._run.finish()


class MLflow:
    """A run of MLflow in the experiment "vergence", or in that which MLFLOW_EXPERIMENT_NAME says."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self._mlflow = need("mlflow", extra="track")
        self._mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
        known = _ids(folder).get("mlflow")
        run = self._mlflow.start_run(run_id=known, run_name=folder.name, nested=True)
        if known is None:
            self._mlflow.log_params({name: str(value)[:500] for name, value in config.to_dict().items()})
        _keep(folder, mlflow=run.info.run_id)

    def add(self, part: str, step: int, values: Mapping[str, float]) -> None:
        self._mlflow.log_metrics({f"{part}/{name}": value for name, value in values.items()}, step=step)

    def close(self) -> None:
        self._mlflow.end_run()


_TRACKERS: dict[str, tuple[str, Callable[[Path, RunConfig], Tracker]]] = {
    "wandb": ("wandb", WeightsAndBiases),
    "mlflow": ("mlflow", MLflow),
}
NAMES = (*_TRACKERS, "tensorboard")


def check_tracker(name: str | None) -> None:
    """Say at once that a tracker is not known or not installed.

    Raises:
        BadInput: If there is none of that name.
        MissingExtra: If its package is missing.
    """
    if name is not None and name not in NAMES:
        raise unknown("tracker", name, NAMES)
    if name in _TRACKERS:
        need(_TRACKERS[name][0], extra="track")


def open_tracker(name: str | None, folder: Path, config: RunConfig) -> Tracker | None:
    """Return the tracker of a run, which goes on with what it had; TensorBoard's events are the logger's own.

    Raises:
        BadInput: If it cannot begin, as without its account.
        MissingExtra: If its package is missing.
    """
    check_tracker(name)
    if name not in _TRACKERS:
        return None
    try:
        return _TRACKERS[name][1](folder, config)
    except Exception as error:
        raise BadInput(f"{name} cannot begin to log: {first_line(error)}.") from error


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers among the values that trackers can draw."""
    return {k: float(v) for k, v in values.items() if isinstance(v, int | float) and math.isfinite(v)}


def _ids(folder: Path) -> dict[str, str]:
    try:
        known = json.loads((folder / _IDS).read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _keep(folder: Path, **ids: str) -> None:
    write_json(folder / _IDS, {**_ids(folder), **ids})
