"""Precision of losses: float32, whatever surrounds them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def in_float32(loss: Callable[P, R]) -> Callable[P, R]:
    """Let ``loss`` compute in float32, also under autocast and for half-precision tensors.

    bfloat16 keeps 3 digits, too few for sums over a batch. float64 stays float64.
    """

    @wraps(loss)
    def computed(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next((value.device.type for value in args if isinstance(value, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            named = {name: _widened(value) for name, value in kwargs.items()}
            return loss(*map(_widened, args), **named)  # type: ignore[arg-type]

    return computed


def _widened(value: object) -> object:
    if isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16):
        return value.float()
    return value
