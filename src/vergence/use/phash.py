"""Perceptual hash: 64 bits of a picture's coarse waves. No learning; what copy detection has to beat."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vergence.losses.precision import in_float32

_SIDE, _KEPT = 32, 8  # pixels of the small picture, waves along each of its axes
_LUMA = (0.299, 0.587, 0.114)


@in_float32
def perceptual_hash(pixels: Tensor) -> Tensor:
    """Return 64 signs of each picture, ``(B, 64)`` of -1 and 1.

    The grey picture at 32 x 32 is turned into cosines; of the 8 x 8 slowest, each is above or below their
    median (the constant one is not counted in it). Cosines of hashes are 1 - d/32 for d different bits, so
    that ``search`` ranks by Hamming distance.

    Args:
        pixels: ``(B, 3, H, W)``, in any unit.

    Source: Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions, Sec. 3.2.1.
    """
    x = pixels.float()
    grey = torch.einsum("c,bchw->bhw", x.new_tensor(_LUMA), x)[:, None]
    small = interpolate(grey, (_SIDE, _SIDE), mode="bilinear", antialias=True)[:, 0]
    at = torch.arange(_SIDE, device=x.device, dtype=x.dtype)
    turn = torch.cos(math.pi / _SIDE * at[:_KEPT, None] * (at + 0.5))  # (8, 32)
    slow = (turn @ small @ turn.T).flatten(1)
    return torch.where(slow > slow[:, 1:].median(1, keepdim=True).values, 1.0, -1.0)
