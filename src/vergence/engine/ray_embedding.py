"""Embed with Ray: a source is cut into parts, Ray's workers write them, one commit makes them a table.

Ray Data schedules the parts, starts a killed worker anew and gives its part to another. What is done is known
from the disk alone (``data.parts``), so that anything may be killed at any time: run the same again to go on.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import track
from torch import nn

from vergence.core.errors import BadInput, VergenceError, need
from vergence.data.opening import open as open_source
from vergence.data.source import RowSource, Skipped, Source
from vergence.engine.embedding import embed
from vergence.engine.identity import identity
from vergence.store.parts import Part, Parts, part_rows
from vergence.store.rows import Rows
from vergence.store.table import Store

if TYPE_CHECKING:
    import ray

_SHELF = 256 * 2**20  # bytes of Ray's object store beside the encoder's, where this starts Ray
_ATTEMPTS = 5  # workers that may be lost with one and the same part in their hands


def embed_with_ray(
    encoder: nn.Module,
    source: Source,
    out: str | Path,
    *,
    model: str = "",
    overwrite: bool = False,
    rows: int | None = None,
) -> Store:
    """Write the embeddings of ``source`` to a table at ``out`` with the workers of Ray; see ``Run.embed``.

    Where ``RAY_ADDRESS`` is set, or this process has called ``ray.init``, that cluster works; else Ray
    is started on this machine for the while. Every worker takes one GPU, or one core where there are none.

    Args:
        encoder: As of ``embed``.
        source: One that ``vergence.open`` can open again by its ``uri``, on every machine of the cluster.
        out: Where the table goes; on a disk that every machine sees.
        model: What made the vectors, such as the path of a run.
        overwrite: Replace a table that is there.
        rows: Samples a part; None takes what suits the source.

    Raises:
        BadInput: If a worker cannot open the source, too many samples cannot be read, or there is
            something else at ``out``.
        MissingExtra: If Ray is not installed.
        VergenceError: If a part kills every worker that it is given to.
    """
    need("ray.data", extra="scale")
    path = Path(out).absolute()
    if len(set(source.names)) < len(source.names):
        raise BadInput(f"A store needs a different id for every row; some of {source.uri} share theirs.")
    rows = rows or part_rows(len(source), source.reading_batch)
    count = -(-len(source) // rows)
    opening = Opening.of(source)
    what = {
        "source": source.uri,
        "samples": len(source),
        "names": opening.names,
        "model": model,
        "encoder": identity(encoder),
        "rows": rows,
    }
    parts = Parts.begin(path, what, count, overwrite=overwrite)
    if not parts.committed:
        done = parts.done()
        for part in done.values():
            _take_note(source, part)
        missing = [number for number in range(count) if number not in done]
        if missing:
            parts.forget_attempts()
            with RayCluster(encoder) as cluster:
                for part in track(
                    cluster.run(opening, parts, rows, missing),
                    f"{len(source):,} samples in {count} parts",
                    total=count,
                    completed=len(done),
                    console=Console(stderr=True),
                    transient=True,
                ):
                    _take_note(source, part)
        source.skipped.check(len(source), source.uri)
        parts.commit(source, model=model, encoder=identity(encoder))
    parts.tidy()
    return Store.open(path)


@dataclass(frozen=True)
class Opening:
    """How a worker opens the driver's source for itself.

    Args:
        uri: Of the source.
        folder: From which ``uri`` is meant, where it is a relative path.
        limit: As of ``vergence.open``.
        rows: ``(n,)`` int64, which of the opened samples; None takes all.
        samples: How many they must be.
        names: Digest of their names.
    """

    uri: str
    folder: str
    limit: float
    rows: np.ndarray | None
    samples: int
    names: str

    @classmethod
    def of(cls, source: Source) -> Opening:
        rows = source.rows if isinstance(source, RowSource) else None
        if rows is not None and bool((rows == np.arange(len(rows))).all()):
            rows = None
        names = _digest_of_names(source)
        return cls(source.uri, os.getcwd(), source.skipped.limit, rows, len(source), names)

    def open(self) -> Source:
        """Return the source.

        Raises:
            BadInput: If it cannot be opened here, or is another here.
        """
        here = os.uname().nodename
        try:
            os.chdir(self.folder)
            source = open_source(self.uri, limit=self.limit)
        except (VergenceError, OSError) as error:
            raise BadInput(
                f"A worker of Ray on {here} cannot open {self.uri}: {error} Every worker opens the source by "
                "its name: put it on a disk that all machines see, under one path."
            ) from None
        if self.rows is not None and self.rows.max(initial=-1) < len(source):
            source = source.subset(self.rows)
        if (len(source), _digest_of_names(source)) != (self.samples, self.names):
            raise BadInput(
                f"A worker of Ray on {here} sees another {self.uri} than this process ({len(source):,} and "
                f"{self.samples:,} samples, or other names): give them the same data under one path."
            )
        return source


class PartWorker:
    """One process of Ray, with the encoder and the source kept open; writes a part a call."""

    def __init__(self, encoder: ray.ObjectRef, opening: Opening, parts: Parts, rows: int) -> None:
        import ray

        self.encoder: nn.Module = ray.get(encoder)
        self.device = "cuda" if ray.get_gpu_ids() else None
        self.opening, self.parts, self.rows = opening, parts, rows
        self.source: Source | None = None

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        (number,) = batch["part"].tolist()
        try:
            if self.parts.find(number) is None:  # else it was lost after the work was done
                self._check_attempts(number)
                self.source = self.source or self.opening.open()
                self._write(number, self.source)
        except VergenceError as error:  # told to the user by the driver; anything else is Ray's to tell
            return {"part": [number], "error": [str(error)]}
        return {"part": [number], "error": [""]}

    def _check_attempts(self, number: int) -> None:
        if self.parts.attempt(number) > _ATTEMPTS:
            first = number * self.rows
            last = min(first + self.rows, self.opening.samples) - 1
            raise BadInput(
                f"{_ATTEMPTS} workers of Ray died one after the other over samples {first} to {last} of "
                f"{self.opening.uri}: give them more memory, or find the sample that ends them."
            )

    def _write(self, number: int, source: Source) -> None:
        start = number * self.rows
        part = source.subset(np.arange(start, min(start + self.rows, len(source))))
        part.skipped = _Noted()
        embeddings = embed(self.encoder, part, device=self.device)
        rows = Rows(part, embeddings) if len(embeddings) else None
        self.parts.write(number, rows, part.skipped.reasons)


class _Noted(Skipped):
    """Unreadable samples of a part: the driver, which knows the whole, judges whether they are too many."""

    def check(self, total: int, uri: str) -> None:
        return


class RayCluster:
    """Ray, started here where it does not run yet, and stopped again."""

    def __init__(self, encoder: nn.Module) -> None:
        self.encoder = encoder
        self.started = False

    def __enter__(self) -> RayCluster:
        import ray

        if not ray.is_initialized():
            os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
            if not os.environ.get("RAY_ADDRESS"):
                weights = sum(p.nbytes for p in self.encoder.parameters())
                options |= {"address": "local", "include_dashboard": False}
                options |= {"object_store_memory": _SHELF + 2 * weights}
            ours = signal.getsignal(signal.SIGTERM)
            try:
                with warnings.catch_warnings():  # Ray's processes do not use what lance has open here
                    warnings.filterwarnings("ignore", "lance is not fork-safe")
                    ray.init(**options)
            except (OSError, RuntimeError, ValueError) as error:
                where = os.environ.get("RAY_ADDRESS")
                doing = f"reached at {where}, which RAY_ADDRESS names" if where else "started"
                raise VergenceError(f"Ray cannot be {doing}: {_last_line(error)}") from error
            self.started = True
            if callable(ours) and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, ours)  # Ray's would end the process without a word
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        if self.started:
            ray.shutdown()

    def run(self, opening: Opening, parts: Parts, rows: int, missing: list[int]) -> Iterator[Part]:
        """Have the missing parts written, and yield the record of each.

        Raises:
            BadInput: What a worker met that the user can put right.
            VergenceError: If Ray cannot go on.
        """
        import ray

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        gpus, cores = (int(ray.cluster_resources().get(kind, 0)) for kind in ("GPU", "CPU"))
        kept = ray.put(self.encoder)  # held here, so that a worker that is started anew finds it
        tasks = ray.data.from_items([{"part": i} for i in missing], override_num_blocks=len(missing))
        work = tasks.map_batches(
            PartWorker,
            batch_size=1,
            fn_constructor_args=(kept, opening, parts, rows),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, min(gpus or cores, len(missing)))),
            num_cpus=1,
            num_gpus=1 if gpus else 0,
        )
        try:
            for answer in work.iter_rows():
                if answer["error"]:
                    raise BadInput(answer["error"])
                if (part := parts.find(answer["part"])) is None:
                    raise BadInput(
                        f"A worker of Ray has written part {answer['part']} of {parts.path}, but it is not "
                        "there: the table must lie on a disk that all machines see, under one path."
                    )
                yield part
        except ray.exceptions.RayError as error:
            raise VergenceError(
                f"Ray cannot go on: {_last_line(error)} What is done is kept; run the same again to go on."
            ) from error


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _take_note(source: Source, part: Part) -> None:
    for name, reason in part.skipped.items():
        source.skipped.add(name, reason)
    source.skipped.check(len(source), source.uri)


def _digest_of_names(source: Source) -> str:
    """Return what tells two lists of names apart."""
    digest = hashlib.sha256()
    for name in source.names:
        digest.update(name.encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()
