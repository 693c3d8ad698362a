"""Runs of what is fitted rather than trained."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from torch import nn

from vergence.core import BadInput, Estimator, RunConfig
from vergence.data.source import Source
from vergence.engine.files import write_text, write_yaml
from vergence.engine.run import Run, save_encoder
from vergence.engine.training import described

_TABLES = {"metrics": "step,epoch,loss", "health": "step,epoch,note", "skipped": "name,reason"}  # no rows


def fit(estimator: Estimator, source: Source, config: RunConfig, *, out: Path, quiet: bool = False) -> Run:
    """Fit ``estimator`` on ``source`` and leave a run at ``out``, as training does.

    Args:
        estimator: With its options.
        source: Unlabelled data.
        config: As asked; says the seed.
        out: The run's folder.
        quiet: Print nothing.

    Raises:
        BadInput: If what was fitted is not finite.
    """
    began = time.monotonic()
    estimator.fit(source, seed=config.seed)
    seconds = round(time.monotonic() - began, 1)
    encoder: nn.Module = estimator.encoder
    if not all(torch.isfinite(value).all() for value in encoder.state_dict().values()):
        raise BadInput(f"{config.method} left vectors that are not finite; look at the data and the options.")
    save_encoder(encoder, out / "encoder.safetensors")
    config = described(config, source, encoder).replace(seconds=seconds, found=dict(estimator.found))
    write_yaml(out / "config.yaml", config.to_dict())
    for name, header in _TABLES.items():
        write_text(out / f"{name}.csv", f"{header}\n")
    if not quiet:
        print(
            f"{config.method}: {len(source):,} samples of {source.uri} in {seconds} s; {out}", file=sys.stderr
        )
    return Run(out, encoder)
