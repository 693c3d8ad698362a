"""Atomic writes: files that are whole or not there, written aside, flushed to the disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from vergence.core import plain_yaml
from vergence.core.errors import BadInput, VergenceError
from vergence.core.run_config import no_run

DISK_TROUBLE = ("PytorchStreamWriter", "inline_container", "I/O error")  # as torch and safetensors report it
LARGEST_YAML = 2**20  # bytes; a configuration has a few thousand
_ADVICE = {
    errno.ENOSPC: "Make room there.",
    errno.EDQUOT: "Make room there.",
    errno.EROFS: "Choose a folder that can be written to.",
    errno.EACCES: "Choose a folder that can be written to.",
    errno.EPERM: "Choose a folder that can be written to.",
    errno.ENOENT: "Something removed the folder or the file.",
}


class DiskTrouble(VergenceError):
    """The disk refused: it is full, read-only or gone."""


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a failing disk into one line that says what failed and what to do."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError):
            reason, advice = error.strerror or str(error), _ADVICE.get(error.errno or 0, "")
        elif any(sign in str(error) for sign in DISK_TROUBLE):
            reason, advice = "no space left, or not writable", _ADVICE[errno.ENOSPC]
        else:
            raise
        raise DiskTrouble(f"Cannot write {path}: {reason}. {advice}".rstrip()) from error


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then put it in place in one step.

    Killed at any instant, ``path`` holds the old content or the new. After an error nothing
    half-written is left; what a killed process left goes with the next writing.

    Raises:
        DiskTrouble: If the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _tidy(path)
        try:
            temporary.touch()
            usual = temporary.stat().st_mode
            write(temporary)
            temporary.chmod(usual)  # safetensors lets nobody else read what it writes
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        finally:
            temporary.unlink(missing_ok=True)


def _tidy(path: Path) -> None:
    """Delete what processes that are no more have left half-written beside ``path``."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        try:
            os.kill(int(part.name.split(".")[-2]), 0)
        except ProcessLookupError:
            part.unlink(missing_ok=True)
        except (ValueError, OverflowError, PermissionError):
            continue


def write_text(path: Path, text: str) -> None:
    """Write a whole file in UTF-8; what that cannot hold, as bytes of a file's name, is escaped."""
    write_whole(path, lambda temporary: temporary.write_text(text, "utf-8", "backslashreplace"))


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    plain = json.loads(json.dumps(content, default=str))  # tuples as lists, paths as text
    write_text(path, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read names with values.

    Raises:
        BadInput: If the file is missing or holds anything else.
    """
    try:
        if path.stat().st_size > LARGEST_YAML:
            raise BadInput(f"{path} is no configuration: it is larger than {LARGEST_YAML:,} bytes.")
        content = plain_yaml.parse(path.read_text(), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise no_run(path) from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not valid YAML: {first_line(error)}.") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} needs names with values; it holds {type(content).__name__}.")
    return content


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Put a checkpoint in place of the last one; its run's folder must be there still."""
    with disk_errors(path):
        path.parent.mkdir(exist_ok=True)
    write_whole(path, lambda temporary: torch.save(state, temporary))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; only tensors and plain values are accepted.

    Raises:
        BadInput: If there is none, or it is not one that ``save_checkpoint`` wrote.
    """
    try:
        _check_stored(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(f"There is no checkpoint at {path}; start the run without --resume.") from None
    except Exception as error:  # a broken file may raise anything
        raise BadInput(f"{path} cannot be read as a checkpoint: {first_line(error)}.") from error
    if not isinstance(state, dict):
        raise BadInput(f"{path} is not the checkpoint of a run.")
    return state


def _check_stored(path: Path) -> None:
    """Raise ``ValueError`` for anything but what ``torch.save`` writes: a zip file of uncompressed parts."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError("its parts are compressed")
    if sum(part.file_size for part in parts) > size:
        raise ValueError("its parts are larger than the file")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
