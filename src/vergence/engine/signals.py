"""Being asked to stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def stop_requests() -> Iterator[list[str]]:
    """Collect the names of SIGINT and SIGTERM instead of dying by them; a second one acts as usual."""
    asked: list[str] = []
    usual: dict[int, Any] = {}

    def note(number: int, frame: Any) -> None:
        asked.append(signal.Signals(number).name)
        signal.signal(number, usual[number])

    with contextlib.suppress(ValueError):  # only the main thread may set handlers
        for number in (int(signal.SIGINT), int(signal.SIGTERM)):
            usual[number] = signal.getsignal(number)
            signal.signal(number, note)
    try:
        yield asked
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
