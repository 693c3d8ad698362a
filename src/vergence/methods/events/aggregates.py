"""Aggregates: what an analyst computes from a history by hand, the baseline of learned vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vergence.data.events import EventBatch, EventSource

WORDS = 50  # most frequent categories of a field that are counted one by one


class Aggregates(nn.Module):
    """Counts, means, deviations and extremes of every field of a history; nothing is learned.

    A history gives its number of events, its span and the mean, deviation, minimum, maximum of the
    gaps, all as log(1 + x); of each numeric field mean, deviation, minimum, maximum, sum and the
    share of missing values; of each categorical field the share of each of its most frequent
    categories, of the others together, of missing values, and how many different ones occur; and
    the mean of each numeric field within each of those categories.

    Args:
        source: Tells which fields there are and which categories are frequent.
    """

    joins = True  # an analyst has both

    def __init__(self, source: EventSource) -> None:
        super().__init__()
        self.fields = source.log.fields
        self.tops = [min(WORDS, len(words)) for words in self.fields.words]
        m, each = len(self.fields.numeric), [top + 2 for top in self.tops]
        self.out_dim = 6 + 6 * m + sum(n + 1 + m * n for n in each)

    @torch.no_grad()
    def forward(self, batch: EventBatch) -> Tensor:
        """Return ``(B, out_dim)`` float32."""
        lengths = batch.lengths
        owner = torch.arange(len(batch), device=lengths.device).repeat_interleave(lengths)
        count = lengths.double()[:, None]
        span = batch.time[batch.offsets[1:] - 1] - batch.time[batch.offsets[:-1]]
        gaps = torch.log1p(batch.gap.double().clamp_min(0))[:, None]
        parts = [count.log1p(), span.clamp_min(0).log1p()[:, None], *_moments(gaps, owner, len(batch))[:4]]
        numeric = batch.numeric.double()
        parts += _moments(numeric, owner, len(batch))
        parts += [_sums(numeric.isnan().double(), owner, len(batch)) / count]
        for k, top in enumerate(self.tops):
            parts += self._shares(batch.categorical[:, k], top, numeric, owner, count)
        return torch.cat(parts, 1).float()

    @staticmethod
    def _shares(codes: Tensor, top: int, numeric: Tensor, owner: Tensor, count: Tensor) -> list[Tensor]:
        cells, b, m = top + 2, len(count), numeric.shape[1]
        cell = owner * cells + codes.clamp_max(top + 1)
        events = torch.bincount(cell, minlength=b * cells).double()
        known = ~numeric.isnan()
        totals = _sums(numeric.nan_to_num(0.0), cell, b * cells)
        means = totals / _sums(known.double(), cell, b * cells).clamp_min(1)
        events = events.reshape(b, cells)
        return [events / count, (events > 0).sum(1, keepdim=True).double(), means.reshape(b, cells * m)]


def raw(source: EventSource, encoder: nn.Module) -> dict[str, nn.Module]:
    """Return the aggregates; they are judged alone and joined with what was learned."""
    return {"aggregates": Aggregates(source)}


def _sums(values: Tensor, owner: Tensor, count: int) -> Tensor:
    return values.new_zeros(count, values.shape[1]).index_add_(0, owner, values)


def _moments(values: Tensor, owner: Tensor, count: int) -> list[Tensor]:
    """Return mean, deviation, least, most and sum ``(B, M)`` of the values that are there; else 0."""
    known = ~values.isnan()
    n = _sums(known.double(), owner, count)
    filled = values.nan_to_num(0.0)
    total = _sums(filled, owner, count)
    mean = total / n.clamp_min(1)
    apart = torch.where(known, filled - mean[owner], 0.0)
    deviation = (_sums(apart.square(), owner, count) / n.clamp_min(1)).sqrt()
    where = owner[:, None].expand_as(values)
    moments = [mean, deviation]
    for reduce, fill in (("amin", torch.inf), ("amax", -torch.inf)):
        ends = torch.full_like(total, fill)
        ends.scatter_reduce_(0, where, torch.where(known, values, fill), reduce)
        moments.append(torch.where(n > 0, ends, 0.0))
    return [*moments, total]
