"""Contrastive losses by content: rows match where their pictures share contents, not just a partner."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus
from torch.utils.checkpoint import checkpoint

from vergence.losses.contrast import SCORES_AT_ONCE
from vergence.losses.precision import in_float32

_NEVER = -1e30  # a score; an infinite one would give gradients that are not numbers


@in_float32
def content_nce(
    vectors: Tensor, content: Tensor, *, temperature: float, anchors: int | None = None
) -> Tensor:
    """Return the cost of finding each vector's matches among those that share nothing with it.

    Row i matches all other rows with an id in common, P_i; N_i are the rows without one:

        mean_i mean_{j in P_i} -log [ e^{s_ij/t} / (e^{s_ij/t} + Σ_{n in N_i} e^{s_in/t}) ].

    A match is never in the denominator of another. Rows are first scaled to unit length. With two rows an
    id this is ``nt_xent``. Memory grows with the number of rows, not with its square.

    Args:
        vectors: ``(M, D)``.
        content: ``(M, C)`` int64, what each row shows; an id may stand twice in a row.
        temperature: t, divides the cosines; above 0.
        anchors: Only the first so many rows ask, 1 to M; None: all. One without a match costs nothing.

    Returns:
        Scalar, in nats.

    Raises:
        ValueError: If the shapes do not fit, or a number is out of range.

    Source: Pizzi et al. (SSCD), arXiv:2202.10261, Sec. 4.1 and 4.4.

    >>> content_nce(torch.eye(2).repeat(2, 1), torch.tensor([[0], [1], [0], [1]]), temperature=1.0)
    tensor(0.5514)
    """
    asking = check_content("content_nce", vectors, content, anchors)
    if temperature <= 0:
        raise ValueError(f"content_nce needs temperature > 0; got {temperature}.")
    unit = normalize(vectors, dim=1)
    total = unit.new_zeros(())
    blocks = row_blocks(asking, unit)
    for rows in blocks:
        if len(blocks) > 1:  # the scores of a block are computed again in the backward pass, not kept
            total = total + checkpoint(
                _cost, unit, content, rows, temperature, use_reentrant=False, preserve_rng_state=False
            )
        else:
            total = total + _cost(unit, content, rows, temperature)
    return total / asking


def _cost(unit: Tensor, content: Tensor, rows: slice, temperature: float) -> Tensor:
    """Return the summed cost of the rows of a block."""
    scores = unit[rows] @ unit.T / temperature  # (R, M)
    match = shared(content[rows], content)
    others = scores.masked_fill(match, _NEVER).logsumexp(1, keepdim=True)
    match = match.clone()
    match[:, rows].fill_diagonal_(False)  # itself
    cost = softplus(others - scores).where(match, 0).sum(1)
    return (cost / match.sum(1).clamp_min(1)).sum()


def shared(first: Tensor, second: Tensor) -> Tensor:
    """Return ``(n, m)`` bool, whether rows of ids ``(n, C)`` and ``(m, C)`` have one in common."""
    same = torch.zeros(len(first), len(second), dtype=torch.bool, device=first.device)
    for ids in first.unbind(1):
        for others in second.unbind(1):
            same |= ids[:, None] == others
    return same


def row_blocks(rows: int, like: Tensor) -> list[slice]:
    """Divide rows so that the scores of a block against all of ``like (M, D)`` fit in the cache."""
    step = max(1, SCORES_AT_ONCE.get(like.device.type, 2**21) // len(like))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def check_content(name: str, vectors: Tensor, content: Tensor, anchors: int | None) -> int:
    """Return how many rows ask, or raise ``ValueError``."""
    asking = len(vectors) if anchors is None else anchors
    if vectors.ndim != 2 or content.ndim != 2 or len(content) != len(vectors) or not asking >= 1:
        raise ValueError(
            f"{name} needs vectors (M, D) and their ids (M, C), and anchors of 1 or more; "
            f"got {tuple(vectors.shape)}, {tuple(content.shape)} and {anchors}."
        )
    if asking > len(vectors):
        raise ValueError(f"{name} has {len(vectors)} rows; {asking} anchors are more.")
    return asking
