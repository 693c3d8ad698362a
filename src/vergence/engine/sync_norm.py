"""Synchronised batch norm over the batch of all processes, also where torch's own does not run (CPUs)."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from vergence.engine.distributed import world


class SyncBatchNorm(_BatchNorm):
    """Batch norm whose mean and variance are those of all processes' samples together.

    Two processes of batch B normalise, learn and keep running statistics as one process of batch 2B;
    processes may bring different numbers of samples. In evaluation it is ordinary batch norm.

    Args:
        norm: The batch norm it stands in for; parameters and buffers are its own, not copies, and
            so are the activation and dropout that timm's ``BatchNormAct2d`` applies after it.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, affine=False, track_running_stats=False)
        self.affine, self.track_running_stats = norm.affine, norm.track_running_stats
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.drop, self.act = getattr(norm, "drop", None), getattr(norm, "act", None)
        self.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:  # the name is torch's
        if input.ndim < 2:
            raise ValueError(f"Batch norm needs (B, C) or (B, C, ...); got {tuple(input.shape)}.")

    def forward(self, input: Tensor) -> Tensor:  # the name is torch's
        if world() == 1 or not (self.training or self.running_mean is None):
            output = super().forward(input)
        else:
            self._check_input_dim(input)
            output, mean, var, count = _Normalise.apply(input, self.weight, self.bias, self.eps)
            if self.training and self.track_running_stats:
                self._remember(mean, var, count)
        for after in (self.drop, self.act):
            output = output if after is None else after(output)
        return output

    @torch.no_grad()
    def _remember(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((var * count / (count - 1)).to(self.running_var.dtype), share)


class _Normalise(torch.autograd.Function):
    """Forward: ``(x - mean) / std * weight + bias`` with the statistics of all processes.

    Backward: the sum of all processes' gradients with respect to this one's samples. Those of
    weight and bias are this process's share, as of every other parameter.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        over = [d for d in range(x.ndim) if d != 1]
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        own_var, own_mean = torch.var_mean(wide, dim=over, correction=0)
        own = torch.cat([own_mean, own_var, own_mean.new_tensor([x.numel() // x.shape[1]])])
        everyone = [torch.empty_like(own) for _ in range(world())]
        dist.all_gather(everyone, own)
        means, variances, counts = torch.stack(everyone).split([x.shape[1], x.shape[1], 1], dim=1)
        count = counts.sum()
        if count < 2:
            raise ValueError(f"Batch norm needs 2 or more values a channel; got {tuple(x.shape)}.")
        mean = (counts * means).sum(0) / count
        var = (counts * (variances + (means - mean).square())).sum(0) / count
        scale = torch.rsqrt(var + eps)
        unit = (wide - _along(mean, x)) * _along(scale, x)
        ctx.save_for_backward(unit, weight, scale, count)
        ctx.over, ctx.dtype = over, x.dtype
        output = unit if weight is None else unit * _along(weight, x)
        output = output if bias is None else output + _along(bias, x)
        ctx.mark_non_differentiable(mean, var, count)
        return output.to(x.dtype), mean, var, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        unit, weight, scale, count = ctx.saved_tensors
        grad = grad.to(unit.dtype)
        to_bias, to_weight = grad.sum(ctx.over), (grad * unit).sum(ctx.over)
        sums = torch.stack([to_bias, to_weight])
        dist.all_reduce(sums)
        mean, along_unit = sums / count
        scale = scale if weight is None else scale * weight
        to_x = (grad - _along(mean, grad) - unit * _along(along_unit, grad)) * _along(scale, grad)
        if weight is None:
            return to_x.to(ctx.dtype), None, None, None
        return to_x.to(ctx.dtype), to_weight.to(weight.dtype), to_bias.to(weight.dtype), None


def _along(channels: Tensor, x: Tensor) -> Tensor:
    return channels.view(1, -1, *[1] * (x.ndim - 2))


def synchronise_norms(module: nn.Module, device: torch.device) -> nn.Module:
    """Let every batch norm inside ``module`` see the samples of all processes; return the module.

    Parameters, buffers and their names stay as they are. On a GPU torch's own is taken.
    """
    if device.type == "cuda":
        from timm.layers import convert_sync_batchnorm  # torch's loses timm's fused activations

        return convert_sync_batchnorm(module)
    if isinstance(module, _BatchNorm) and not isinstance(module, SyncBatchNorm):
        return SyncBatchNorm(module)
    for name, part in module.named_children():
        if (changed := synchronise_norms(part, device)) is not part:
            setattr(module, name, changed)
    return module
