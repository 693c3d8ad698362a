"""Raw columns: the baseline that learned vectors of table rows have to beat."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from vergence.data.tables.batch import TableBatch
from vergence.data.tables.source import TableSource
from vergence.methods.tables.encoders import for_source

MOST = 50  # categories of a column


class RawRows(nn.Module):
    """A table's own columns: standardised numbers, flags for missing ones, categories one-hot.

    Args:
        source: Tells the columns and their scale; the ``MOST`` most frequent categories are told apart.
    """

    def __init__(self, source: TableSource) -> None:
        super().__init__()
        self.raw = for_source(source, "raw", embedding=1)
        self.numbers = len(self.raw.numbers) + len(self.raw.flagged)
        self.kinds = [min(count + 2, MOST) for count in self.raw.categories.values()]
        self.out_dim = self.numbers + sum(self.kinds)

    def forward(self, batch: TableBatch) -> Tensor:
        codes = zip(self.raw.codes(batch), self.kinds, strict=True)
        marks = [one_hot(code.clamp_max(kinds - 1), kinds).float() for code, kinds in codes]
        return torch.cat([self.raw.cells(batch)[:, : self.numbers], *marks], 1)


def raw(source: TableSource, encoder: nn.Module) -> dict[str, nn.Module]:
    """Return the columns themselves."""
    return {"raw features": RawRows(source)}
