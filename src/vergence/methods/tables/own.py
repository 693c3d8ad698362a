"""Networks of the user's own as table encoders: they get rows of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vergence.data.tables.batch import TableBatch
from vergence.methods.tables.encoders import TableEncoder, build
from vergence.nets.own import Own, answer, own_module, rebuilt, width_of_answer


class CellEncoder(TableEncoder):
    """A network of the user's own that reads rows of a table.

    It gets ``(B, width)`` float32: numbers scaled to mean 0 and deviation 1, a flag beside each that has
    missing values, and a learned vector a category. It answers with vectors ``(B, D)``.

    Args:
        numbers: See ``TableEncoder``.
        categories: See ``TableEncoder``.
        flagged: See ``TableEncoder``.
        own: The network, its spec, or what makes it of the width.
        embedding: Width of a category's vector.

    Attributes:
        net: The network.

    Raises:
        BadInput: If it cannot read such rows, or answers with something else.
    """

    def __init__(
        self,
        numbers: Sequence[str],
        categories: Mapping[str, int],
        flagged: Sequence[str] = (),
        *,
        own: Own,
        embedding: int = 16,
    ) -> None:
        super().__init__(numbers, categories, flagged, embedding=embedding)
        self.net = own_module(own, self.width)
        gets = (
            f"rows (2, {self.width}), float32: {len(self.numbers)} numbers, {len(self.flagged)} flags of "
            f"missing ones, {len(self.categories)} categories of {embedding} each"
        )
        self.out_dim = width_of_answer(self._read_rows, self.net, torch.zeros(2, self.width), gets)

    def _anew(self) -> TableEncoder | None:
        return rebuilt(self, build)

    def _read_rows(self, rows: Tensor) -> Tensor:
        return answer(self.net(rows), self.net, len(rows)).pooled

    def forward(self, batch: TableBatch) -> Tensor:
        return self._read_rows(self.cells(batch))
