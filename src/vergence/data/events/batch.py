"""A batch of event histories: flat arrays, and where each history begins."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vergence.data.batch import Batch


@dataclass(frozen=True, eq=False)
class Fields:
    """The fields that all events of a log have.

    Args:
        categorical: Names of the categorical fields.
        numeric: Names of the numeric ones.
        words: Of each categorical field, its values as words, the most frequent first; code k of
            the field stands for ``words[k - 1]``, code 0 for a missing value.
        offsets: What was subtracted from each numeric field before it was rounded to float32; none where
            nothing was. An encoder adds the difference to those that it was trained with.
    """

    categorical: tuple[str, ...]
    numeric: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    offsets: tuple[float, ...] = ()

    def offset(self, name: str) -> float:
        """Return what was subtracted from a numeric field."""
        return self.offsets[self.numeric.index(name)] if self.offsets else 0.0


@dataclass(frozen=True, slots=True)
class EventBatch(Batch):
    """Histories one after the other, without padding; event e of history b is row ``offsets[b] + e``.

    Args:
        categorical: ``(N, C)`` int32 codes of N events, 0 where missing.
        numeric: ``(N, M)`` float32, less ``fields.offsets``, NaN where missing.
        gap: ``(N,)`` float32, time since the entity's event before, 0 at its first.
        time: ``(N,)`` float64, seconds since 1970 UTC, or the log's own unit; it has room for a quarter of
            a microsecond of today's dates, gap and order for a nanosecond. Never an input of an encoder,
            which would learn the date of a client instead of its habits.
        offsets: ``(B + 1,)`` int64, from 0 to N, each history at least one event long.
        index: ``(B,)`` int64, the entities' rows in their source.
        label: ``(B,)`` int64, -1 where unknown.
        fields: What the columns are.
    """

    categorical: Tensor
    numeric: Tensor
    gap: Tensor
    time: Tensor
    offsets: Tensor
    index: Tensor
    label: Tensor
    fields: Fields

    @property
    def lengths(self) -> Tensor:
        """``(B,)`` int64, events a history."""
        return self.offsets.diff()

    def pick(self, rows: Tensor, offsets: Tensor, owner: Tensor) -> EventBatch:
        """Return histories made of these events.

        Args:
            rows: ``(K,)`` int64, events of this batch, history after history.
            offsets: ``(S + 1,)`` int64, where each new history begins in ``rows``.
            owner: ``(S,)`` int64, the history of this batch that each one is taken from.
        """
        return EventBatch(
            categorical=self.categorical.index_select(0, rows),
            numeric=self.numeric.index_select(0, rows),
            gap=self.gap.index_select(0, rows),
            time=self.time.index_select(0, rows),
            offsets=offsets,
            index=self.index.index_select(0, owner),
            label=self.label.index_select(0, owner),
            fields=self.fields,
        )


def stretches(starts: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of contiguous stretches, one after the other, and where each begins among them.

    >>> stretches(torch.tensor([5, 0]), torch.tensor([2, 3]))
    (tensor([5, 6, 0, 1, 2]), tensor([0, 2, 5]))
    """
    offsets = torch.zeros(len(lengths) + 1, dtype=torch.int64, device=lengths.device)
    torch.cumsum(lengths, 0, out=offsets[1:])
    shift = torch.repeat_interleave(starts - offsets[:-1], lengths)
    return shift + torch.arange(len(shift), device=shift.device), offsets
