"""Kernel statistics of samples: uniformity, MMD and HSIC, with memory linear in the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import normalize

from vergence.losses.contrast import SIDE
from vergence.losses.precision import in_float32


@in_float32
def uniformity(x: Tensor, *, t: float = 2.0) -> Tensor:
    """Return the log of the mean of exp(-t |x_i - x_j|²) over all pairs of different rows.

    Rows are first scaled to unit length.

    Args:
        x: ``(N, D)`` with N >= 2.
        t: Above 0.

    Returns:
        Scalar in [-4t, 0]; 0 where all rows are the same, near -2t where they are spread evenly over
        a sphere of many dimensions.

    Raises:
        ValueError: If there are fewer than two rows or ``t`` is not positive.

    Source: Wang & Isola, arXiv:2005.10242, Sec. 4.1.2.

    >>> uniformity(torch.eye(2))
    tensor(-4.)
    """
    if x.ndim != 2 or len(x) < 2 or t <= 0:
        raise ValueError(f"uniformity needs (N, D) with N >= 2 and t > 0; got {tuple(x.shape)} and t={t}.")
    total = _gaussians(normalize(x, dim=1) * (2 * t) ** 0.5, None)
    return (total / (len(x) * (len(x) - 1))).log()


@in_float32
def mmd(x: Tensor, y: Tensor, *, width: float, unbiased: bool = True) -> Tensor:
    """Return the squared maximum mean discrepancy between two samples under a Gaussian kernel.

    The kernel is exp(-|a - b|² / (2 width²)).

    Args:
        x: ``(N, D)``.
        y: ``(M, D)``.
        width: Of the kernel, in the unit of the rows; above 0.
        unbiased: Leave out each row's kernel with itself. The result may then be below 0.

    Returns:
        Scalar.

    Raises:
        ValueError: If widths differ, a sample has too few rows (2 unbiased, else 1) or ``width`` is
            not positive.

    Source: Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012), Eq. 3 and 5.
    """
    least = 2 if unbiased else 1
    if x.ndim != 2 or x.shape[1:] != y.shape[1:] or min(len(x), len(y)) < least or width <= 0:
        raise ValueError(
            f"mmd needs x (N, D) and y (M, D) with N, M >= {least} and width > 0; "
            f"got {tuple(x.shape)}, {tuple(y.shape)} and width={width}."
        )
    n, m = len(x), len(y)
    # A shift of both changes no distance, but large numbers would drown small ones.
    centre = torch.cat([x, y]).detach().mean(dim=0)
    x, y = (x - centre) / width, (y - centre) / width
    between = 2 * _gaussians(x, y) / (n * m)
    if unbiased:
        return _gaussians(x, None) / (n * (n - 1)) + _gaussians(y, None) / (m * (m - 1)) - between
    return (_gaussians(x, None) + n) / n**2 + (_gaussians(y, None) + m) / m**2 - between


@in_float32
def hsic(
    x: Tensor, y: Tensor, *, widths: tuple[float, float] | None = None, unbiased: bool = False
) -> Tensor:
    """Return the Hilbert-Schmidt independence criterion between two variables measured together.

    Args:
        x: ``(N, D)``.
        y: ``(N, E)``, row i seen together with row i of ``x``.
        widths: Of the Gaussian kernels exp(-|a - b|² / (2 width²)) of x and y, each above 0. None
            takes the products a · b: the squared covariances between features of x and of y, summed.
        unbiased: Take HSIC_1, which is 0 on average for independent variables and may fall below 0.

    Returns:
        Scalar.

    Raises:
        ValueError: If the rows differ in number or are too few (2, unbiased 4), or a width is not
            positive.

    Source: Gretton et al., Measuring Statistical Dependence with Hilbert-Schmidt Norms (2005), Def. 2;
    unbiased: Song et al., Feature Selection via Dependence Maximization, JMLR 13 (2012), Eq. 5.
    """
    least = 4 if unbiased else 2
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < least:
        raise ValueError(
            f"hsic needs x (N, D) and y (N, E) with N >= {least}; got {tuple(x.shape)} and {tuple(y.shape)}."
        )
    if widths is not None and min(widths) <= 0:
        raise ValueError(f"hsic needs widths above 0; got {widths}.")
    n = len(x)
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)  # changes neither kernel's centred form
    if widths is None and x.shape[1] * y.shape[1] <= n * n:
        squares = (x.T @ y).square().sum()
        if not unbiased:
            return squares / (n - 1) ** 2
        p, q = x.square().sum(dim=1), y.square().sum(dim=1)
        rest = p.sum() * q.sum() / ((n - 1) * (n - 2)) - (p * q).sum() * n / (n - 2)
        return (squares + rest) / (n * (n - 3))
    wanted = torch.is_grad_enabled() and (x.requires_grad or y.requires_grad)
    if widths is not None:
        x, y = x / widths[0], y / widths[1]
    return _HSIC.apply(x, y, widths is not None, unbiased, wanted)


def _gaussians(x: Tensor, y: Tensor | None) -> Tensor:
    """Return the sum of exp(-|x_i - y_j|² / 2) over all i and j; without y of x_i, x_j over all i != j."""
    wanted = torch.is_grad_enabled() and (x.requires_grad or (y is not None and y.requires_grad))
    return _Gaussians.apply(x, y, wanted)


class _Gaussians(torch.autograd.Function):
    """A sum of kernels and its gradients, a square of pairs at a time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor | None, wanted: bool) -> Tensor:
        other = x if y is None else y
        toward_x = torch.zeros_like(x)
        toward_y = toward_x if y is None else torch.zeros_like(y)
        total = x.new_zeros(())
        for rows, columns in _squares(len(x), len(other), x.device.type, mirrored=y is None):
            a, b = x[rows], other[columns]
            k = _gaussian(a, b)
            itself = y is None and rows == columns  # holds each pair twice
            if itself:
                k.fill_diagonal_(0)
            total += k.sum() * (2 if y is None and not itself else 1)
            if wanted:
                toward_x[rows] += k @ b - a * k.sum(dim=1, keepdim=True)
                if not itself:
                    toward_y[columns] += k.T @ a - b * k.sum(dim=0)[:, None]
        if y is None:
            ctx.save_for_backward(2 * toward_x)  # x_i stands first in a pair, and second in another
        else:
            ctx.save_for_backward(toward_x, toward_y)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        toward = [grad * upstream for grad in ctx.saved_tensors]
        return toward[0], toward[1] if len(toward) == 2 else None, None


class _HSIC(torch.autograd.Function):
    """The product of two centred kernel matrices, a square at a time.

    The first sweep takes the means that centre the matrices. Centring is a projection, so that the
    gradient of one matrix is the other one, centred: the second sweep takes both sum and gradients.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, gaussian: bool, unbiased: bool, wanted: bool) -> Tensor:
        n = len(x)
        kernel = _gaussian if gaussian else _product
        sums = _HSIC.row_sums(kernel, x, y, unbiased)
        count = n - 2 if unbiased else n  # with the diagonal away, rows are centred by U-statistics
        middle = [own.sum() / (count * (n - 1 if unbiased else n)) for own in sums]
        means = [own / count for own in sums]
        toward = (torch.zeros_like(x), torch.zeros_like(y))
        total = x.new_zeros(())
        for rows, columns in _squares(n, n, x.device.type, mirrored=True):
            plain = [kernel(values[rows], values[columns]) for values in (x, y)]
            centred = [
                k - own[rows, None] - own[columns] + mean
                for k, own, mean in zip(plain, means, middle, strict=True)
            ]
            if unbiased and rows == columns:
                for k in centred:
                    k.fill_diagonal_(0)
            total += (centred[0] * centred[1]).sum() * (1 if rows == columns else 2)
            for grad, values, k, slope in zip(toward, (x, y), plain, reversed(centred), strict=True):
                if not wanted:
                    break
                a, b = values[rows], values[columns]
                weight = slope * k if gaussian else slope
                grad[rows] += weight @ b - (a * weight.sum(dim=1, keepdim=True) if gaussian else 0)
                if rows != columns:
                    grad[columns] += weight.T @ a - (b * weight.sum(dim=0)[:, None] if gaussian else 0)
        over = n * (n - 3) if unbiased else (n - 1) ** 2
        ctx.save_for_backward(*(grad * (2 / over) for grad in toward))
        return total / over

    @staticmethod
    def row_sums(
        kernel: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, unbiased: bool
    ) -> list[Tensor]:
        """Return the sums of the rows of both kernel matrices, ``(n,)`` each; unbiased without diagonals."""
        n = len(x)
        sums = [x.new_zeros(n), y.new_zeros(n)]
        for rows, columns in _squares(n, n, x.device.type, mirrored=True):
            for own, values in zip(sums, (x, y), strict=True):
                k = kernel(values[rows], values[columns])
                if rows != columns:
                    own[columns] += k.sum(dim=0)
                elif unbiased:
                    k.fill_diagonal_(0)
                own[rows] += k.sum(dim=1)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return *(grad * upstream for grad in ctx.saved_tensors), None, None, None


def _gaussian(a: Tensor, b: Tensor) -> Tensor:
    """Return exp(-|a_i - b_j|² / 2)."""
    k = a @ b.T
    k -= a.square().sum(dim=1, keepdim=True) / 2
    k -= b.square().sum(dim=1) / 2
    return k.clamp_(max=0).exp_()


def _product(a: Tensor, b: Tensor) -> Tensor:
    return a @ b.T


def _squares(rows: int, columns: int, device: str, *, mirrored: bool) -> Iterator[tuple[slice, slice]]:
    """Yield the squares of a matrix; of a symmetric one those on and above its diagonal."""
    side = SIDE.get(device, 512)
    for top in range(0, rows, side):
        for left in range(top if mirrored else 0, columns, side):
            yield slice(top, min(top + side, rows)), slice(left, min(left + side, columns))
