"""Scores that mean the same for every query: what is like everything is a copy of nothing.

A smooth or common picture is near to all others, so that one threshold for all queries must be wrong for
it. Pictures that cannot match, the background, tell how near: their similarity is taken off the scores
(Pizzi et al. 2022, arXiv:2202.10261, Sec. 5.4), or their vectors off the vectors (Yokoo 2021,
arXiv:2112.04323, Sec. 3.3). The background must come from elsewhere, never from the gallery.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from vergence.use.search import topk


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
