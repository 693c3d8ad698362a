"""Runs of what is fitted rather than trained."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from torch import nn

from vergence.core import BadInput, Estimator, Method, RunConfig
from vergence.data.source import Source
from vergence.engine.files import write_yaml
from vergence.engine.logger import write_missing_tables
from vergence.engine.run import Run, save_encoder
from vergence.engine.stages import run_stages
from vergence.engine.training import described, start_fabric


def fit(
    estimator: Estimator,
    source: Source,
    config: RunConfig,
    *,
    out: Path,
    resume: bool = False,
    quiet: bool = False,
) -> Run:
    """Fit ``estimator`` on ``source`` and leave a run at ``out``, as training does.

    Args:
        estimator: With its options.
        source: Unlabelled data.
        config: As asked; says the seed.
        out: The run's folder.
        resume: Go on with one that has stages.
        quiet: Print nothing.

    Raises:
        BadInput: If what was fitted is not finite.
    """
    torch.manual_seed(config.seed)
    stages = estimator.stages(source)
    if stages is not None:
        fabric = start_fabric(config.replace(devices=1, nodes=1), Method, source)
        return run_stages(
            estimator, stages, source, config, out=out, fabric=fabric, resume=resume, quiet=quiet
        )
    began = time.monotonic()
    estimator.fit(source, seed=config.seed)
    seconds = round(time.monotonic() - began, 1)
    encoder: nn.Module = estimator.encoder
    if not all(torch.isfinite(value).all() for value in encoder.state_dict().values()):
        raise BadInput(f"{config.method} left vectors that are not finite; look at the data and the options.")
    save_encoder(encoder, out / "encoder.safetensors")
    config = described(config, source, encoder).replace(seconds=seconds, result=dict(estimator.result))
    write_yaml(out / "config.yaml", config.to_dict())
    write_missing_tables(out)
    if not quiet:
        print(
            f"{config.method}: {len(source):,} samples of {source.uri} in {seconds} s; {out}", file=sys.stderr
        )
    return Run(out, encoder)
