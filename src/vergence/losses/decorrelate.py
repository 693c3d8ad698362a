"""Decorrelation losses, VICReg and Barlow Twins: views agree, every feature varies, no two say the same."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, normalize, relu

from vergence.losses.precision import in_float32


@in_float32
def variance_hinge(x: Tensor, *, target: float = 1.0, eps: float = 1e-4) -> Tensor:
    """Return the mean over features of how far the standard deviation falls short of ``target``.

    Args:
        x: ``(B, D)`` with B >= 2.
        target: Wanted standard deviation, not negative.
        eps: Added to the variance, so that the root has a gradient at 0.

    Source: Bardes et al. (VICReg), arXiv:2105.04906, Eq. 1 and 2.
    """
    _check_rows("variance_hinge", x)
    return relu(target - (x.var(dim=0) + eps).sqrt()).mean()


@in_float32
def covariance_penalty(x: Tensor) -> Tensor:
    """Return the sum of the squared covariances between different features, over their number D.

    Args:
        x: ``(B, D)`` with B >= 2.

    Source: Bardes et al. (VICReg), arXiv:2105.04906, Eq. 3 and 4.
    """
    _check_rows("covariance_penalty", x)
    x = x - x.mean(dim=0)
    return _cross_square(x, x) / (len(x) - 1) ** 2 / x.shape[1]


@in_float32
def vicreg(
    first: Tensor,
    second: Tensor,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    eps: float = 1e-4,
) -> dict[str, Tensor]:
    """Return VICReg's three weighted terms, ready to be summed.

    Args:
        first: ``(B, D)`` with B >= 2, one view; the rows of all processes.
        second: ``(B, D)``, the other view of the same samples.
        invariance: Weight of the squared difference, a mean over rows and features (Algorithm 1;
            Eq. 5 sums over features).
        variance: Weight of the two views' hinges on the standard deviation, summed.
        covariance: Weight of the two views' squared covariances, summed.
        eps: Added to the variances.

    Returns:
        ``invariance``, ``variance`` and ``covariance``, scalars.

    Raises:
        ValueError: If the shapes differ or B < 2.

    Source: Bardes et al., arXiv:2105.04906, Eq. 6 and Algorithm 1. The released code halves
    the variance term.
    """
    _check_pair("vicreg", first, second)
    spread = variance_hinge(first, eps=eps) + variance_hinge(second, eps=eps)
    return {
        "invariance": invariance * mse_loss(first, second),
        "variance": variance * spread,
        "covariance": covariance * (covariance_penalty(first) + covariance_penalty(second)),
    }


@in_float32
def barlow_twins(
    first: Tensor, second: Tensor, *, weight: float = 5e-3, eps: float = 1e-5
) -> dict[str, Tensor]:
    """Return Barlow Twins' two terms: the views' cross-correlation matrix is to be the identity.

    Args:
        first: ``(B, D)`` with B >= 2, one view; the rows of all processes.
        second: ``(B, D)``, the other view of the same samples.
        weight: Of the off-diagonal part, λ in Eq. 1.
        eps: Added to the variances, so that a constant feature gives no infinity.

    Returns:
        ``invariance``, sum_i (1 - C_ii)^2, and ``redundancy``, weight times sum_(i != j) C_ij^2.

    Raises:
        ValueError: If the shapes differ or B < 2.

    Source: Zbontar et al., arXiv:2103.03230, Eq. 1 and 2.
    """
    _check_pair("barlow_twins", first, second)
    first, second = _standard(first, eps), _standard(second, eps)
    return {
        "invariance": (1 - (first * second).mean(dim=0)).square().sum(),
        "redundancy": weight * _cross_square(first, second) / len(first) ** 2,
    }


@in_float32
def cross_correlation_gap(
    first_target: Tensor, second_target: Tensor, first: Tensor, second: Tensor, *, eps: float = 1e-12
) -> Tensor:
    """Return how far the cosines C between a teacher's features and a student's are from the identity.

    Columns are scaled to unit length, not centred. Each view's targets meet the other view's vectors, and
    squares are averaged over both meetings before a root is taken.

    Args:
        first_target: ``(B, D)`` with B, D >= 2, the teacher's vectors of one view.
        second_target: ``(B, D)``, of the other view.
        first: ``(B, D)``, the student's vectors of the one view.
        second: ``(B, D)``, of the other view.
        eps: Added below the roots, which so have a gradient at 0.

    Returns:
        Scalar: the mean of two roots of mean squares, of 1 - C_ii and of C_ij, i != j. 0 where C is 1.

    Raises:
        ValueError: If the shapes differ, B < 2 or D < 2.

    Source: Estepa et al. (All4One), arXiv:2303.09417, the feature contrast; in their code, ten times this.
    """
    pairs = ((first_target, second), (second_target, first))
    for target, vector in pairs:
        _check_pair("cross_correlation_gap", target, vector)
    size = first.shape[1]
    if size < 2:
        raise ValueError("cross_correlation_gap needs 2 features or more; got 1.")
    units = [(normalize(target, dim=0), normalize(vector, dim=0)) for target, vector in pairs]
    equal = torch.stack([(1 - (a * b).sum(0)).square().mean() for a, b in units]).mean()
    apart = torch.stack([_cross_square(a, b) / (size * (size - 1)) for a, b in units]).mean()
    return ((equal + eps).sqrt() + (apart.clamp_min(0) + eps).sqrt()) / 2


def _standard(x: Tensor, eps: float) -> Tensor:
    x = x - x.mean(dim=0)
    return x * torch.rsqrt(x.square().mean(dim=0) + eps)


def _cross_square(first: Tensor, second: Tensor) -> Tensor:
    """Return the sum over features i != j of the squared products of columns, (first_i · second_j)²."""
    rows, size = first.shape
    if size == 1:
        return first.sum() * 0
    if size < 2 * rows or first.device.type == "mps":  # which has no float64
        matrix = first.T @ second  # (D, D)
        # All but the last entry, cut into rows of D + 1, has the diagonal as its first column.
        return matrix.flatten()[:-1].view(size - 1, size + 1)[:, 1:].square().sum()
    # |A^T B|² = sum of A A^T * B B^T: B x B in place of D x D. In float64, as the diagonal is subtracted.
    a, b = first.double(), second.double()
    every = ((a @ a.T) * (b @ b.T)).sum()
    return (every - (a * b).sum(dim=0).square().sum()).to(first.dtype)


def _check_rows(name: str, x: Tensor) -> None:
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"{name} needs (B, D) with B >= 2 samples; got {tuple(x.shape)}.")


def _check_pair(name: str, first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or first.ndim != 2 or len(first) < 2:
        raise ValueError(
            f"{name} needs two views of one shape (B, D) with B >= 2; "
            f"got {tuple(first.shape)} and {tuple(second.shape)}."
        )
