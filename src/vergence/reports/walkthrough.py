"""The demo: learn, measure, embed and look, on a small scale."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from vergence.core import Clock, Method
from vergence.core.modality import find_modality
from vergence.data import Source
from vergence.data import open as open_source
from vergence.engine import Run
from vergence.evaluate.inputs import stratified
from vergence.evaluate.table import Table, measure
from vergence.methods import method_class
from vergence.reports import report
from vergence.train import learn

SAMPLES = 5_000  # of a larger source; a demo is a first look, not a result
SEEN = 150_000  # samples seen in training, all epochs together, where there is time for so many
SECONDS = 110.0  # of training; what follows takes about half a minute
WARM, TRIED, TRIAL_SECONDS = 2, 24, 3.0  # steps before a trial's clock starts, steps at most, seconds at most


def demo(
    data: str | Path | Source = "digits",
    *,
    out: str | Path = "vergence-demo",
    method: str = "simclr",
    epochs: int | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> Path:
    """Learn from ``data`` for two minutes at most and leave a report to look at.

    Without labels everything but the table of scores is made. With labels, 30 % of each class are
    kept away from training and judge the features.

    Args:
        data: What ``vergence.open`` understands; the embedded digits by default. Of more than 5,000
            samples, 5,000 are drawn.
        out: Folder of the run and its ``report.html``; must not hold a run yet.
        method: Key of a learner in the catalog.
        epochs: None takes as many as two minutes of this machine allow, after a trial of a few steps, and no
            more than see 150,000 samples: another machine may learn for longer or shorter.
        seed: Of the draw, the split and the training.
        quiet: Print nothing.

    Returns:
        The path of the report.
    """
    console = Console(stderr=True, quiet=quiet)
    source = _small(open_source(data), seed, console)
    train, test = source, None
    if source.labels is not None and len(np.unique(source.labels[source.labels >= 0])) > 1:
        first, second = stratified(source.labels, 0.3, seed=seed)
        train, test = source.subset(first), source.subset(second)
    settings = {"seed": seed, **_short_recipe(method, train)}
    console.print(
        f"[bold]1. Learning[/] from {len(train):,} samples of {source.uri} with {method}, labels unseen"
    )
    if epochs is None:
        epochs, seconds = fitting_epochs(method, train, settings)
        duration = f", about {seconds:.0f} s on this machine" if seconds else ""
        console.print(f"{epochs:,} epoch{'' if epochs == 1 else 's'}{duration}; --epochs takes others")
    run = learn(method, train, epochs=epochs, out=out, quiet=quiet, **settings)
    table = _table(run, train, test, seed, console)
    console.print("[bold]3. Embedding and looking[/]: neighbours, clusters, near-duplicates, a map")
    store = run.embed(source, run.path / "embeddings.lance")
    page = report(run, source, store=store, table=table, out=run.path / "report.html")
    console.print(f"[bold green]Done.[/] Open {page.resolve()}")
    return page


def _small(source: Source, seed: int, console: Console) -> Source:
    if len(source) <= SAMPLES:
        return source
    console.print(
        f"A demo takes {SAMPLES:,} of the {len(source):,} samples; for all of them: vergence learn."
    )
    return source.subset(np.sort(np.random.default_rng(seed).permutation(len(source))[:SAMPLES]))


class Enough(Exception):
    """A trial has taken the steps that are timed."""


def fitting_epochs(method: str, train: Source, settings: dict[str, Any]) -> tuple[int, float]:
    """Return the epochs that the time allows, and the seconds they will take, 0 if unknown.

    What is fitted, or trained in stages, is not tried first.
    """
    most = max(1, SEEN // len(train))
    cls = method_class(method)
    if not issubclass(cls, Method) or cls.stages is not Method.stages:
        return most, 0.0
    step, per_epoch = trial(cls, train, settings)
    epochs = min(most, max(1, int(SECONDS / (step * per_epoch))))
    return epochs, epochs * per_epoch * step


def trial(cls: type[Method], train: Source, settings: dict[str, Any]) -> tuple[float, int]:
    """Train for a few steps and forget it; return the seconds of a step and the steps of an epoch."""
    ended: list[float] = []
    per_epoch = 1

    class Trial(cls):  # type: ignore[misc, valid-type]
        def step_end(self, clock: Clock) -> None:
            nonlocal per_epoch
            super().step_end(clock)
            per_epoch = clock.steps_per_epoch
            ended.append(time.monotonic())
            timed = len(ended) - WARM
            if timed > 0 and (timed == TRIED or ended[-1] - ended[WARM - 1] > TRIAL_SECONDS):
                raise Enough

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
        learn(Trial, train, epochs=WARM + TRIED, out=Path(folder) / "run", quiet=True, **settings)
    return (ended[-1] - ended[WARM - 1]) / (len(ended) - WARM), per_epoch


def _short_recipe(method: str, source: Source) -> dict[str, Any]:
    """Return settings for a thousand steps or two on a CPU; the papers' recipes count on far more.

    Small batches give more steps, and at 0.5 a softmax minds less that a batch holds many samples of
    the same class.
    """
    choose = getattr(find_modality(source.modality).load("encoders"), "small", None)
    small = choose(source) if choose else {}
    if method != "simclr":
        return {"size": small.get("size")}
    return {
        "optimizer": "adamw",
        "lr": 2e-3,
        "weight_decay": 1e-4,
        "warmup": 1,
        "batch_size": 64,
        "temperature": 0.5,
        **small,
    }


def _table(run: Run, train: Source, test: Source | None, seed: int, console: Console) -> Table | None:
    if test is None:
        console.print(
            "[bold]2. Measuring[/] needs labels; there are none, so the report shows signs of health only"
        )
        return None
    by = ", by their folders" if test.label_name == "folder" else ""
    console.print(f"[bold]2. Measuring[/] on {len(test):,} samples that were kept aside{by}")
    usual = ("few_shot_knn", "knn", "linear", "retrieval", "clustering")
    protocols = find_modality(train.modality).protocols or usual
    table = measure(run, train, test=test, protocols=protocols, seed=seed, quiet=not sys.stderr.isatty())
    table.save(run.path / "measure.json")
    console.print(table)
    return table
