"""``vergence.learn`` and ``vergence.load``: names become modules, then the engine trains."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import inspect
import platform
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from vergence import catalog
from vergence.core import BadInput, Estimator, Method, Recipe, input_spec, unknown
from vergence.data import Source
from vergence.data import open as open_source
from vergence.engine import Run, make_fabric, train
from vergence.engine.distributed import world
from vergence.engine.files import read_yaml
from vergence.engine.process_monitor import monitored
from vergence.engine.run import fill, load_encoder
from vergence.store.table import Store

_THINGS = {"image": "images", "graph": "graphs", "events": "event sequences"}  # as a person says it


def method_class(key: str) -> type[Method] | type[Estimator]:
    """Return the class behind a key of the catalog: something to train, or to fit.

    Raises:
        BadInput: If no paper has that key, its code is still planned, or it is not trained.
    """
    paper = catalog.find(key)
    if paper.code is None:
        raise BadInput(f"'{key}' ({paper.title}) is planned but not there yet; see: vergence papers")
    module, _, name = paper.code.partition(":")
    found = getattr(importlib.import_module(module), name) if name else None
    if not (inspect.isclass(found) and issubclass(found, Method | Estimator)):
        raise BadInput(f"'{key}' ({paper.title}) is not something to train; it lives in {module}.")
    return found


def _same_modality(
    method: str | Method | Estimator, cls: type[Method] | type[Estimator], source: Source
) -> None:
    """Raise ``BadInput`` if a method of one modality is to learn from another; those of pairs take all."""
    place = cls.__module__.split(".")
    if place[:2] != ["vergence", "methods"] or place[2] in ("pairs", source.modality):
        return
    name = method if isinstance(method, str) else cls.__name__
    raise BadInput(
        f"'{name}' learns from {_THINGS.get(place[2], place[2])}, but {source.uri} holds "
        f"{_THINGS.get(source.modality, source.modality)}; simclr, vicreg, barlow and byol learn from all."
    )


def _options_of(cls: type[Method] | type[Estimator]) -> list[str]:
    return [p.name for p in inspect.signature(cls.__init__).parameters.values() if p.kind is p.KEYWORD_ONLY]


def _modality(name: str, part: str) -> Any:
    return importlib.import_module(f"vergence.methods.{name}.{part}")


def _batch_size(recipe: Recipe, wanted: int | None, source: Source) -> int:
    """Choose what fits: the paper's batch, at most 256 on a CPU and 1,024 on a GPU, as the source says."""
    if wanted is not None:
        if wanted < 2:
            raise BadInput(f"A batch needs 2 or more samples; got {wanted}. Raise --batch-size.")
        return min(wanted, len(source))
    return source.fitting_batch(recipe.batch, 1024 if torch.cuda.is_available() else 256)


def _next_folder() -> Path:
    taken = {path.name for path in Path("runs").glob("*")}
    return Path("runs") / next(str(i) for i in range(1, len(taken) + 2) if str(i) not in taken)


@monitored
def learn(
    method: str | Method | Estimator,
    source: str | Path | Source,
    *,
    encoder: str | nn.Module | None = None,
    encoder_options: Mapping[str, Any] | None = None,
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
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Learn a representation of unlabelled data and leave a run folder.

    Args:
        method: Key of the catalog, such as "simclr", or a ``Method`` or ``Estimator`` that is made already,
            encoder and all.
        source: What ``vergence.open`` understands, or a ``Source``.
        encoder: Name of a backbone, or a module with ``out_dim``; None lets recipe and data choose.
        encoder_options: Of a backbone given by name, such as ``{"registers": 4}`` of a transformer.
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
        quiet: Print nothing.
        **options: Arguments of the method, such as ``temperature=0.2``.

    Returns:
        The run, with its trained encoder.

    Raises:
        BadInput: For an unknown name, an unusable source, or options that do not fit.
        Interrupted: After SIGINT or SIGTERM, once the state is saved.
    """
    source = open_source(source)
    folder = Path(out) if out is not None else _next_folder()
    if not resume and (folder / "config.yaml").exists():
        raise BadInput(
            f"{folder} already holds a run; choose another --out, or go on with --resume {folder}."
        )
    for note in () if quiet else source.notes:
        print(f"{source.uri}: {note}.", file=sys.stderr)
    if len(source) < 4:
        raise BadInput(f"{source.uri} has {len(source)} samples; learning needs 4 or more.")
    for name, value in {"epochs": epochs, "accumulate": accumulate, "save_every": save_every}.items():
        if value is not None and value < 1:
            raise BadInput(f"--{name.replace('_', '-')} needs 1 or more; got {value}.")

    cls = method_class(method) if isinstance(method, str) else type(method)
    _same_modality(method, cls, source)
    if isinstance(method, str):
        for name in options:
            if name not in _options_of(cls):
                raise unknown(f"option of {method}", name, _options_of(cls))
    elif given := [*options, *(["encoder"] if encoder is not None or encoder_options else [])]:
        raise BadInput(f"This {cls.__name__} is made already: say its {given[0]} where it is made.")
    if issubclass(cls, Estimator):
        asked_for = {
            "encoder": encoder, "size": size, "epochs": epochs, "batch_size": batch_size, "lr": lr,
            "optimizer": optimizer, "weight_decay": weight_decay, "warmup": warmup, "save_every": save_every,
        }  # fmt: skip
        return _fitted(method, cls, source, folder, asked_for, options, seed=seed, quiet=quiet)
    assert not isinstance(method, Estimator)
    recipe = cls.recipe
    fabric = make_fabric(
        source.precision if precision == "auto" else precision,
        devices,
        nodes,
        strategy,
        find_unused_parameters=cls.find_unused_parameters,
    )
    folder = fabric.broadcast(folder)
    torch.manual_seed(seed)
    encoders, view_kinds = _modality(source.modality, "encoders"), _modality(source.modality, "views")
    if isinstance(method, Method):
        net, built = method.encoder, method
    else:
        if isinstance(encoder, nn.Module):
            net = encoder
        else:
            net = encoders.for_source(
                source, encoder or recipe.encoder, size=size or recipe.size, **(encoder_options or {})
            )
        try:
            built = cls(net, **options)
        except ValueError as error:  # an option out of its range
            raise BadInput(str(error)) from error
    spec = input_spec(net) or ({} if size is None else {"size": size})

    for name in views or {}:
        if name not in view_kinds.OPTIONS:
            raise unknown("option of views", name, view_kinds.OPTIONS)
    chosen = {**source.view_options, **(views or {})}
    pair = view_kinds.KINDS["pair"](**spec, **chosen)
    if isinstance(built.views, str):
        built.views = view_kinds.KINDS[built.views](**spec, **chosen)
    else:
        built.configure_views(chosen)

    batch, parts = _batch_size(recipe, batch_size, source), world() * accumulate
    batch = batch if resume else max(1, batch // parts) * parts
    epochs = epochs or recipe.epochs
    asked: dict[str, Any] = {
        "optimizer": optimizer,
        "weight_decay": weight_decay,
        "warmup": warmup if warmup is not None else recipe.warmup * min(1.0, epochs / recipe.epochs),
        **({"lr": lr, "batch": batch, "lr_scaling": "none"} if lr is not None else {}),
    }
    settings = dataclasses.replace(recipe, epochs=epochs, **{k: v for k, v in asked.items() if v is not None})
    threads = torch.get_num_threads()
    config = {
        "command": shlex.join(["vergence", *sys.argv[1:]])
        if Path(sys.argv[0]).name == "vergence"
        else "python API",
        "method": method if isinstance(method, str) else cls.__name__,
        "source": source.uri,
        "modality": source.modality,
        "samples": len(source),
        "encoder": getattr(built.encoder, "spec", {"name": type(built.encoder).__name__}),
        "options": dict(options),
        "views": dict(views or {}),
        "epochs": settings.epochs,
        "batch_size": batch,
        "lr": lr,
        "optimizer": optimizer,
        "weight_decay": weight_decay,
        "warmup": warmup,
        "recipe": {
            k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(settings).items()
        },
        "accumulate": accumulate,
        "save_every": save_every,
        "seed": seed,
        "precision": str(fabric._precision.precision),
        "processes": world(),
        "strategy": strategy,
        "device": torch.cuda.get_device_name()
        if fabric.device.type == "cuda"
        else f"CPU, {threads} thread{'' if threads == 1 else 's'}",
        "parameters": sum(p.numel() for p in net.parameters()),
        "versions": {
            "vergence": importlib.metadata.version("vergence"),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }
    return train(
        built,
        source,
        out=folder,
        recipe=settings,
        batch_size=batch,
        config=config,
        seed=seed,
        spec=spec,
        fabric=fabric,
        workers=workers,
        accumulate=accumulate,
        save_every=save_every,
        resume=resume,
        pair=pair,
        quiet=quiet,
    )


def _fitted(
    method: Any,
    cls: type[Estimator],
    source: Source,
    folder: Path,
    asked: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    seed: int,
    quiet: bool,
) -> Run:
    """Fit an estimator; of ``learn``'s own settings it takes those that it has an option for."""
    from vergence.engine.fitting import fit

    given = {name: value for name, value in asked.items() if value is not None}
    for name in given:
        if name not in _options_of(cls):
            raise BadInput(
                f"{cls.__name__} is fitted, not trained by steps: it has no --{name.replace('_', '-')}."
            )
    every = {**options, **given}
    try:
        built = method if isinstance(method, Estimator) else cls(**every)
    except ValueError as error:  # an option out of its range
        raise BadInput(str(error)) from error
    key = method if isinstance(method, str) else cls.__name__
    return fit(built, source, out=folder, key=key, options=every, seed=seed, quiet=quiet)


def resume(
    run: str | Path,
    *,
    devices: int | str = 1,
    nodes: int = 1,
    strategy: Literal["auto", "ddp", "fsdp"] | None = None,
    workers: int | None = None,
    quiet: bool = False,
) -> Run:
    """Go on with an interrupted run, exactly as it would have gone on by itself.

    With another number of processes every step has the samples it would have had; what is drawn at
    random, such as augmentations, differs from there on.

    Args:
        run: Its folder.
        devices: As of ``learn``; the batch must divide into as many parts.
        nodes: As of ``learn``.
        strategy: As of ``learn``; None takes the run's.
        workers: As of ``learn``.
        quiet: Print nothing.

    Raises:
        BadInput: If the folder is not a run that ``learn`` can rebuild from names.
    """
    folder = Path(run)
    config = read_yaml(folder / "config.yaml")
    spec = dict(config["encoder"])
    if config["command"] == "python API" and set(spec) == {"name"}:
        raise BadInput(
            f"{folder} was trained with an encoder of your own; "
            f"call learn(..., out={str(folder)!r}, resume=True)."
        )
    return learn(
        config["method"],
        config["source"],
        encoder=encoder_from(config),
        epochs=config["epochs"],
        batch_size=config["batch_size"],
        lr=config["lr"],
        optimizer=config["optimizer"],
        weight_decay=config["weight_decay"],
        warmup=config["warmup"],
        out=folder,
        seed=config["seed"],
        precision={"bf16-mixed": "bf16"}.get(config["precision"], "fp32"),
        devices=devices,
        nodes=nodes,
        strategy=strategy or config.get("strategy", "auto"),
        workers=workers,
        accumulate=config["accumulate"],
        save_every=config["save_every"],
        resume=True,
        views=config["views"],
        quiet=quiet,
        **config["options"],
    )


def encoder_from(config: Mapping[str, Any]) -> nn.Module:
    """Build the untrained encoder that a run's configuration names.

    Raises:
        BadInput: If it was a module of the user's own.
    """
    spec = config["encoder"]
    if set(spec) == {"name"}:
        raise BadInput(f"The run's encoder is your own {spec['name']}: pass it as load(run, encoder=...).")
    return _modality(config["modality"], "encoders").build(**spec)


def load(run: str | Path, *, encoder: nn.Module | None = None) -> nn.Module:
    """Return the trained encoder of a run, in evaluation mode, ready to embed, fine-tune or export.

    Args:
        run: The run's folder.
        encoder: The architecture, where it was one of your own.

    Raises:
        BadInput: If the folder is not a finished run, or the weights do not fit.
    """
    folder = Path(run)
    net = encoder if encoder is not None else encoder_from(read_yaml(folder / "config.yaml"))
    return load_encoder(net, folder / "encoder.safetensors").eval()


def open_run(path: str | Path) -> Run:
    """Return the finished run at ``path`` with its trained encoder."""
    return Run(path, load(path))


def embed(
    run: str | Path | Run | nn.Module,
    source: str | Path | Source,
    out: str | Path,
    *,
    overwrite: bool = False,
    workers: Literal["ray"] | None = None,
) -> Store:
    """Write the embeddings of ``source`` to a table at ``out``.

    Args:
        run: A finished run, its folder, or an encoder.
        source: What ``vergence.open`` understands, or a ``Source``.
        out: Where the table goes, by custom ``something.lance``.
        overwrite: Replace a table that is there.
        workers: "ray" has the workers of Ray do it; see ``Run.embed``.
    """
    if isinstance(run, nn.Module):
        name = getattr(run, "spec", {}).get("name", type(run).__name__)
        return fill(run, source, out, model=name, overwrite=overwrite, workers=workers)
    run = run if isinstance(run, Run) else open_run(run)
    return run.embed(source, out, overwrite=overwrite, workers=workers)
