"""Runs of what is fitted rather than trained."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vergence.core import BadInput, Estimator
from vergence.data import Source
from vergence.engine import Run
from vergence.engine.files import write_text, write_yaml
from vergence.engine.run import save_encoder

_TABLES = {"metrics": "step,epoch,loss", "health": "step,epoch,note", "skipped": "name,reason"}  # no rows


def fit(
    estimator: Estimator,
    source: Source,
    *,
    out: Path,
    key: str,
    options: Mapping[str, Any],
    seed: int,
    quiet: bool = False,
) -> Run:
    """Fit ``estimator`` on ``source`` and leave a run at ``out``, as training does.

    Args:
        estimator: With its options.
        source: Unlabelled data.
        out: The run's folder.
        key: Of the catalog, or the class's name.
        options: As they were given.
        seed: Of whatever is drawn.
        quiet: Print nothing.

    Raises:
        BadInput: If what was fitted is not finite.
    """
    began = time.monotonic()
    estimator.fit(source, seed=seed)
    seconds = round(time.monotonic() - began, 1)
    encoder: nn.Module = estimator.encoder
    if not all(torch.isfinite(value).all() for value in encoder.state_dict().values()):
        raise BadInput(f"{key} left vectors that are not finite; look at the data and the options.")
    save_encoder(encoder, out / "encoder.safetensors")
    by_command = Path(sys.argv[0]).name == "vergence"
    write_yaml(
        out / "config.yaml",
        {
            "command": shlex.join(["vergence", *sys.argv[1:]]) if by_command else "python API",
            "method": key,
            "source": source.uri,
            "modality": source.modality,
            "samples": len(source),
            "encoder": getattr(encoder, "spec", {"name": type(encoder).__name__}),
            "options": dict(options),
            "seed": seed,
            "device": f"CPU, {torch.get_num_threads()} threads",
            "parameters": sum(p.numel() for p in encoder.parameters()),
            "versions": {name: version(name) for name in ("vergence", "torch", "numpy")},
            "seconds": seconds,
            **({"found": estimator.found} if estimator.found else {}),
        },
    )
    for name, header in (
        ("metrics", "step,epoch,loss"),
        ("health", "step,epoch,note"),
        ("skipped", "name,reason"),
    ):
        write_text(out / f"{name}.csv", f"{header}\n")
    if not quiet:
        print(f"{key}: {len(source):,} samples of {source.uri} in {seconds} s; {out}", file=sys.stderr)
    return Run(out, encoder)
