"""Atomic replacement of a table: in one step, and how its writers keep out of each other's way."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from vergence.core.errors import BadInput
from vergence.store.lance_io import is_table

if sys.platform != "win32":
    import fcntl

_HERE = -100  # AT_FDCWD: paths are relative to the working folder
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the table at ``path`` against other writers; they wait.

    The folder itself is locked, so that a killed writer leaves nothing behind. On a file system without locks
    nobody waits, and Lance's own check of versions remains.
    """
    while True:
        folder = os.open(path, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError, NameError):  # no such locks there
                fcntl.flock(folder, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(folder), os.stat(path)):  # else it was replaced meanwhile
                yield
                return
        finally:
            os.close(folder)


def aside(path: Path) -> Path:
    """Return the folder beside ``path`` in which this process makes what is to be there."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def put_in_place(made: Path, path: Path) -> None:
    """Make the folder ``made`` the one at ``path``; what was there goes afterwards.

    Killed at any instant, ``path`` holds the old folder or the new one where the system can exchange two;
    elsewhere it may hold none for a moment, and ``recover`` brings the old one back.

    Raises:
        OSError: If the disk refuses; ``path`` then holds what it held.
    """
    if not path.exists():
        made.rename(path)
        return
    with exclusive(path):
        if exchange(made, path):
            shutil.rmtree(made, ignore_errors=True)
            return
        old = _old(path)
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
        try:
            made.rename(path)
        except OSError:
            old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)


def free_path(path: str | Path, overwrite: bool) -> Path:
    """Return where a table may be written; raise ``BadInput`` if something is there that has to stay."""
    path = Path(path)
    recover(path)
    if path.exists() and not (overwrite and is_table(path)):
        hint = ", or pass overwrite=True to replace it" if is_table(path) else ""
        raise BadInput(f"{path} exists already: choose another path{hint}.")
    return path


def recover(path: Path) -> None:
    """Bring back the folder at ``path`` where a process was killed while it was being replaced."""
    if not path.exists() and (old := _old(path)).exists():
        with contextlib.suppress(FileNotFoundError):  # another process has just done so
            old.rename(path)


def tidy(path: Path) -> None:
    """Delete what processes that are no more have left beside ``path``."""
    recover(path)
    shutil.rmtree(_old(path), ignore_errors=True)
    for part in path.parent.glob(f".{_escaped(path.name)}.*.part"):
        try:
            os.kill(int(part.name.split(".")[-2]), 0)
        except ProcessLookupError:
            shutil.rmtree(part, ignore_errors=True)
        except (ValueError, OverflowError, PermissionError):
            continue


def exchange(first: Path, second: Path) -> bool:
    """Let two paths change places in one step; False where the system cannot do that."""
    names = os.fsencode(first), os.fsencode(second)
    libc = ctypes.CDLL(None)
    try:
        if sys.platform == "darwin":
            return libc.renamex_np(*names, _EXCHANGE) == 0
        return libc.renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0
    except AttributeError:
        return False


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
