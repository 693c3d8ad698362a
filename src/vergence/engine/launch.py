"""Launches the other processes of this machine, and leaves none behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from vergence.core.errors import BadInput
from vergence.core.waiting import wait_asleep

_PARENT = "VERGENCE_PARENT"  # process id, in processes that were started here
_children: list[subprocess.Popen[bytes]] = []


def started_here() -> bool:
    """Say whether this process was started by ``start_processes`` of another."""
    return _PARENT in os.environ


def start_processes(count: int, address: str, port: int) -> None:
    """Run this program ``count - 1`` times more, as local ranks 1, 2, ... of this machine.

    They print nothing to standard output. Should one of them end before all are connected, this
    process ends too, and they end with this one.

    Raises:
        BadInput: If this is no program that can be run again, or it has started processes before.
    """
    if _children:
        raise BadInput(
            "learn() starts processes once a program; run the program again, or let torchrun start it."
        )
    command = _again()
    os.environ.update(LOCAL_RANK="0", MASTER_ADDR=address, MASTER_PORT=str(port))
    os.environ.setdefault("NODE_RANK", "0")
    for local in range(1, count):
        environment = {**os.environ, "LOCAL_RANK": str(local), _PARENT: str(os.getpid())}
        wait_asleep(environment)
        _children.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))


def _again() -> list[str]:
    import __main__

    file = getattr(__main__, "__file__", None)
    if file is None or not Path(file).exists() or "pytest" in Path(sys.argv[0]).parts[-2:]:
        raise BadInput(
            "Several devices need a program that can be started several times: the vergence command, "
            "a script, or torchrun. Here, take devices=1."
        )
    if __main__.__spec__ is not None:
        return [sys.executable, "-m", __main__.__spec__.name, *sys.argv[1:]]
    return [sys.executable, str(Path(sys.argv[0]).absolute()), *sys.argv[1:]]


class Waiting:
    """Watches over the others of this machine until all are connected, when ``ProcessMonitor`` takes over."""

    def __enter__(self) -> Waiting:
        self.over = threading.Event()
        if _children or started_here():
            threading.Thread(target=self._watch, daemon=True, name="vergence-waiting").start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()

    def _watch(self) -> None:
        while not self.over.wait(0.5):
            if started_here() and os.getppid() != int(os.environ[_PARENT]):
                os._exit(1)
            for local, child in enumerate(_children, start=1):
                if child.poll() is not None and not self.over.is_set():
                    message = (
                        f"vergence: process {local} ended with code {child.returncode} before the start."
                    )
                    print(message, file=sys.stderr, flush=True)
                    stop_processes(wait=0)
                    os._exit(1)


def stop_processes(wait: float = 20.0) -> None:
    """See the processes started here off; end those that are still there after ``wait`` seconds."""
    until = time.monotonic() + wait
    for child in _children:
        try:
            child.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
