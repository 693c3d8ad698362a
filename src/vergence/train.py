"""``vergence.learn`` and ``vergence.resume``: names become modules, then the engine trains."""

from __future__ import annotations

import contextlib
import inspect
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from vergence.catalog import PAPERS
from vergence.core import BadInput, Estimator, Method, RunConfig
from vergence.core.modality import find_modality
from vergence.core.specs import BRING_WEIGHTS, is_place, name_of
from vergence.data import Source
from vergence.data import open as open_source
from vergence.engine import Run
from vergence.engine.construction import (
    check_kinds,
    check_options,
    construct,
    construct_encoder,
    construct_estimator,
)
from vergence.engine.devices import threads_of
from vergence.engine.distributed import rank
from vergence.engine.encoders import (
    Given,
    encoder_from,
    open_run,
    own_encoder,
    with_weights,
)
from vergence.engine.fitting import fit
from vergence.engine.process_monitor import monitored
from vergence.engine.run import fill, read_config
from vergence.engine.run_lock import run_lock
from vergence.engine.samples import NAME as SAMPLES
from vergence.engine.samples import learned_from, write_samples
from vergence.engine.stages import train_method
from vergence.engine.trackers import Callback, check_tracker
from vergence.engine.training import start_fabric
from vergence.methods import key_of, method_class
from vergence.store.table import Store

_OF_IMAGES = ("edges", "keypoints", "objects")  # folders of methods that are named for a task on images


def _same_modality(name: str, cls: type[Method] | type[Estimator], source: Source) -> None:
    """Raise ``BadInput`` if a method of one modality is to learn from another; those of pairs take all."""
    place = cls.__module__.split(".")
    if place[:2] != ["vergence", "methods"]:
        return
    modality = "image" if place[2] in _OF_IMAGES else place[2]
    if modality in ("pairs", source.modality):
        return
    raise BadInput(
        f"'{name}' learns from {find_modality(modality).noun}, but {source.uri} holds "
        f"{find_modality(source.modality).noun}; simclr, vicreg, barlow and byol learn from all."
    )


def _next_folder() -> Path:
    taken = {path.name for path in Path("runs").glob("*")}
    return Path("runs") / next(str(i) for i in range(1, len(taken) + 2) if str(i) not in taken)


@monitored
def learn(
    method: str | Method | Estimator | type[Method] | type[Estimator],
    source: Any,
    *,
    encoder: Given | None = None,
    encoder_options: Mapping[str, Any] | None = None,
    init: str | None = None,
    size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    optimizer: Literal["sgd", "lars", "adam", "adamw"] | None = None,
    weight_decay: float | None = None,
    warmup: float | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    precision: str = "auto",
    devices: int | str = 1,
    nodes: int = 1,
    strategy: Literal["auto", "ddp", "fsdp"] = "auto",
    workers: int | None = None,
    accumulate: int = 1,
    save_every: int | None = None,
    resume: bool = False,
    views: Mapping[str, Any] | None = None,
    log: Literal["wandb", "mlflow", "tensorboard"] | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Learn a representation of unlabelled data and leave a run folder.

    Args:
        method: Key of the catalog, such as "simclr"; a class of your own; or a ``Method`` or ``Estimator``
            that is made already, encoder and all.
        source: What ``vergence.open`` understands, names and data in memory, or a ``Source``.
        encoder: Name of an untrained one, as ``vergence.encoder`` takes it, or a network of your own, made or
            as a class; None lets recipe and data choose.
        encoder_options: Of an encoder given by name or class, such as ``{"registers": 4}`` of a transformer.
        init: Encoder with weights to begin with, in place of an untrained one: "run:PATH", "timm:NAME",
            "vergence:NAME", "package.module:Class"; None begins at random.
        size: Side of the views in pixels (images); None lets recipe and data choose.
        epochs: Passes over the data; None takes the paper's.
        batch_size: Samples an optimizer step over all processes; None takes the paper's where it fits.
        lr: Learning rate at that batch size; None scales the paper's.
        optimizer: None takes the paper's.
        weight_decay: None takes the paper's.
        warmup: Epochs of linear warm-up; None takes the paper's share of the run.
        out: Folder of the run; None takes the next free number in ``runs/``.
        seed: Of weights, order and views.
        precision: "auto" (bf16 where the hardware has it), "bf16" or "fp32".
        devices: Processes a machine, one a GPU; "auto" takes every GPU, or one process on a CPU.
        nodes: Machines; they share the folder of the run.
        strategy: Of several processes: "ddp" copies the networks, "fsdp" gives each a part of them,
            for networks too large for one GPU; "auto" copies.
        workers: Decoding threads; None takes as many as there are cores.
        accumulate: Parts into which each step's batch is split, to save memory.
        save_every: Steps between checkpoints; None saves at the ends of epochs.
        resume: Go on from the checkpoint in ``out``.
        views: Options of the modality's views, such as ``{"flip": 0.0}``.
        log: Tracker that metrics and health also go to; TensorBoard's events are in the run in any case.
        callbacks: Functions ``(part, step, values)``, called with each row of metrics ("train") and of the
            encoder's health ("health").
        quiet: Print nothing.
        **options: Arguments of the method, such as ``temperature=0.2``.

    Returns:
        The run, with its trained encoder.

    Raises:
        BadInput: For an unknown name, an unusable source, or options that do not fit.
        Interrupted: After SIGINT or SIGTERM, once the state is saved.
    """
    check_tracker(log)
    source = open_source(source)
    cls, made = _class_of(method), isinstance(method, Method | Estimator)
    config = RunConfig(
        command=_command(),
        method=key_of(cls),
        source=source.uri,
        encoder_options=dict(encoder_options or {}),
        init=init,
        size=size,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        optimizer=optimizer,
        weight_decay=weight_decay,
        warmup=warmup,
        seed=seed,
        precision=precision,
        devices=devices,
        nodes=nodes,
        strategy=strategy,
        workers=workers,
        accumulate=accumulate,
        save_every=save_every,
        log=log,
        views=dict(views or {}),
        options=None if made else options,
    )
    folder = Path(out) if out is not None else _next_folder()
    _check(config, source, folder, resume)
    if resume:
        source = learned_from(folder, read_config(folder), source)
    for note in () if quiet else source.read_as():
        print(note, file=sys.stderr)
    _same_modality(config.method, cls, source)
    source = source.with_targets(cls.reads, config.method)
    given = {"encoder": encoder is not None or bool(encoder_options), "init": init is not None and not resume}
    check_options(cls, config, made, [*options, *(name for name, is_given in given.items() if is_given)])
    if all(given.values()) and encoder is not None:
        raise BadInput(f"Either --encoder or --init: {init} brings its architecture with its weights.")
    if issubclass(cls, Estimator):
        estimator = construct_estimator(
            method if isinstance(method, Estimator) else cls, config, encoder, callbacks=callbacks or None
        )
        with _held(folder, source, resume=resume, quiet=quiet):
            return fit(estimator, source, config, out=folder, resume=resume, quiet=quiet)
    fabric = start_fabric(config, cls, source)
    folder = fabric.broadcast(folder)
    torch.manual_seed(seed)
    if not isinstance(method, Method):
        if resume and init is not None and not is_place(init):  # its weights are in the checkpoint
            net = encoder_from(read_config(folder))
        else:
            net = construct_encoder(cls, config, source, encoder)
        if not quiet:
            _say_size(cls, config, source)
        method = construct(cls, net, **options)
    with _held(folder, source, resume=resume, quiet=quiet):
        return train_method(
            method, source, config, out=folder, fabric=fabric, resume=resume, quiet=quiet, callbacks=callbacks
        )


@contextlib.contextmanager
def _held(folder: Path, source: Source, *, resume: bool, quiet: bool) -> Iterator[None]:
    """Hold a run's folder while it is trained, and keep there which samples it learns from.

    A run that is gone on with has as many threads as it began with.
    """
    with run_lock(folder):
        if resume:
            with threads_of(read_config(folder)) as said:
                if said and not quiet and rank() == 0:
                    print(f"{folder}: {said}.", file=sys.stderr)
                yield
            return
        try:
            if rank() == 0:
                write_samples(folder, source)
            yield
        finally:
            if rank() == 0 and not (folder / "config.yaml").exists():
                (folder / SAMPLES).unlink(missing_ok=True)


def _say_size(cls: type[Method], config: RunConfig, source: Source) -> None:
    """Print the size of the views where the data chose it, and why."""
    choice = getattr(find_modality(source.modality).load("encoders"), "choice", None)
    if choice is not None and not (config.size or cls.recipe.size) and rank() == 0:
        print(f"{source.uri}: {choice(source)}.", file=sys.stderr)


def _command() -> str:
    typed = Path(sys.argv[0]).name == "vergence"
    return shlex.join(["vergence", *sys.argv[1:]]) if typed else "python API"


def _class_of(method: Any) -> type[Method] | type[Estimator]:
    if isinstance(method, str):
        return method_class(method)
    cls = method if inspect.isclass(method) else type(method)
    if not issubclass(cls, Method | Estimator):
        raise BadInput(
            "learn needs the key of a paper, or a Method or Estimator, as a class or made already; "
            f"got {cls.__name__}."
        )
    return cls


def _check(config: RunConfig, source: Source, folder: Path, resume: bool) -> None:
    """Raise ``BadInput`` for a folder that is taken, too little data, or numbers out of range."""
    if not resume and (folder / "config.yaml").exists():
        raise BadInput(
            f"{folder} already holds a run; choose another --out, or go on with --resume {folder}."
        )
    if len(source) < 4:
        raise BadInput(f"{source.uri} has {len(source)} samples; learning needs 4 or more.")
    for name in ("epochs", "accumulate", "save_every"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise BadInput(f"--{name.replace('_', '-')} needs 1 or more; got {value}.")


@monitored
def resume(
    run: str | Path,
    *,
    method: Method | type[Method] | None = None,
    source: Any = None,
    encoder: Given | None = None,
    devices: int | str = 1,
    nodes: int = 1,
    strategy: Literal["auto", "ddp", "fsdp"] | None = None,
    workers: int | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
) -> Run:
    """Go on with an interrupted run, exactly as it would have gone on by itself.

    It reads exactly the samples that it began with, whatever was added since, with as many threads. What the
    run has by name is made again; what you made yourself is passed again, for the folder of a run must not
    choose what code is loaded. With another number of processes every step has the samples it would have had;
    what is drawn at random, such as augmentations, differs from there on.

    Args:
        run: Its folder.
        method: Your own class, or the method as it was made, where it is not one of the catalog.
        source: The data, where they cannot be opened by their name.
        encoder: As of ``vergence.load``, where it was one of your own.
        devices: As of ``learn``; the batch must divide into as many parts.
        nodes: As of ``learn``.
        strategy: As of ``learn``; None takes the run's.
        workers: As of ``learn``.
        callbacks: As of ``learn``.
        quiet: Print nothing.

    Raises:
        BadInput: If the folder is not a run, what it needs is not passed, another process trains it, or the
            samples that it began with are not among the data.
    """
    folder = Path(run)
    config = read_config(folder)
    if config.recipe is None and not config.stage:
        what = "has ended" if config.stages else "was fitted in one go"
        raise BadInput(f"{folder} {what}: there is nothing to go on with.")
    cls = _class_of(_method_of(config, folder) if method is None else method)
    source = open_source(config.source if source is None else source)
    held = len(source)
    source = learned_from(folder, config, source)
    if len(source) < held and not quiet:
        print(
            f"{source.uri}: {held - len(source):,} samples that the run did not begin with are left out.",
            file=sys.stderr,
        )
    config = config.replace(
        devices=devices, nodes=nodes, strategy=strategy or config.strategy, workers=workers
    )
    if issubclass(cls, Estimator):
        estimator = construct_estimator(method if isinstance(method, Estimator) else cls, config, None)
        with _held(folder, source, resume=True, quiet=quiet):
            return fit(estimator, source, config, out=folder, resume=True, quiet=quiet)
    fabric = start_fabric(config, cls, source)
    torch.manual_seed(config.seed)
    if not isinstance(method, Method):
        check_kinds(cls, config, folder)
        method = construct(cls, encoder_from(config, encoder), **(config.options or {}))
    with _held(folder, source, resume=True, quiet=quiet):
        return train_method(
            method, source, config, out=folder, fabric=fabric, resume=True, quiet=quiet, callbacks=callbacks
        )


def _method_of(config: RunConfig, folder: Path) -> str:
    """Return the key of the method that a run can make again by itself."""
    if config.options is None:
        raise BadInput(
            f"{folder} was trained by a {config.method} that was made already: make it again and pass it, "
            "resume(run, method=...)."
        )
    if not any(paper.key == config.method for paper in PAPERS):
        raise BadInput(
            f"{folder} was trained by your own {config.method}, and a folder does not choose what code is "
            f"loaded: pass the class, resume(run, method={config.method})."
        )
    return config.method


def embed(
    run: str | Path | Run | nn.Module,
    source: Any,
    out: str | Path,
    *,
    overwrite: bool = False,
    workers: Literal["ray"] | None = None,
) -> Store:
    """Write the embeddings of ``source`` to a table at ``out``.

    Args:
        run: A finished run, its folder, an encoder, also a network of your own, or the name of one with
            weights, such as "timm:resnet18".
        source: What ``vergence.open`` understands, names and data in memory, or a ``Source``.
        out: Where the table goes, by custom ``something.lance``.
        overwrite: Replace a table that is there.
        workers: "ray" has the workers of Ray do it; see ``Run.embed``.
    """
    source = open_source(source)
    if isinstance(run, str) and run.startswith(BRING_WEIGHTS):
        net = with_weights(run, source)
        return fill(net, source, out, model=run, overwrite=overwrite, workers=workers)
    if isinstance(run, nn.Module):
        net = own_encoder(run, source)
        return fill(net, source, out, model=name_of(net), overwrite=overwrite, workers=workers)
    run = run if isinstance(run, Run) else open_run(run)
    return run.embed(source, out, overwrite=overwrite, workers=workers)
