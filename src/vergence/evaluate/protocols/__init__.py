"""One file a protocol: what it needs, and the scores with intervals that it gives.

A file says in ``NEEDS`` which targets it judges by (``data.targets.KINDS``). What ``measure`` can be asked
for stands in its ``PROTOCOLS``: by name, functions ``(split, seed)`` that yield pairs of a column and its
``Score``. Adding a file adds its protocols.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vergence.evaluate.baselines import Split
    from vergence.evaluate.score import Score

    Scores = Iterable[tuple[str, Score]]


@dataclass(frozen=True)
class Protocol:
    """One way of judging an encoder.

    Args:
        name: What ``measure`` calls it.
        needs: Targets that it judges by; with "labels", only labelled samples are looked at.
        scores: Judges a ``Split`` with a seed.
    """

    name: str
    needs: tuple[str, ...]
    scores: Callable[[Split, int], Scores]


@cache
def known_protocols() -> dict[str, Protocol]:
    """Return every protocol by name."""
    known = {}
    for info in pkgutil.iter_modules(__path__):
        if not info.ispkg:
            module = importlib.import_module(f"{__name__}.{info.name}")
            for name, scores in getattr(module, "PROTOCOLS", {}).items():
                known[name] = Protocol(name, module.NEEDS, scores)
    return known
