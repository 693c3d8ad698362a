"""What processes tell each other. Losses stay free of it: a method gathers, then compares."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> int:
    """Return the number of processes, 1 without ``torch.distributed``."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


class _Gather(torch.autograd.Function):
    """Forward: every process's rows, own rows first. Backward: the sum of all processes' gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(world())]
        dist.all_gather(parts, x.contiguous())
        ctx.rows = len(x)
        return torch.cat(parts[rank() :] + parts[: rank()])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        by_rank = torch.roll(grad, rank() * ctx.rows, dims=0).contiguous()
        dist.all_reduce(by_rank)
        return by_rank[rank() * ctx.rows : (rank() + 1) * ctx.rows]


def gather(x: Tensor) -> Tensor:
    """Return the rows of all processes ``(world * B, ...)``, own rows first, with gradient.

    The gradient is summed over processes, so that with losses averaged over processes (as DDP
    averages gradients) two processes of batch B give what one process gives with batch 2B. Every
    process must bring the same number of rows. One process gets its own tensor back.
    """
    return x if world() == 1 else _Gather.apply(x)


@torch.no_grad()
def mean_over_processes(x: Tensor) -> Tensor:
    """Return the mean of ``x`` over processes, without gradient."""
    if world() == 1:
        return x
    total = x.clone()
    dist.all_reduce(total)
    return total / world()
