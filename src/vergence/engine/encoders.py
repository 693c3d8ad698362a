"""Encoders by name: from a run's settings, and with a run's weights."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from vergence.core import BadInput, RunConfig
from vergence.core.modality import find_modality
from vergence.engine.run import Run, load_encoder, read_config


def encoder_from(config: RunConfig) -> nn.Module:
    """Build the untrained encoder that a run's settings name.

    Raises:
        BadInput: If it was a module of the user's own.
    """
    spec = dict(config.encoder or {})
    if set(spec) <= {"name"}:
        raise BadInput(
            f"The run's encoder is your own {spec.get('name')}: pass it again, load(run, encoder=...) or "
            "resume(run, encoder=...)."
        )
    encoders = find_modality(config.modality).load("encoders")
    return encoders.build(**spec)  # type: ignore[no-any-return]


def load(run: str | Path, *, encoder: nn.Module | None = None) -> nn.Module:
    """Return the trained encoder of a run, in evaluation mode, ready to embed, fine-tune or export.

    Args:
        run: The run's folder.
        encoder: The architecture, where it was one of your own.

    Raises:
        BadInput: If the folder is not a finished run, or the weights do not fit.
    """
    folder = Path(run)
    net = encoder if encoder is not None else encoder_from(read_config(folder))
    return load_encoder(net, folder / "encoder.safetensors").eval()


def open_run(path: str | Path) -> Run:
    """Return the finished run at ``path`` with its trained encoder."""
    return Run(path, load(path))
