"""TLDR: Twin Learning for Dimensionality Reduction, arXiv:2110.09455."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.core import BadInput, Method, Recipe
from vergence.data import Source
from vergence.data.tables.batch import TableBatch
from vergence.data.tables.source import TableSource
from vergence.engine.distributed import gather
from vergence.losses import barlow_twins
from vergence.methods.tables.encoders import LinearEncoder, for_source
from vergence.nets import mlp, width_of

_BLOCK = 1 << 24  # distances held at a time


class TLDR(Method):
    """A row and one of its nearest neighbours are the two views; a linear map makes them agree.

    Kalantidis, Lassance, Almazán, Larlus 2022, arXiv:2110.09455. The reducer is the encoder, one
    linear layer unless another is given; the projector is thrown away. Neighbours are found once,
    exactly, among the training rows, by Euclidean distance of the scaled numbers. Differs from the
    paper: the projector is 2 x 512 wide by default (the paper: 2 x 2,048, or more), which suits tables.

    Args:
        encoder: Maps rows to ``(B, d)``.
        neighbours: Of each row that its partner is drawn from, k, at least 1; the row itself is none.
        hidden: Width of the projector's two hidden layers and of its output; 0 leaves it out.
        weight: Of the redundancy between features, λ, not negative.
        scale: Of the loss.
    """

    recipe = Recipe(
        optimizer="lars", lr=0.2, lr_scaling="none", batch=1024, epochs=100, weight_decay=1e-6, warmup=10,
        encoder="linear",
    )  # fmt: skip

    def __init__(
        self,
        encoder: nn.Module,
        *,
        neighbours: int = 3,
        hidden: int = 512,
        weight: float = 3.9e-3,
        scale: float = 1 / 32,
    ) -> None:
        super().__init__(encoder)
        if neighbours < 1 or hidden < 0 or weight < 0:
            raise BadInput(
                f"TLDR needs 1 or more neighbours, hidden and weight of 0 or more; "
                f"got {neighbours}, {hidden} and {weight}."
            )
        width = width_of(encoder)
        self.projector = mlp(width, hidden, hidden, hidden, last_bias=False) if hidden else nn.Identity()
        self.neighbours, self.weight, self.scale = neighbours, weight, scale
        self.near = torch.empty(0, dtype=torch.int64)

    def setup(self, source: Source) -> None:
        if not isinstance(source, TableSource):
            raise BadInput(f"TLDR learns from the rows of a table; {source.uri} is none.")
        self.source = source
        plain = for_source(source, "raw").eval()
        with torch.no_grad():
            rows = plain(source.batch(np.arange(len(source))))[:, : len(plain.numbers)]
        self.near = nearest(rows, min(self.neighbours, len(source) - 1))  # (n, k)

    def views(self, batch: TableBatch) -> tuple[TableBatch, TableBatch]:
        own = batch.index.cpu()
        drawn = torch.randint(self.near.shape[1], own.shape)
        partner = self.source.batch(self.near[own, drawn].numpy())
        return batch, partner.to(batch.numeric.device)

    def loss(self, views: Any) -> dict[str, Tensor]:
        first, second = (gather(self.projector(self.encode(view))) for view in views)
        terms = barlow_twins(first, second, weight=self.weight)  # Eq. 1
        return {name: self.scale * term for name, term in terms.items()}


def nearest(rows: Tensor, k: int) -> Tensor:
    """Return each row's ``k`` nearest other rows by Euclidean distance, ``(n, k)`` int64, nearest first.

    Args:
        rows: ``(n, D)``.
        k: From 1 to n - 1.
    """
    if not 1 <= k < len(rows):
        raise BadInput(f"{len(rows)} rows have 1 to {len(rows) - 1} other rows; asked for {k}.")
    blocks = []
    for block in torch.arange(len(rows)).split(max(1, _BLOCK // len(rows))):
        apart = torch.cdist(rows[block], rows)
        apart[torch.arange(len(block)), block] = torch.inf
        blocks.append(apart.topk(k, largest=False).indices)
    return torch.cat(blocks)


def principal(source: TableSource, dim: int, *, whiten: bool = False) -> LinearEncoder:
    """Return the map onto the first principal components, TLDR's rival.

    Args:
        source: Of numeric columns without missing values.
        dim: Components kept, from 1 to the number of columns.
        whiten: Give each the deviation 1.

    Raises:
        BadInput: If there are fewer columns than ``dim``.
    """
    encoder = for_source(source, "linear", dim=dim)
    assert isinstance(encoder, LinearEncoder)
    if not 1 <= dim <= encoder.width:
        raise BadInput(f"{source.uri} has {encoder.width} columns, not {dim}.")
    with torch.no_grad():
        rows = encoder.cells(source.batch(np.arange(len(source)))).double()
        centre = rows.mean(0)
        _, deviation, axes = torch.linalg.svd(rows - centre, full_matrices=False)
        axes = axes[:dim]
        if whiten:
            axes = axes / (deviation[:dim, None] / len(rows) ** 0.5).clamp_min(1e-9)
        encoder.map.weight.copy_(axes)
        encoder.map.bias.copy_(-axes @ centre)
    return encoder.eval()
