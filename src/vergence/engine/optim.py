"""Optimizers, parameter groups and the learning rate of every step, as a ``Recipe`` says."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vergence.core import Clock, Method, Recipe


class LARS(torch.optim.Optimizer):
    """SGD with a rate a layer: ``trust * |w| / |g + wd * w|`` (You et al. 2017, arXiv:1708.03888).

    Parameters of groups with ``adapt=False`` (biases and norms) get plain SGD, as SimCLR and BYOL do.

    Args:
        params: Parameters or groups.
        lr: Learning rate, above 0.
        momentum: In [0, 1).
        weight_decay: Added to the gradient before its norm is taken.
        trust: Trust coefficient, above 0.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "adapt": True,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                update = p.grad.add(p, alpha=group["weight_decay"])
                if group["adapt"]:
                    weight_norm, update_norm = p.norm(), update.norm()
                    ratio = group["trust"] * weight_norm / update_norm
                    usable = (weight_norm > 0) & (update_norm > 0)
                    update.mul_(torch.where(usable, ratio, torch.ones_like(ratio)))
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].mul_(group["momentum"]).add_(update)
                p.add_(state["momentum"], alpha=-group["lr"])
        return loss


MASK_TOKEN = "mask_token"  # a method's own: it stands where patch embeddings do, so it is of the first layer
FIRST = rf"patch_embed|pos_embed|cls_token|reg_token|\bregisters\b|{MASK_TOKEN}"


def _layer(name: str, depth: int) -> int:
    """Return how deep an encoder parameter lies: 0 the embedding, ``depth + 1`` after the last block."""
    block = re.search(r"blocks\.(\d+)\.", name)
    if block:
        return int(block.group(1)) + 1
    return 0 if re.search(FIRST, name) else depth + 1


def parameter_groups(
    method: Method, recipe: Recipe, of: Callable[[Tensor], bool] | None = None
) -> list[dict[str, Any]]:
    """Split the trainable parameters by weight decay and layer-wise rate.

    Vectors (biases, norms), unless ``decay_vectors``, and what ``method.no_decay()`` names are spared from
    decay; with ``layer_decay < 1`` an encoder parameter's rate is ``layer_decay ** (layers above it)``, and
    that of a patch embedding ``patch_rate`` times as much.

    Args:
        method: Whose parameters.
        recipe: Says ``layer_decay``, ``patch_rate`` and ``decay_vectors``.
        of: Which parameters; None takes all.
    """
    blocks = [
        int(m.group(1))
        for n, _ in method.encoder.named_parameters()
        if (m := re.search(r"blocks\.(\d+)\.", n))
    ]
    depth = max(blocks, default=-1) + 1
    spared = method.no_decay()
    groups: dict[tuple[bool, float], list[Tensor]] = {}
    for name, p in method.named_parameters():
        if not p.requires_grad or not (of is None or of(p)):
            continue
        decays = (p.ndim > 1 or recipe.decay_vectors) and name not in spared
        in_encoder = name.startswith("encoder.") or name == MASK_TOKEN
        scale = recipe.layer_decay ** (depth + 1 - _layer(name, depth)) if in_encoder else 1.0
        if in_encoder and "patch_embed" in name:
            scale *= recipe.patch_rate
        groups.setdefault((decays, scale), []).append(p)
    return [
        {"params": params, "decays": decays, "adapt": decays, "scale": scale}
        for (decays, scale), params in groups.items()
    ]


def optimizer(
    method: Method, recipe: Recipe, of: Callable[[Tensor], bool] | None = None
) -> torch.optim.Optimizer:
    """Build the recipe's optimizer over the method's trainable parameters; see ``parameter_groups``."""
    groups = parameter_groups(method, recipe, of)
    lr = recipe.lr
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=recipe.momentum, nesterov=recipe.nesterov)
    if recipe.optimizer == "lars":
        return LARS(groups, lr=lr, momentum=recipe.momentum)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=lr, betas=recipe.betas, weight_decay=0.0)


def rate_scale(recipe: Recipe, batch_size: int) -> float:
    """Return by what the recipe's rates are multiplied at a batch of ``batch_size``."""
    share = batch_size / recipe.batch
    return {"linear": share, "sqrt": math.sqrt(share), "none": 1.0}[recipe.lr_scaling]


def learning_rate(recipe: Recipe, clock: Clock, batch_size: int) -> float:
    """Return the rate of the step about to be taken.

    The recipe's rate is scaled from ``recipe.batch`` to ``batch_size``, rises linearly over the
    warm-up and then follows the schedule down (cosine: to ``min_lr`` at the end).
    """
    scale = rate_scale(recipe, batch_size)
    peak = recipe.lr * scale
    warm = min(int(recipe.warmup * clock.steps_per_epoch), clock.total // 2)
    if clock.step < warm:
        return peak * (clock.step + 1) / (warm + 1)
    progress = (clock.step - warm) / max(1, clock.total - warm)
    if recipe.schedule == "cosine":
        last = min(peak, recipe.min_lr * scale)
        return last + (peak - last) * 0.5 * (1 + math.cos(math.pi * progress))
    if recipe.schedule == "steps":
        return peak * recipe.gamma ** sum(progress >= m for m in recipe.milestones)
    return peak


def set_rates(opt: torch.optim.Optimizer, recipe: Recipe, clock: Clock, batch_size: int) -> float:
    """Give every group the learning rate and weight decay of this step; return the rate."""
    lr = learning_rate(recipe, clock, batch_size)
    wd = recipe.weight_decay
    decay = clock.cosine(*wd) if isinstance(wd, tuple) else wd
    for group in opt.param_groups:
        group["lr"] = lr * group["scale"]
        group["weight_decay"] = decay if group["decays"] else 0.0
    return lr
