"""Sharding (FSDP): every process holds a part of the networks, for those that do not fit one device."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map


def shard(module: nn.Module, mesh: Any) -> nn.Module:
    """Divide the parameters among the processes of ``mesh``; return the module.

    Repeated blocks, such as a transformer's, are gathered one at a time while they compute; the rest
    is gathered for the whole step. Between steps each process holds its part, and that part's state
    of the optimizer.
    """
    from torch.distributed.fsdp import fully_shard

    mesh = mesh["data_parallel"]
    for stack in list(module.modules()):
        blocks = list(stack.children())
        alike = len({type(block) for block in blocks}) == 1 and any(True for _ in blocks[0].children())
        if isinstance(stack, nn.Sequential | nn.ModuleList) and len(blocks) > 1 and alike:
            for block in blocks:
                fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module


def whole(state: Any) -> Any:
    """Return a state with its parts put together, on the CPU; every process must call it."""

    def together(value: Any) -> Any:
        return value.full_tensor().cpu() if hasattr(value, "full_tensor") else value

    return tree_map(together, state)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a whole state into an optimizer of divided parameters."""
    from torch.distributed.tensor import distribute_tensor

    parts: dict[int, dict[str, Any]] = {}
    for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=True):
        for parameter, number in zip(group["params"], saved["params"], strict=True):
            parts[number] = {
                name: distribute_tensor(value, parameter.device_mesh, parameter.placements)
                if torch.is_tensor(value) and value.shape == parameter.shape
                else value
                for name, value in state["state"].get(number, {}).items()
            }
    optimizer.load_state_dict({**state, "state": {n: part for n, part in parts.items() if part}})
