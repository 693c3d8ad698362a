"""Whitening, and the agreement of views whose vectors have been whitened: W-MSE."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.losses.precision import in_float32


@in_float32
def whiten(x: Tensor, *, eps: float = 0.0) -> Tensor:
    """Return rows with mean 0 and covariance I: C⁻¹ (x - mean), where C Cᵀ is the covariance of the rows.

    C is its Cholesky factor, lower triangular. Gradients flow through mean and covariance. Rounding grows
    with the covariance's condition number.

    Args:
        x: ``(..., N, D)`` with N > D; every set of N rows by itself.
        eps: Share of the identity that is mixed into the covariance, in [0, 1).

    Returns:
        ``(..., N, D)``.

    Raises:
        ValueError: If N <= D with ``eps`` 0, N < 2, or the covariance is singular.

    Source: Ermolov et al., arXiv:2007.06346, Eq. 4 and 5, after Siarohin et al., arXiv:1806.00420.
    """
    rows, size = x.shape[-2:]
    if rows < 2 or (eps == 0 and rows <= size) or not 0 <= eps < 1:
        raise ValueError(
            f"whiten needs more rows than features, 2 or more, and eps in [0, 1); got {rows} rows of {size} "
            f"features and eps={eps}. Take more rows or fewer features."
        )
    x = x - x.mean(dim=-2, keepdim=True)
    covariance = (1 - eps) * (x.mT @ x) / (rows - 1) + eps * torch.eye(size, dtype=x.dtype, device=x.device)
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed.any():
        raise ValueError(
            f"whiten cannot divide by a singular covariance of {size} features: some of them always agree. "
            "Take fewer features or eps above 0."
        )
    return torch.linalg.solve_triangular(factor, x.mT, upper=False).mT


@in_float32
def w_mse(views: Tensor, *, size: int, order: Tensor | None = None, eps: float = 0.0) -> Tensor:
    """Return how far apart the whitened views of a sample are: the mean of 2 - 2 cos over all pairs of views.

    The samples are cut into groups of ``size``; each group of each view is whitened by itself, the same
    samples in the same group. Whitened vectors cannot all become one, so that nothing else pushes them apart.

    Args:
        views: ``(V, B, D)``, V >= 2 views of B samples; the rows of all processes.
        size: Samples of a group, above D; what does not fill a group is shared among the others.
        order: ``(B,)`` int64, a permutation: who shares a group. None: as they come.
        eps: As of ``whiten``.

    Returns:
        Scalar in [0, 4].

    Raises:
        ValueError: If there are fewer than two views, or ``whiten`` cannot.

    Source: Ermolov et al., arXiv:2007.06346, Eq. 2, 3 and 6.
    """
    if views.ndim != 3 or len(views) < 2:
        raise ValueError(f"w_mse needs (V, B, D) with V >= 2 views; got {tuple(views.shape)}.")
    samples = views.shape[1]
    if order is not None:
        views = views[:, order]
    groups = views.tensor_split(max(1, samples // size), dim=1)
    unit = normalize(torch.cat([whiten(group, eps=eps) for group in groups], dim=1), dim=2)
    return 2 * unit.var(dim=0).sum(dim=1).mean()  # the mean of |u_i - u_j|² over pairs is twice the variance
