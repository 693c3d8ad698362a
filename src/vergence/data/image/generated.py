"""Sources of generated pictures: truths made when asked for, and numbers in their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from vergence.core.errors import BadInput
from vergence.data.source import Skipped
from vergence.data.targets import LazyTarget, Target

AT_ONCE = 512  # pictures that are made at a time, or whose view is kept

V = TypeVar("V")


class Views(Generic[V]):
    """Views of generated pictures; that of the last batch is kept, which asks for one target after the other.

    Args:
        make: (rows ``(B,)``) -> their view.
    """

    def __init__(self, make: Callable[[np.ndarray], V]) -> None:
        self.make = make
        self._last: tuple[bytes, V] | None = None

    def of(self, rows: np.ndarray) -> V:
        last, key = self._last, rows.tobytes()
        if last is not None and last[0] == key:
            return last[1]
        view = self.make(rows)
        self._last = (key, view) if len(rows) <= AT_ONCE else None
        return view


class Made(LazyTarget):
    """A truth that is made when it is asked for.

    Args:
        make: (rows ``(B,)``) -> their target.
    """

    def __init__(self, make: Callable[[np.ndarray], Target]) -> None:
        self.make = make

    def load(self, rows: np.ndarray, sizes: np.ndarray | None, skipped: Skipped) -> Target:
        return self.make(rows)


def whole_numbers(given: dict[str, str], world: str, **defaults: int) -> list[int]:
    """Take options that are whole numbers out of those that were given.

    Args:
        given: Name -> text, of all options; loses those that are taken.
        world: Its name, for the error.
        **defaults: Name -> value where it was not given.

    Raises:
        BadInput: If one is no whole number.

    >>> whole_numbers({"size": "32"}, "scenes", size=64, seed=0)
    [32, 0]
    """
    values = []
    for name, default in defaults.items():
        text = given.pop(name, str(default))
        if not text.isdecimal():
            raise BadInput(f"{name} of {world} is a whole number; got {text!r}.")
        values.append(int(text))
    return values
