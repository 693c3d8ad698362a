"""MATLAB files, read in a process of their own: the reader is C code that a hostile file can end.

One such process serves all files; after one that ends it, the next starts another.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Literal

import numpy as np

from vergence.core.errors import BadInput
from vergence.data.arrays import read_npz

SECONDS = 60.0  # that a file may take, and as much again for every 100 MB


class _Reader:
    """The process; ``read`` asks it."""

    def __init__(self) -> None:
        folders = os.pathsep.join(folder for folder in sys.path if folder)
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("matlab_worker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": folders, "OPENBLAS_NUM_THREADS": "1"},
        )

    def read(self, what: str, raw: bytes, seconds: float) -> tuple[bool, bytes]:
        """Return whether a file was read, and its arrays or the reason."""
        out_of_time = threading.Event()

        def stop() -> None:
            out_of_time.set()
            self.process.kill()

        clock = threading.Timer(seconds, stop)
        clock.daemon = True
        clock.start()
        requests, answer = self.process.stdin, self.process.stdout
        assert requests is not None and answer is not None
        try:
            requests.write(what.encode() + struct.pack("<Q", len(raw)) + raw)
            requests.flush()
            head = answer.read(9)
            said = answer.read(struct.unpack("<xQ", head)[0]) if len(head) == 9 else b""
        except BrokenPipeError:
            head = b""
        finally:
            clock.cancel()
        if len(head) == 9:
            return head[:1] == b"+", said
        code = self.process.wait()
        if out_of_time.is_set():
            return False, f"it takes longer than {seconds:.0f} seconds to read".encode()
        return False, f"it ended the process that read it ({code}): it is broken".encode()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


_lock = threading.Lock()
_reader: _Reader | None = None


def read(what: Literal["graph", "boundaries"], raw: bytes, where: str) -> dict[str, np.ndarray]:
    """Return arrays of a MATLAB file.

    Args:
        what: "graph": ``network`` and perhaps ``group``, each as an array, or as ``network.row``,
            ``network.col``, ``network.data`` and ``network.shape``. "boundaries": ``maps (people, H, W)``.
        raw: The file.
        where: Named in errors.

    Raises:
        BadInput: If it is not such a file, ends the process that reads it, takes longer than a minute (and
            a minute more every 100 MB) or more than 4 GiB.
    """
    global _reader
    with _lock:
        if _reader is None or _reader.owner != os.getpid():  # a fork must not share its parent's
            _reader = _Reader()
        was_read, said = _reader.read(what[0], raw, SECONDS * (1 + len(raw) / 1e8))
        if _reader.process.poll() is not None:
            _reader.close()
            _reader = None
    if not was_read:
        raise BadInput(f"{where} is no usable MATLAB file: {said.decode(errors='replace')[:300]}.")
    return read_npz(io.BytesIO(said))
