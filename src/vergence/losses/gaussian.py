"""Vectors that look Gaussian from every side: the Epps-Pulley test along random directions (SIGReg)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import normalize

from vergence.losses.precision import in_float32

AT_ONCE = {"cpu": 2**18, "cuda": 2**25}  # numbers along directions that are held at a time


def random_directions(size: int, count: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Return ``(size, count)``: unit columns, evenly drawn from the sphere.

    Args:
        size: Width of the vectors that are looked at, D.
        count: Directions, S.
        generator: Of the CPU; processes that give the same one draw the same.
    """
    return normalize(torch.randn(size, count, generator=generator), dim=0)


@in_float32
def sigreg(x: Tensor, directions: Tensor, *, knots: int = 17, reach: float = 3.0) -> Tensor:
    """Return how far vectors are from a standard normal cloud, seen along directions.

    Along a direction a, B numbers s_n = a · x_n have the characteristic function mean_n exp(i t s_n), and a
    standard normal number has exp(-t²/2). Their squared distance, weighted by exp(-t²/2), is integrated over
    -reach < t < reach by trapezoids and multiplied by B; directions are averaged. Time grows with B x S x
    knots, and memory with B x D + S x D: neither with B².

    Args:
        x: ``(B, D)``; the rows of all processes.
        directions: ``(D, S)``, unit columns, as of ``random_directions``.
        knots: Points t in [0, reach], 2 or more; the other half mirrors them.
        reach: Largest t, above 0.

    Returns:
        Scalar, not negative; about 1 for B normal vectors, whatever B is, and it grows with B for others.

    Raises:
        ValueError: If the shapes do not fit, or there are fewer knots or no reach.

    Source: Balestriero and LeCun (LeJEPA), arXiv:2511.08544, Algorithm 1; Epps and Pulley 1983.

    >>> x = torch.tensor([[-1.0], [1.0]])  # a distribution of two points
    >>> sigreg(x, torch.ones(1, 1)), sigreg(0 * x, torch.ones(1, 1))
    (tensor(0.2057), tensor(0.8041))
    """
    fits = x.ndim == directions.ndim == 2 and x.shape[1] == len(directions)
    if not fits or not x.numel() or not directions.numel():
        raise ValueError(
            f"sigreg needs (B, D) and directions (D, S), none of them empty; "
            f"got {tuple(x.shape)} and {tuple(directions.shape)}."
        )
    if knots < 2 or reach <= 0:
        raise ValueError(f"sigreg needs 2 knots or more and a reach above 0; got {knots} and {reach}.")
    wanted = torch.is_grad_enabled() and x.requires_grad
    return _Test.apply(x, directions.to(x.dtype), knots, reach / (knots - 1), wanted)


class _Test(torch.autograd.Function):
    """The statistic, some directions at a time.

    exp(i k w s) is exp(i w s) multiplied by itself, so that sine and cosine are taken once for all knots; and
    as the gap at a knot is known before the next, the gradient is summed in the same sweep.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, directions: Tensor, knots: int, step: float, wanted: bool) -> Tensor:
        toward = torch.zeros_like(x) if wanted else None
        total = x.new_zeros(())
        for block in directions.split(max(1, AT_ONCE.get(x.device.type, 2**18) // len(x)), dim=1):
            angle = step * (x @ block)  # (B, s): w s_n
            turn = torch.complex(angle.cos(), angle.sin())
            wave, pull = torch.ones_like(turn), torch.zeros_like(turn)
            for k in range(1, knots):  # at t = 0 both functions are 1
                wave = wave * turn
                normal = math.exp(-((k * step) ** 2) / 2)
                weight = step * normal * (1 if k == knots - 1 else 2)  # both halves; the ends count half
                gap = wave.mean(0) - normal  # (s,)
                total += weight * (gap.real.square() + gap.imag.square()).sum()
                if wanted:
                    pull += (weight * k) * gap.conj() * wave
            if toward is not None:
                # d|gap|²/d(w s_n) = -2 k Im(gap* wave_n) / B, and the B of the statistic cancels
                toward.addmm_(pull.imag, block.T, alpha=-2 * step)
        ctx.save_for_backward(toward)
        ctx.count = directions.shape[1]
        return total * len(x) / ctx.count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (toward,) = ctx.saved_tensors
        return upstream / ctx.count * toward, None, None, None, None
