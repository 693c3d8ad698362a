"""Stages: the steps of a paper that has several, one after the other in one run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a paper, such as a pretext task before self-labelling; see ``Method.stages``.

    Args:
        name: Of letters, digits, ``-`` and ``_``; not "last".
        make: Called when the stage begins, with torch's generator seeded, and with the earlier stages'
            methods and estimators by name, as they ended. Returns the ``Method`` or ``Estimator`` of this
            one. When a run is gone on with it is called again, also of stages that have ended, and must
            make the same.

    Raises:
        ValueError: If the name is something else.
    """

    name: str
    make: Callable[[dict[str, Any]], Any]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.name) or self.name == "last":
            raise ValueError(f"Stage needs a name of letters, digits, - or _, not 'last'; got {self.name!r}.")
