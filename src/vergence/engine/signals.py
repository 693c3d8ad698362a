"""Signals: being asked to stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def stop_requests() -> Iterator[list[str]]:
    """Collect the names of SIGINT, SIGTERM and SIGHUP instead of dying by them; a second one acts as usual.

    A SIGHUP that is ignored, as under nohup, stays ignored.
    """
    requests: list[str] = []
    usual: dict[int, Any] = {}

    def note(number: int, frame: Any) -> None:
        requests.append(signal.Signals(number).name)
        signal.signal(number, usual[number])

    numbers = [int(signal.SIGINT), int(signal.SIGTERM)]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(int(signal.SIGHUP))
    with contextlib.suppress(ValueError):  # only the main thread may set handlers
        for number in numbers:
            usual[number] = signal.getsignal(number)
            signal.signal(number, note)
    try:
        yield requests
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
