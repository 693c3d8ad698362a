"""Score normalisation: scores mean the same for every query; what is like everything is a copy of nothing.

A smooth or common picture is near to all others, so that one threshold for all queries must be wrong for
it. Pictures that cannot match, the background, tell how near: their similarity is taken off the scores
(Pizzi et al. 2022, arXiv:2202.10261, Sec. 5.4), or their vectors off the vectors (Yokoo 2021,
arXiv:2112.04323, Sec. 3.3). It also tells which directions are common to all, for ``Whitening``. The
background must come from elsewhere, never from the gallery.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.use.topk import topk

_ROWS = 1 << 16  # whose covariance is added up at a time


def background_level(queries: Tensor, background: Tensor, *, neighbours: int = 3) -> Tensor:
    """Return ``(Q,)``, each query's mean cosine to its nearest neighbours in the background.

    s(q, r) minus this is the normalised score. It moves all scores of a query alike: the order of its
    references stays, that of pairs of several queries changes.

    Args:
        queries: ``(Q, D)``.
        background: ``(M, D)``.
        neighbours: That the mean is over, at least 1.
    """
    scores, _ = topk(queries, background, neighbours)
    return scores.mean(1).to(queries.device)


def away_from_background(
    vectors: Tensor, background: Tensor, *, share: float = 0.35, neighbours: int = 10
) -> Tensor:
    """Return unit(x - share · mean of x's nearest background vectors), ``(n, D)``.

    Done to queries and references alike before they are compared.

    Args:
        vectors: ``(n, D)``, scaled to unit length first.
        background: ``(M, D)``, likewise; best as ``smoothed`` returns it.
        share: Of the mean that is taken off; 0 leaves the unit vectors.
        neighbours: That the mean is over.
    """
    unit, ground = normalize(vectors.float(), dim=1), normalize(background.float(), dim=1)
    _, rows = topk(unit, ground, neighbours)
    return normalize(unit - share * ground[rows].mean(1).to(unit.device), dim=1)


def smoothed(background: Tensor, *, neighbours: int = 10, power: float = 3.0) -> Tensor:
    """Return each background vector as the mean of its neighbours (itself too), weighted by cosine ^ power.

    Args:
        background: ``(M, D)``.
        neighbours: That the mean is over.
        power: Higher gives the nearest more.

    Returns:
        ``(M, D)`` of unit length.
    """
    unit = normalize(background.float(), dim=1)
    scores, rows = topk(unit, unit, neighbours)
    return normalize((scores.clamp_min(0)[:, :, None] ** power * unit[rows]).sum(1), dim=1)


@dataclass(frozen=True, slots=True)
class Whitening:
    """Vectors spread evenly over all directions: those of the background have mean 0 and covariance 1.

    Args:
        mean: ``(D,)``.
        matrix: ``(D, d)``, the d directions in which the background varies most, each over its deviation.
    """

    mean: Tensor
    matrix: Tensor

    @classmethod
    def fit(cls, background: Tensor, dim: int | None = None, *, ridge: float = 0.0) -> Whitening:
        """Fit to ``(M, D)``; keep ``dim`` directions, None: all in which it varies.

        Args:
            background: Of any length.
            dim: At most so many, those of the most variance.
            ridge: Share of the kept directions' mean variance that is added to each, so that what hardly
                varies is not blown up; at least 0.
        """
        mean = background.mean(0, dtype=torch.float64)
        covariance = mean.new_zeros(len(mean), len(mean))
        for block in background.split(_ROWS):
            centred = block.double() - mean
            covariance.addmm_(centred.T, centred, alpha=1 / len(background))
        variance, directions = torch.linalg.eigh(covariance)
        kept = int((variance > 1e-9 * variance[-1]).sum())
        kept = kept if dim is None else min(kept, dim)
        variance, directions = variance[-kept:].flip(0), directions[:, -kept:].flip(1)
        deviation = (variance + ridge * variance.mean()).sqrt()
        return cls(mean.float(), (directions / deviation).float())

    def __call__(self, vectors: Tensor) -> Tensor:
        """Return ``(n, d)`` of unit length of ``(n, D)``."""
        return normalize((vectors.float() - self.mean) @ self.matrix, dim=1)
