"""Contrast under another kernel than the Gaussian: Kernel-InfoNCE, with memory linear in the batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vergence.losses.contrast import SCORES_AT_ONCE
from vergence.losses.precision import in_float32

NEAREST = 1e-12  # squared distance below which roots have no gradient


@in_float32
def kernel_nce(
    first: Tensor, second: Tensor, *, power: float, temperature: float, anchors: int | None = None
) -> dict[str, Tensor]:
    """Return the two parts of the cost of choosing each vector's other view with chances that a kernel gives.

    Vector i chooses j != i with a chance proportional to k(z_i, z_j) = exp(-|z_i - z_j|^power / temperature),
    among all vectors of both views. Rows are taken as they are. With power 2 and rows of unit length the sum
    is ``nt_xent`` at half the temperature, and the attraction is what spectral clustering minimises:
    2 tr(Zᵀ L Z) / (N temperature), with L the Laplacian of the graph that joins the N / 2 pairs.

    Memory grows with the number of rows, not with its square.

    Args:
        first: ``(M, D)`` with M >= 2, one view.
        second: ``(M, D)``, the other view of the same samples.
        power: Of the distance, in (0, 2]: 2 is the Gaussian, 1 the Laplacian kernel.
        temperature: Divides it; above 0.
        anchors: Only the first so many samples choose, as of ``nt_xent``.

    Returns:
        ``attraction``, the mean of |z_i - z_partner|^power / temperature, and ``repulsion``, the mean of
        log sum_(j != i) k(z_i, z_j), in nats.

    Raises:
        ValueError: If the shapes differ, M < 2, ``power``, ``temperature`` or ``anchors`` is out of range.

    Source: Tan et al., arXiv:2303.15103, Theorem 3.2 and Sec. 5.

    >>> parts = kernel_nce(torch.eye(2), torch.eye(2), power=2.0, temperature=2.0)
    >>> parts["attraction"] + parts["repulsion"]
    tensor(0.5514)
    """
    rows = len(first)
    asking = rows if anchors is None else anchors
    if first.ndim != 2 or first.shape != second.shape or rows < 2 or not 1 <= asking <= rows:
        raise ValueError(
            f"kernel_nce needs two views (M, D) of one shape with M >= 2 and 1 <= anchors <= M; "
            f"got {tuple(first.shape)}, {tuple(second.shape)} and anchors={anchors}."
        )
    if not 0 < power <= 2 or temperature <= 0:
        raise ValueError(
            f"kernel_nce needs power in (0, 2] and temperature > 0; got {power} and {temperature}."
        )
    keys = torch.cat([first, second])
    near = (first[:asking] - second[:asking]).square().sum(dim=1)
    attraction = _root(near, power).mean() / temperature
    one = torch.arange(asking, device=keys.device)
    at_once = max(1, SCORES_AT_ONCE.get(keys.device.type, 2**21) // len(keys))
    sums = []
    for query_start, key_start in ((0, rows), (rows, 0)):
        queries = keys[query_start : query_start + asking]
        for block, pair, index in zip(
            queries.split(at_once), near.split(at_once), one.split(at_once), strict=True
        ):
            given = block, keys, pair, index + query_start, index + key_start, power, temperature
            if 2 * asking <= at_once:
                sums.append(_log_sums(*given))
            else:
                sums.append(checkpoint(_log_sums, *given, use_reentrant=False))
    return {"attraction": attraction, "repulsion": torch.cat(sums).mean()}


def _log_sums(
    block: Tensor,
    keys: Tensor,
    near: Tensor,
    itself: Tensor,
    partner: Tensor,
    power: float,
    temperature: float,
) -> Tensor:
    """Return log sum_(j != i) k_ij of the rows of a block, ``(R,)``."""
    squares = torch.addmm(keys.square().sum(dim=1), block, keys.T, alpha=-2)  # (R, 2M)
    squares = squares + block.square().sum(dim=1, keepdim=True)
    # a product of matrices rounds small distances, those of pairs above all: these are taken as they are
    squares = squares.scatter(1, partner[:, None], near[:, None])
    scores = _root(squares, power) / -temperature
    return scores.scatter(1, itself[:, None], -torch.inf).logsumexp(dim=1)


def _root(squares: Tensor, power: float) -> Tensor:
    """Return |z|^power of |z|²."""
    return squares if power == 2 else squares.clamp_min(NEAREST) ** (power / 2)
