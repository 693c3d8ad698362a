"""Runs of a method: of one stage, or of several that follow one another."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from vergence.core import BadInput, Estimator, Method, RunConfig, Stage
from vergence.data.source import Source
from vergence.engine.batches import loader_spec, parts_of
from vergence.engine.checkpoint import Checkpoint, StagePlace
from vergence.engine.devices import divides, put_channels_last
from vergence.engine.distributed import rank
from vergence.engine.files import write_yaml
from vergence.engine.logger import write_missing_tables
from vergence.engine.loop import train
from vergence.engine.run import Run, save_encoder
from vergence.engine.shapes import restore_method
from vergence.engine.trackers import Callback
from vergence.engine.training import bind_views, described, header, resolved, start_fabric

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train_method(
    method: Method,
    source: Source,
    config: RunConfig,
    *,
    out: Path,
    fabric: Fabric | None = None,
    resume: bool = False,
    quiet: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Train ``method`` on ``source``, in all of its stages, and leave a run at ``out``.

    Args:
        method: With its encoder; seed torch before it is made.
        source: Of its modality.
        config: As asked, where what is None follows the method's recipe and the source; or, with its
            ``recipe``, that of a run to go on with. Of a method with stages, ``epochs`` shortens all of them
            alike, and each takes the other settings.
        out: The run's folder.
        fabric: Devices and precision; None starts what ``config`` says.
        resume: Go on from the checkpoint in ``out``.
        quiet: Print nothing.
        callbacks: Called with each row of metrics and health; see ``trackers``.

    Raises:
        BadInput: For an option of views that the modality does not have, or stages that cannot be run.
    """
    fabric = fabric or start_fabric(config, type(method), source)
    stages = method.stages(source)
    if stages is None:
        return _train(
            method, source, config, out=out, fabric=fabric, resume=resume, quiet=quiet, callbacks=callbacks
        )
    if config.recipe is None:
        config = resolved(config, method.recipe, source, resume=resume)
    return run_stages(
        method,
        stages,
        source,
        config,
        out=out,
        fabric=fabric,
        resume=resume,
        quiet=quiet,
        callbacks=callbacks,
    )


def _train(
    method: Method,
    source: Source,
    config: RunConfig,
    *,
    out: Path,
    fabric: Fabric,
    resume: bool,
    quiet: bool,
    place: StagePlace | None = None,
    callbacks: Sequence[Callback] = (),
) -> Run:
    config = config.replace(size=loader_spec(method.encoder, config).get("size"))
    pair = bind_views(method, source, config)
    if config.recipe is None:
        config = resolved(config, method.recipe, source, resume=resume)
    if not quiet and rank() == 0:
        print(f"{header(method.recipe, config)}.", file=sys.stderr)
    config = described(config, source, method.encoder, fabric)
    return train(
        method, source, config, out=out, fabric=fabric, pair=pair, resume=resume, quiet=quiet, place=place,
        callbacks=callbacks,
    )  # fmt: skip


def run_stages(
    owner: Method | Estimator,
    stages: Sequence[Stage],
    source: Source,
    config: RunConfig,
    *,
    out: Path,
    fabric: Fabric,
    resume: bool = False,
    quiet: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Run the stages of a method or an estimator one after the other and leave one run at ``out``.

    The last stage's encoder is what is kept. A trained stage that has ended leaves ``checkpoint/STAGE.pt``
    and is not trained again when the run is gone on with; one that is fitted is fitted again, to the same.

    Args:
        owner: Whose stages these are.
        stages: Its ``stages(source)``.
        source: Given to every stage.
        config: Of the run; with its recipe where the owner is a method.
        out: The run's folder.
        fabric: Devices and precision.
        resume: Go on from the checkpoint in ``out``.
        quiet: Print nothing.
        callbacks: As of ``train_method``.

    Raises:
        BadInput: If there are no stages, two of one name, or one is neither method nor estimator.
    """
    _check(owner, stages, fabric)
    config = config.replace(stages=[stage.name for stage in stages], stage=None)
    last, before = Checkpoint(out), dict[str, Any]()
    running = last.read().get("stage") if resume and last.path.exists() else None
    made: Method | Estimator = owner
    steps, seconds = 0, 0.0
    for number, stage in enumerate(stages):
        if rank() == 0 and not quiet:
            print(f"Stage {number + 1} of {len(stages)}: {stage.name}", file=sys.stderr)
        settings = config.replace(seed=_seed(config.seed, number), stage=stage.name)
        torch.manual_seed(settings.seed)
        made, began = _made(owner, stage, before, source), time.monotonic()
        if isinstance(made, Method):
            settings = _settings(owner, made, settings, source, resume)
            ended = Checkpoint(out, stage.name)
            if not (resume and ended.path.exists()):
                whole = _described(owner, config, source, stage, fabric)
                place = StagePlace(stage.name, steps, seconds, whole)
                _train(
                    made, source, settings, out=out, fabric=fabric, resume=running == stage.name, quiet=quiet,
                    place=place, callbacks=callbacks,
                )  # fmt: skip
            else:
                bind_views(made, source, settings)
                learned, made.held_out = parts_of(source, settings)
                made.setup(learned)
                with ended.restoring():
                    restore_method(made, ended.read())
                put_channels_last(made, fabric.device)
            state = ended.read()
            steps, seconds = steps + int(state["step"]), float(state["seconds"])
            made.eval()
        else:
            if rank() == 0:
                write_yaml(out / "config.yaml", _described(owner, config, source, stage, fabric).to_dict())
            made.fit(source, seed=settings.seed)
            seconds += time.monotonic() - began
        before[stage.name] = made
    return _finish(owner, made.encoder, source, config.replace(seconds=round(seconds, 1)), out, fabric)


def fit_stages(estimator: Estimator, source: Source, *, seed: int = 0) -> None:
    """Run the stages of an estimator, whose ``encoder`` is then the last one's, and leave no run.

    Args:
        estimator: With stages.
        source: Given to every stage.
        seed: Of all that is drawn; torch's generator stays as it was.
    """
    config = RunConfig(method=type(estimator).__name__, source=source.uri, seed=seed)
    fabric = start_fabric(config, Method, source)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
        torch.manual_seed(seed)
        stages = estimator.stages(source)
        assert stages is not None
        run_stages(estimator, stages, source, config, out=Path(folder) / "run", fabric=fabric, quiet=True)


def _check(owner: Method | Estimator, stages: Sequence[Stage], fabric: Fabric) -> None:
    kind, names = type(owner).__name__, [stage.name for stage in stages]
    if not names:
        raise BadInput(f"{kind}.stages() is empty: return one Stage or more, or None.")
    if double := [name for name in names if names.count(name) > 1]:
        raise BadInput(f"{kind}.stages() has two stages of the name '{double[0]}': name them apart.")
    if divides(fabric):
        raise BadInput(f"{kind} has stages, which take --strategy ddp, not fsdp.")


def _seed(seed: int, number: int) -> int:
    """Return the seed of a stage: that of the run for the first, another for each of the others."""
    return seed if not number else int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _made(
    owner: Method | Estimator, stage: Stage, before: dict[str, Any], source: Source
) -> Method | Estimator:
    made = stage.make(dict(before))
    if isinstance(made, Method | Estimator) and (made is owner or made.stages(source) is None):
        return made
    raise BadInput(
        f"Stage '{stage.name}' of {type(owner).__name__} makes a {type(made).__name__}; "
        "it must be a Method or an Estimator without stages of its own."
    )


def _settings(
    owner: Method | Estimator, made: Method, config: RunConfig, source: Source, resume: bool
) -> RunConfig:
    """Return what a stage is trained with: its own recipe, and what the run asks of all stages."""
    recipe = made.recipe
    if isinstance(owner, Method):
        share = (config.epochs or owner.recipe.epochs) / owner.recipe.epochs
        return resolved(
            config.replace(epochs=max(1, round(share * recipe.epochs))), recipe, source, resume=resume
        )
    names = ("epochs", "lr", "optimizer", "weight_decay", "warmup")  # they are options of an estimator
    config = config.replace(batch_size=recipe.batch, **dict.fromkeys(names))
    return resolved(config, recipe, source, resume=resume)


def _described(
    owner: Method | Estimator, config: RunConfig, source: Source, stage: Stage, fabric: Fabric
) -> RunConfig:
    """Return the settings of the whole run while a stage is running."""
    config = config.replace(stage=stage.name)
    if isinstance(owner, Method):
        return described(config, source, owner.encoder, fabric)
    return described(config, source, nn.Identity(), fabric).replace(encoder=None)


def _finish(
    owner: Method | Estimator,
    encoder: nn.Module,
    source: Source,
    config: RunConfig,
    out: Path,
    fabric: Fabric,
) -> Run:
    """Leave the encoder and what the run has come to."""
    config = described(config, source, encoder, fabric)
    if isinstance(owner, Estimator):
        owner.encoder = encoder.cpu().requires_grad_(False)
        config = config.replace(result=dict(owner.result))
    if rank() == 0:
        save_encoder(encoder, out / "encoder.safetensors")
        write_missing_tables(out)
        write_yaml(out / "config.yaml", config.to_dict())
    fabric.barrier()
    return Run(out, encoder)
