"""The kinds of views that event histories supply: random slices, drawn for a whole batch at once.

A factory takes options and returns a function from an
``EventBatch`` to a list of ``EventBatch``. Random numbers come from torch's default generators,
which the engine seeds before every step, or from ``generator``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.data.events.batch import EventBatch, stretches

SHORTEST, LONGEST = 25, 200  # events (CoLES, arXiv:2002.08232)


def draw_slices(
    lengths: Tensor, count: int, *, shortest: int, longest: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draw random stretches of every history: the length uniform, then the start uniform.

    A history of ``shortest`` events or fewer is taken whole.

    Args:
        lengths: ``(B,)`` int64, events a history.
        count: Slices a history.
        shortest: Events of the shortest slice.
        longest: Events of the longest slice.
        generator: Of the lengths' device.

    Returns:
        Starts within the history and lengths, ``(B * count,)`` int64 each, a history's slices together.

    Source: Babaev et al., arXiv:2002.08232, Algorithm 1.
    """
    whole = lengths.repeat_interleave(count)
    low, high = whole.clamp_max(shortest), whole.clamp_max(longest)
    u = torch.rand((2, len(whole)), generator=generator, dtype=torch.float64, device=lengths.device)
    size = low + (u[0] * (high - low + 1)).long()
    return (u[1] * (whole - size + 1)).long(), size


class Slices:
    """Random slices of every history.

    Args:
        count: Slices a history, 1 or more.
        shortest: Events of the shortest slice, 1 or more.
        longest: Events of the longest slice.
    """

    def __init__(self, count: int, *, shortest: int = SHORTEST, longest: int = LONGEST) -> None:
        if count < 1 or not 1 <= shortest <= longest:
            raise BadInput(
                f"Slices need 1 or more a history and 1 <= shortest <= longest; "
                f"got {count}, {shortest} and {longest}."
            )
        self.count, self.shortest, self.longest = count, shortest, longest

    def __call__(self, batch: EventBatch, generator: torch.Generator | None = None) -> EventBatch:
        """Return ``B * count`` histories, an entity's slices together; ``index`` says whose they are."""
        start, size = draw_slices(
            batch.lengths, self.count, shortest=self.shortest, longest=self.longest, generator=generator
        )
        owner = torch.arange(len(batch), device=start.device).repeat_interleave(self.count)
        rows, offsets = stretches(batch.offsets[owner] + start, size)
        return batch.pick(rows, offsets, owner)


class Pair:
    """Two slices of every history, each from anywhere in it."""

    def __init__(self, slices: Slices) -> None:
        self.slices = slices

    def __call__(self, batch: EventBatch, generator: torch.Generator | None = None) -> list[EventBatch]:
        return [self.slices(batch, generator), self.slices(batch, generator)]


def pair(*, shortest: int = SHORTEST, longest: int = LONGEST) -> Pair:
    """Two slices of the same history (CoLES, arXiv:2002.08232)."""
    return Pair(Slices(1, shortest=shortest, longest=max(shortest, longest)))


KINDS: dict[str, Callable[..., Callable[..., Any]]] = {"pair": pair}

OPTIONS = ("shortest", "longest")
