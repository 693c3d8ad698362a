"""Diffusion: what noise does to a picture by step t, the loss that undoes it, and the steps of DDIM."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def kept(steps: int = 1000, *, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """Return the share of a picture's variance that is left after step t, ``(steps,)`` in float64.

    ᾱ_t = Π (1 - β_s) with β from ``first`` to ``last`` in a line (Ho et al. 2020, arXiv:2006.11239, Sec. 4).
    """
    return (1 - torch.linspace(first, last, steps, dtype=torch.float64)).cumprod(0)


def noised(x: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """Draw from q(x_t | x_0): √ᾱ x + √(1 - ᾱ) ε.

    Args:
        x: Pictures ``(B, ...)``.
        noise: ε, of that shape.
        share: ᾱ_t of each picture, ``(B,)``.
    """
    share = share.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
    return share.sqrt() * x + (1 - share).sqrt() * noise


def epsilon_loss(predicted: Tensor, noise: Tensor) -> Tensor:
    """Return the mean squared error of the noise for each picture, ``(B,)``; predicting zero costs 1."""
    return (predicted - noise).square().flatten(1).mean(1)


def guided(with_caption: Tensor, without: Tensor, scale: float) -> Tensor:
    """Move the noise away from what no caption predicts (Ho, Salimans 2022, arXiv:2207.12598).

    ``scale`` 1 is the prediction with the caption, 0 that without.
    """
    return without + scale * (with_caption - without)


def ddim_step(x: Tensor, predicted: Tensor, share: Tensor, target: Tensor) -> Tensor:
    """Move pictures from one share of variance to another without chance: η = 0.

    Song et al. 2021, arXiv:2010.02502, Eq. 12: x̂_0 = (x - √(1 - ᾱ) ε) / √ᾱ, noised again to the other share
    with the same ε. It goes both ways: towards pictures, and back to their noise.
    """
    clean = (x - (1 - share).sqrt() * predicted) / share.sqrt()
    return target.sqrt() * clean + (1 - target).sqrt() * predicted


def ddim(
    x: Tensor,
    predict: Callable[[Tensor, int], Tensor],
    shares: Tensor,
    times: list[int],
    *,
    invert: bool = False,
) -> Tensor:
    """Follow DDIM from noise to pictures, or from pictures to their noise.

    Args:
        x: ``(B, C, H, W)``.
        predict: Returns ε of pictures at a time.
        shares: ᾱ of every time ``(T,)``.
        times: The times on the way, from small to large.
        invert: Whether to go from the picture to its noise.
    """
    one = torch.ones((), dtype=shares.dtype)
    ways = [one, *(shares[t] for t in times)]  # before the first time stands the clean picture
    for k in range(len(times)) if invert else reversed(range(len(times))):
        start, end = (ways[k], ways[k + 1]) if invert else (ways[k + 1], ways[k])
        x = ddim_step(x, predict(x, times[k]), start.to(x), end.to(x))
    return x
