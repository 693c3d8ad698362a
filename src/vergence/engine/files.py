"""Files that are whole or not there: written aside, flushed to the disk, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from vergence.core.errors import BadInput, VergenceError

DISK_TROUBLE = ("PytorchStreamWriter", "inline_container", "I/O error")  # as torch and safetensors report it


@contextlib.contextmanager
def told(path: Path, kept: str = "") -> Iterator[None]:
    """Turn a failing disk (full, read-only, forbidden) into one line that says what is still there."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
        elif any(sign in str(error) for sign in DISK_TROUBLE):
            reason = "no space left, or not writable"
        else:
            raise
        raise VergenceError(f"Cannot write {path}: {reason}.{' ' + kept if kept else ''}") from error


def write_whole(path: Path, write: Callable[[Path], object], *, kept: str = "") -> None:
    """Let ``write`` fill a file beside ``path``, then put it in place in one step.

    Killed at any instant, ``path`` holds the old content or the new. After an error nothing
    half-written is left.

    Raises:
        VergenceError: If the disk refuses; ``kept`` is added to tell what survives.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with told(path, kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(aside)
            with aside.open("rb+") as file:
                os.fsync(file.fileno())
            aside.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        finally:
            aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda aside: aside.write_text(text))


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    plain = json.loads(json.dumps(content, default=str))  # tuples as lists, paths as text
    write_text(path, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def read_yaml(path: Path) -> dict[str, Any]:
    try:
        return yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise BadInput(f"{path} is missing: {path.parent} is not a finished or started run.") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is not valid YAML: {str(error).splitlines()[0]}.") from error


def save_checkpoint(path: Path, state: dict[str, Any], *, kept: str = "") -> None:
    write_whole(path, lambda aside: torch.save(state, aside), kept=kept)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; only tensors and plain values are accepted."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BadInput(f"There is no checkpoint at {path}; start the run without --resume.") from None
    except Exception as error:
        raise BadInput(f"{path} cannot be read as a checkpoint: {str(error).splitlines()[0]}") from error
