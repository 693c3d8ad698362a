"""Ridge regression on frozen features, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STRENGTHS = tuple(10.0**-i for i in range(7))  # strong to weak, as shares of the mean variance


@dataclass(frozen=True)
class Ridge:
    """A fitted regression.

    Args:
        weight: ``(D, C)``.
        bias: ``(C,)``.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``(..., C)`` of features ``(..., D)``."""
        return (x.to(self.weight) @ self.weight + self.bias).to(x.dtype)


def fit_ridge(x: Tensor, y: Tensor, aside: Tensor) -> Ridge:
    """Fit y by a linear map of x, with the strength that does best on the rows ``aside``, then on all rows.

    Args:
        x: ``(n, D)`` features.
        y: ``(n, C)`` what they are to tell.
        aside: ``(n,)`` bool, rows that choose the strength; both kinds there, else the strongest is taken.
    """
    x, y = x.double(), y.double()
    best, chosen = torch.inf, STRENGTHS[0]
    if aside.any() and not aside.all():
        for strength in STRENGTHS:
            error = (_solve(x[~aside], y[~aside], strength)(x[aside]) - y[aside]).square().mean().item()
            if error < best:
                best, chosen = error, strength
    return _solve(x, y, chosen)


def _solve(x: Tensor, y: Tensor, strength: float) -> Ridge:
    mean, level = x.mean(0), y.mean(0)
    gram = (x - mean).T @ (x - mean) / len(x)
    gram.diagonal().add_(strength * gram.diagonal().mean() + 1e-12)
    weight = torch.linalg.solve(gram, (x - mean).T @ (y - level) / len(x))
    return Ridge(weight, level - mean @ weight)
