"""Collectives between processes. Losses stay free of them: a method gathers, then compares."""

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
        by_rank = torch.roll(grad, rank() * ctx.rows, dims=0)
        wide = by_rank.float() if grad.dtype in (torch.bfloat16, torch.float16) else by_rank.contiguous()
        dist.all_reduce(wide)
        return wide[rank() * ctx.rows : (rank() + 1) * ctx.rows].to(grad.dtype)


def gather(x: Tensor) -> Tensor:
    """Return the rows of all processes ``(world * B, ...)``, own rows first, with gradient.

    The gradient is summed over processes, so that with losses averaged over processes (as DDP
    averages gradients) two processes of batch B give what one process gives with batch 2B. Every
    process must bring the same number of rows. One process gets its own tensor back.

    What is equal: losses, gradients, batch norm and buffers, given the same views. What is not: each
    process draws its own augmentations, masks and dropout from (seed, step, rank), so that a run in
    two processes sees the samples of one in the same order, but through other views.
    """
    return x if world() == 1 else _Gather.apply(x)


def gather_in_order(x: Tensor) -> Tensor:
    """Return the rows of all processes ``(world * B, ...)`` in the order of their ranks, with gradient."""
    return torch.roll(gather(x), rank() * len(x), dims=0)


@torch.no_grad()
def gather_by_rank(x: Tensor) -> Tensor:
    """Return the rows of all processes ``(world * B, ...)`` in the order of their ranks, without gradient.

    What all processes remember, such as a queue, so is the same everywhere, its order included.
    """
    return gather_in_order(x)


@torch.no_grad()
def from_first(x: Tensor) -> Tensor:
    """Return process 0's tensor on all processes; each brings one of its shape and type."""
    if world() == 1:
        return x
    sent = x.to("cuda" if dist.get_backend() == "nccl" else x.device, copy=True)
    dist.broadcast(sent, 0)
    return sent.to(x.device)


@torch.no_grad()
def gather_uneven(x: Tensor) -> Tensor:
    """Return the rows of all processes, own rows first, without gradient; numbers of rows may differ."""
    if world() == 1:
        return x
    rows = [torch.empty(1, dtype=torch.int64, device=x.device) for _ in range(world())]
    dist.all_gather(rows, torch.tensor([len(x)], device=x.device))
    counts = [int(n) for n in rows]
    padded = x.new_zeros(max(counts), *x.shape[1:])
    padded[: len(x)] = x
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    cut = [part[:n] for part, n in zip(parts, counts, strict=True)]
    return torch.cat(cut[rank() :] + cut[: rank()])


class StopVote:
    """Whether any process wants to stop: all learn it at the same call.

    Several processes learn it one call late, so that none waits for the others.
    """

    def __init__(self) -> None:
        self.group: Any = dist.new_group(backend="gloo") if world() > 1 else None
        self.flag = torch.zeros(1)
        self.work: dist.Work | None = None

    def __call__(self, wish: bool) -> bool:
        if self.group is None:
            return wish
        if self.work is not None:
            self.work.wait()
        decided = bool(self.flag > 0)
        self.flag = torch.tensor([float(wish)])
        self.work = dist.all_reduce(self.flag, group=self.group, async_op=True)
        return decided


def merged(mine: dict[str, str]) -> dict[str, str]:
    """Return the entries of all processes' dictionaries."""
    if world() == 1:
        return mine
    everyone: list[dict[str, str]] = [{} for _ in range(world())]
    dist.all_gather_object(everyone, mine)
    return {name: value for one in everyone for name, value in one.items()}


@torch.no_grad()
def mean_over_processes(x: Tensor) -> Tensor:
    """Return the mean of ``x`` over processes, without gradient."""
    if world() == 1:
        return x
    total = x.clone()
    dist.all_reduce(total)
    return total / world()


def over_mean(count: Tensor) -> Tensor:
    """Return a count over its mean over processes, 0 where nobody has any.

    A process's own mean of what it counts is multiplied by it: the mean over processes then is that of all.
    """
    return count / mean_over_processes(count).clamp_min(torch.finfo(count.dtype).tiny)


@torch.no_grad()
def follow_mean(mean: Tensor, rows: Tensor, *, keep: float) -> None:
    """Move a running mean ``(D,)``, in place, towards the mean of the rows ``(B, D)`` of all processes.

    It becomes keep * mean + (1 - keep) * their mean. Processes may bring different numbers of rows; where
    none has any, it stays.

    Args:
        mean: The same on all processes.
        rows: Of this process.
        keep: Share of the mean that is kept, in [0, 1].
    """
    count = mean_over_processes(mean.new_tensor(len(rows)))
    seen = mean_over_processes(rows.to(mean.dtype).sum(0)) / count.clamp_min(1e-6)
    mean.lerp_(seen, (1 - keep) * (count > 0).to(mean.dtype))
