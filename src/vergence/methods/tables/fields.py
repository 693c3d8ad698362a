"""Embedding tables of a field's values, gates that choose fields, factorisation machines that cross them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vergence.core import BadInput


class FullTable(nn.Embedding):
    """A vector of its own for every value."""

    def __init__(self, values: int, dim: int, rows: int) -> None:
        super().__init__(values, dim)
        nn.init.normal_(self.weight, std=0.05)


class HashedTable(nn.Module):
    """Values of the same remainder by ``rows`` share a vector: E[v mod m].

    Args:
        values: That the field has.
        dim: Width.
        rows: m, 1 or more.
    """

    def __init__(self, values: int, dim: int, rows: int) -> None:
        super().__init__()
        self.rows = min(rows, values)
        self.table = nn.Embedding(self.rows, dim)
        nn.init.normal_(self.table.weight, std=0.05)

    def forward(self, value: Tensor) -> Tensor:
        return self.table(value % self.rows)


class QuotientRemainder(nn.Module):
    """A vector composed of two: E1[v div m] * E2[v mod m] (Shi et al., arXiv:1909.02107).

    Different values have different pairs of rows, so that none share a vector. The split is the one
    whose two tables have ``rows`` rows together, or as few as can be.

    Args:
        values: That the field has.
        dim: Width.
        rows: Of both tables together.
    """

    def __init__(self, values: int, dim: int, rows: int) -> None:
        super().__init__()
        self.divisor = divisor_of(values, rows)
        self.quotient = nn.Embedding(math.ceil(values / self.divisor), dim)
        self.remainder = nn.Embedding(self.divisor, dim)
        nn.init.normal_(self.quotient.weight, mean=1.0, std=0.05)
        nn.init.normal_(self.remainder.weight, std=0.05)

    def forward(self, value: Tensor) -> Tensor:
        return self.quotient(value // self.divisor) * self.remainder(value % self.divisor)


class PrunedTable(nn.Module):
    """A full table whose small entries are 0: E max(|E| - σ(s), 0) / |E| (PEP, arXiv:2101.07577).

    Args:
        values: That the field has.
        dim: Width; each component has a threshold s of its own.
        rows: Idle.
    """

    def __init__(self, values: int, dim: int, rows: int, start: float = -6.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.05 * torch.randn(values, dim))
        self.threshold = nn.Parameter(torch.full((dim,), start))

    def pruned(self, weight: Tensor) -> Tensor:
        return weight.sign() * (weight.abs() - self.threshold.sigmoid()).clamp_min(0)

    def forward(self, value: Tensor) -> Tensor:
        return self.pruned(self.weight[value])


class FieldGates(nn.Module):
    """A gate in (0, 1) for every field: σ(a), in training with the noise of the binary concrete law.

    Source: AutoField (arXiv:2204.09078) chooses fields so; the relaxation is that of Maddison et al.,
    arXiv:1611.00712.

    Args:
        fields: How many.
        temperature: Of the relaxation, above 0; small values come near 0 or 1.
    """

    def __init__(self, fields: int, temperature: float = 0.5) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.ones(fields))
        self.temperature = temperature

    @property
    def open(self) -> Tensor:
        """``(F,)``, how far each gate is open on average."""
        return self.logit.sigmoid()

    def forward(self, rows: int) -> Tensor:
        """Return ``(B, F)``."""
        if not self.training:
            return self.open.expand(rows, -1)
        u = torch.rand(rows, len(self.logit), device=self.logit.device).clamp(1e-6, 1 - 1e-6)
        return ((self.logit + u.log() - (1 - u).log()) / self.temperature).sigmoid()


def fm(vectors: Tensor) -> Tensor:
    """Return Σ_{i < j} <v_i, v_j> ``(B,)`` of vectors ``(B, F, k)`` as ½ (|Σ v|² - Σ |v|²): O(F k).

    Source: Rendle 2010, Lemma 3.1.
    """
    return 0.5 * (vectors.sum(1).square() - vectors.square().sum(1)).sum(1)


def divisor_of(values: int, rows: int) -> int:
    """Return the largest m with ceil(values / m) + m of at most ``rows``, or √values where there is none.

    >>> divisor_of(100, 29), divisor_of(100, 2)
    (25, 10)
    """
    if min(values, rows) < 1:
        raise BadInput(f"A table needs values and rows of 1 or more; got {values} and {rows}.")
    fitting = [m for m in range(1, min(values, rows) + 1) if math.ceil(values / m) + m <= rows]
    return max(fitting) if fitting else math.ceil(values**0.5)


TABLES = {"full": FullTable, "hash": HashedTable, "quotient": QuotientRemainder, "pruned": PrunedTable}
