"""The kinds of views that table rows supply: corruption by the column's own values.

A factory takes options and returns a function from a
``TableBatch`` to a list of ``TableBatch``. Random numbers come from torch's default generators,
which the engine seeds before every step, or from ``generator``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from vergence.core.errors import BadInput
from vergence.data.tables.batch import TableBatch

CORRUPT = 0.6  # share of a row's cells (SCARF, arXiv:2106.15147)


class Corrupted:
    """Rows in which some cells hold what another row has in that column.

    Every row gets the same number of replaced cells, at places of its own; each value is that of a
    row of the batch drawn evenly, that is from the column's own distribution, missing values
    included. Differs from SCARF: it draws from the whole training set.

    Args:
        corrupt: Share of a row's cells, in (0, 1); at least one cell is replaced and one is kept.
    """

    def __init__(self, corrupt: float = CORRUPT) -> None:
        if not 0 < corrupt < 1:
            raise BadInput(f"corrupt is the share of cells that are replaced, in (0, 1); got {corrupt}.")
        self.corrupt = corrupt

    def __call__(self, batch: TableBatch, generator: torch.Generator | None = None) -> TableBatch:
        rows, numbers = batch.numeric.shape
        cells = numbers + batch.categorical.shape[1]
        count = max(1, min(int(self.corrupt * cells), cells - 1))
        device = batch.numeric.device
        place = torch.rand(rows, cells, generator=generator, device=device).argsort(1).argsort(1)
        donor = torch.randint(rows, (rows, cells), generator=generator, device=device)
        replaced = place < count
        return replace(
            batch,
            numeric=torch.where(
                replaced[:, :numbers], batch.numeric.gather(0, donor[:, :numbers]), batch.numeric
            ),
            categorical=torch.where(
                replaced[:, numbers:], batch.categorical.gather(0, donor[:, numbers:]), batch.categorical
            ),
        )


class Pair:
    """A row as it is, and corrupted (SCARF, arXiv:2106.15147, Algorithm 1)."""

    def __init__(self, corrupted: Corrupted) -> None:
        self.corrupted = corrupted

    def __call__(self, batch: TableBatch, generator: torch.Generator | None = None) -> list[TableBatch]:
        return [batch, self.corrupted(batch, generator)]


def pair(*, corrupt: float = CORRUPT) -> Pair:
    """A row and the same row with 60 % of its cells replaced (SCARF, arXiv:2106.15147)."""
    return Pair(Corrupted(corrupt))


KINDS: dict[str, Callable[..., Callable[..., Any]]] = {"pair": pair}

OPTIONS = ("corrupt",)
