"""Settings of what is trained: resolved and described; devices started, views bound."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vergence.core import BadInput, Method, Recipe, RunConfig, unknown
from vergence.core.modality import find_modality
from vergence.core.recipe import LARGE_BATCH
from vergence.core.run_config import digest
from vergence.data.source import Source
from vergence.engine.batches import loader_spec
from vergence.engine.devices import chosen_precision, make_fabric
from vergence.engine.distributed import world
from vergence.engine.optim import rate_scale

if TYPE_CHECKING:
    from lightning_fabric import Fabric

OPTIMIZERS = {"sgd": "SGD", "lars": "LARS", "adam": "Adam", "adamw": "AdamW"}


def start_fabric(config: RunConfig, method: type[Method], source: Source) -> Fabric:
    """Start the devices and processes that a run asks for, in the precision that the source wants."""
    return make_fabric(
        _precision(config, source),
        config.devices,
        config.nodes,
        config.strategy,
        find_unused_parameters=method.find_unused_parameters,
    )


def _precision(config: RunConfig, source: Source) -> str:
    return source.precision if config.precision == "auto" else config.precision


def bind_views(method: Method, source: Source, config: RunConfig) -> Callable[[Any], Any]:
    """Give a method the views that it names, and return what makes a pair of them for the health probe."""
    kinds = find_modality(source.modality).load("views")
    for name in config.views:
        if name not in kinds.OPTIONS:
            raise unknown("option of views", name, kinds.OPTIONS)
    options: Mapping[str, Any] = {**source.view_options, **config.views}
    spec = loader_spec(method.encoder, config)
    pair: Callable[[Any], Any] = kinds.KINDS["pair"](**spec, **options)
    if isinstance(method.views, str):
        if method.views not in kinds.KINDS:
            noun = find_modality(source.modality).noun
            raise unknown(f"kind of views of {noun}, of {type(method).__name__},", method.views, kinds.KINDS)
        method.views = kinds.KINDS[method.views](**spec, **options)
    else:
        method.configure_views(options)
    return pair


def resolved(config: RunConfig, recipe: Recipe, source: Source, *, resume: bool = False) -> RunConfig:
    """Return the settings with everything that was left open chosen.

    Args:
        config: As given.
        recipe: The paper's.
        source: Says which batch it allows.
        resume: Keep the batch as it was, though it may not divide among the processes of now.
    """
    batch, parts = _batch_size(recipe, config.batch_size, source), world() * config.accumulate
    batch = batch if resume else max(1, batch // parts) * parts
    recipe = _recipe_for(recipe, batch, config)
    epochs = config.epochs or recipe.epochs
    share = recipe.warmup * min(1.0, epochs / recipe.epochs)
    given = {
        "optimizer": config.optimizer,
        "weight_decay": config.weight_decay,
        "warmup": config.warmup if config.warmup is not None else share,
        **({"lr": config.lr, "batch": batch, "lr_scaling": "none"} if config.lr is not None else {}),
    }
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    used = dataclasses.replace(recipe, epochs=epochs, **settings)
    return config.replace(epochs=epochs, batch_size=batch, recipe=used)


def _recipe_for(recipe: Recipe, batch: int, config: RunConfig) -> Recipe:
    """Return the paper's recipe, or that for small batches, unless another optimizer is asked for."""
    if config.optimizer is None:
        return recipe if batch >= LARGE_BATCH else recipe.for_small_batch()
    # the rate of LARS is none of Adam's
    return recipe.for_small_batch() if config.lr is None and "adam" in config.optimizer else recipe


def header(paper: Recipe, config: RunConfig) -> str:
    """Say in a line by which optimizer a run is trained, and the paper's where that is another."""
    used, batch = config.recipe, config.batch_size
    assert used is not None and batch is not None
    text = f"{OPTIMIZERS[used.optimizer]} at batch {batch:,}: rate {used.lr * rate_scale(used, batch):.3g}"
    if used.optimizer == paper.optimizer:
        return text
    option = f" (--optimizer {paper.optimizer})" if config.optimizer is None else ""
    return f"{text}; the paper has {OPTIMIZERS[paper.optimizer]} for a batch of {paper.batch:,}{option}"


def _batch_size(recipe: Recipe, wanted: int | None, source: Source) -> int:
    """Choose what fits: the paper's batch, at most 256 on a CPU and 1,024 on a GPU, as the source says."""
    if wanted is not None:
        if wanted < 2:
            raise BadInput(f"A batch needs 2 or more samples; got {wanted}. Raise --batch-size.")
        return min(wanted, len(source))
    return source.fitting_batch(recipe.batch, 1024 if torch.cuda.is_available() else 256)


def described(
    config: RunConfig, source: Source, encoder: nn.Module, fabric: Fabric | None = None
) -> RunConfig:
    """Return the settings with what a run begins with: the source's fingerprint, encoder and machine."""
    threads = torch.get_num_threads()
    on_gpu = fabric is not None and fabric.device.type == "cuda"
    return config.replace(
        encoder=getattr(encoder, "spec", None) or {"name": type(encoder).__name__},
        precision="fp32" if fabric is None else chosen_precision(_precision(config, source)),
        modality=source.modality,
        samples=len(source),
        names=digest(source.names),
        out_of=source.out_of or len(source),
        processes=world(),
        device=torch.cuda.get_device_name()
        if on_gpu
        else f"CPU, {threads} thread{'' if threads == 1 else 's'}",
        threads=threads,
        parameters=sum(p.numel() for p in encoder.parameters()),
        versions={
            **{name: version(name) for name in ("vergence", "torch", "numpy")},
            "python": platform.python_version(),
        },
    )
