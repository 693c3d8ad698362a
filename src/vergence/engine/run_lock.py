"""The lock of a run's folder: one process trains it at a time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from vergence.core.errors import BadInput
from vergence.engine.distributed import rank
from vergence.engine.files import disk_errors

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"


@contextlib.contextmanager
def run_lock(out: Path) -> Iterator[None]:
    """Hold the folder of a run, made when missing, while it is trained; of several processes the first does.

    The system gives the lock back when the process ends, however it does. Where a file system has no locks,
    nothing is held.

    Raises:
        BadInput: If another process holds it; the line names that one.
        DiskTrouble: If the folder cannot be written to.
    """
    if rank() > 0 or fcntl is None:
        yield
        return
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        held = _acquire(out / NAME)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the folder may have been removed
            (out / NAME).unlink()  # while it is held: who comes now makes another file
        os.close(held)
        with contextlib.suppress(OSError):
            out.rmdir()  # only where nothing was begun in it


def _acquire(path: Path) -> int:
    """Return the open lock file."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(file)
            raise BadInput(f"{path.parent} is being trained by {holder}: wait for it, or stop it.") from None
        except OSError:
            return file
        if _is_at(path, file):
            os.truncate(file, 0)
            os.write(file, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
            return file
        os.close(file)  # whoever held it has just removed it


def _is_at(path: Path, file: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.stat(path), os.fstat(file))
    return False


def _holder(file: int) -> str:
    try:
        content = json.loads(os.read(file, 1000))
        return f"process {int(content['pid'])} on {content['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
    finally:
        os.close(file)
