"""Walks through frames: chances of a step from token to token, and the cost of not coming home."""

from __future__ import annotations

import torch
from torch import Tensor

from vergence.losses.precision import in_float32

CUT = -1e20  # score of an edge that is dropped; were it infinite, a row without edges would be no number
_TINY = 1e-20


@in_float32
def step_chances(scores: Tensor, *, temperature: float, dropout: float = 0.0) -> Tensor:
    """Return the chances of a step from each row to each column, ``(..., N, M)``.

    Args:
        scores: ``(..., N, M)``, how alike two tokens are.
        temperature: Divides them; above 0.
        dropout: Share of edges that are cut, drawn with torch's generator; in [0, 1).

    Raises:
        ValueError: If ``temperature`` or ``dropout`` is out of range.
    """
    if temperature <= 0 or not 0 <= dropout < 1:
        raise ValueError(
            f"step_chances needs temperature > 0 and dropout in [0, 1); got {temperature} and {dropout}."
        )
    if dropout:
        scores = scores.masked_fill(torch.rand_like(scores) < dropout, CUT)
    return (scores / temperature).softmax(-1)


@in_float32
def round_trips(frames: Tensor, *, temperature: float, dropout: float = 0.0) -> list[Tensor]:
    """Return the chances of walks that go k frames on and the same way back, for k from 1 to T - 1.

    Each step is a softmax over rows: that of a step back is of the transposed scores, not the transpose of
    the softmax, and its edges are dropped on their own.

    Args:
        frames: ``(B, T, N, D)`` tokens, T of 2 or more.
        temperature: As of ``step_chances``.
        dropout: As of ``step_chances``.

    Returns:
        T - 1 of ``(B, N, N)``: row i is where a walk that began at token i ends.

    Source: Jabri, Owens, Efros 2020, arXiv:2006.14613, Eq. 3 and 4.
    """
    scores = frames[:, :-1] @ frames[:, 1:].mT
    on = step_chances(scores, temperature=temperature, dropout=dropout)
    back = step_chances(scores.mT, temperature=temperature, dropout=dropout)
    reached, home = on[:, 0], back[:, 0]
    trips = [reached @ home]
    for k in range(1, scores.shape[1]):
        reached, home = reached @ on[:, k], back[:, k] @ home
        trips.append(reached @ home)
    return trips


@in_float32
def one_after_the_other(first: Tensor, second: Tensor) -> Tensor:
    """Return the chances of two steps, ``(B, N, M)``, from those of each, ``(B, N, K)`` and ``(B, K, M)``."""
    return first @ second


@in_float32
def arrival_nce(
    chances: Tensor, home: Tensor, valid: Tensor | None = None, *, floor: float = _TINY
) -> Tensor:
    """Return the mean of -log of the chances to arrive at ``home``.

    Args:
        chances: ``(..., N, M)``, rows add up to 1.
        home: ``(..., N)`` int64, where each walk is to end.
        valid: ``(..., N)`` bool, the walks that count; None counts all.
        floor: Added to chances under the logarithm.

    Returns:
        Scalar, in nats; chances spread evenly give log M. 0 where no walk counts.

    >>> arrival_nce(torch.full((1, 2, 4), 0.25), torch.tensor([[0, 3]]))
    tensor(1.3863)
    """
    cost = -(chances.gather(-1, home[..., None])[..., 0] + floor).log()
    if valid is None:
        return cost.mean()
    return (cost * valid).sum() / valid.sum().clamp_min(1)
