"""Shapes of parts and buffers that change while a method trains; they come back before the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from vergence.core import Method
from vergence.core.parts import resize


def restore_method(method: Method, state: Mapping[str, Any]) -> None:
    """Bring a method to what a checkpoint holds of it."""
    if "shapes" in state:
        Shapes(method).load_state_dict(state["shapes"], state["method"])
    method.load_state_dict(state["method"])


class Shapes:
    """The shapes and types that a method's buffers had at first.

    Args:
        method: Before a checkpoint is read.
    """

    def __init__(self, method: Method) -> None:
        self.method = method
        self.first = {name: (value.shape, value.dtype) for name, value in method.named_buffers()}

    def state_dict(self) -> dict[str, Any]:
        """Return the sizes of replaced parts, and the names of buffers that are no longer as at first."""
        buffers = self.method.named_buffers()
        changed = [name for name, value in buffers if self.first.get(name) != (value.shape, value.dtype)]
        return {"replaced": self.method.replaced, "buffers": changed}

    def load_state_dict(self, state: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Give parts and buffers the shapes of a checkpoint; what is in them is left open.

        Args:
            state: What ``state_dict`` gave.
            tensors: The method's state in the checkpoint.
        """
        for part, sizes in state["replaced"].items():
            resize(self.method.get_submodule(part), sizes)
            for name, parameter in list(self.method.get_submodule(part).named_parameters(part)):
                empty = torch.empty_like(tensors[name], device=parameter.device)
                setattr(*self._place(name), nn.Parameter(empty, requires_grad=parameter.requires_grad))
        self.method.replaced.update(state["replaced"])
        for name in state["buffers"]:
            if name in tensors:
                module, leaf = self._place(name)
                module.register_buffer(leaf, torch.empty_like(tensors[name]))

    def _place(self, name: str) -> tuple[nn.Module, str]:
        module, _, leaf = name.rpartition(".")
        return self.method.get_submodule(module), leaf
