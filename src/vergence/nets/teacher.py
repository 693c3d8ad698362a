"""EMA teacher: a frozen copy of a network that follows it slowly."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Teacher(nn.Module):
    """The exponential moving average of a network, never trained itself.

    Its parameters need no gradient, and it runs without one. While the method trains, the
    teacher's batch norms use the statistics of the batch, as in BYOL and MoCo v3; everything else
    (dropout, stochastic depth) is switched off. Batch norm's running statistics and other
    floating-point buffers follow as the parameters do; integer buffers are copied.

    Args:
        module: What to copy and follow. It is watched, not owned: its parameters stay its own, and
            ``nn.Sequential(encoder, projector)`` follows both.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(module).requires_grad_(False)
        self._source = (module,)  # in a tuple, lest torch registers it as a part
        self.train(self.training)

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the copy makes of its input, without gradient."""
        return self.network(*args, **kwargs)

    def train(self, mode: bool = True) -> Teacher:
        """Switch batch norms to the batch's statistics (True) or the running ones; nothing else."""
        super().train(False)
        for part in self.modules():
            if isinstance(part, _BatchNorm):
                part.train(mode)
        self.training = mode
        return self

    @torch.no_grad()
    def follow(self, keep: float, source: nn.Module | None = None) -> None:
        """Move towards the followed network: keep * mine + (1 - keep) * its.

        Args:
            keep: Share of the teacher that is kept, in [0, 1].
            source: Another network of the same shape to follow this once.

        Raises:
            ValueError: If ``keep`` is out of range or ``source`` has other parts.
        """
        if not 0 <= keep <= 1:
            raise ValueError(f"Teacher.follow needs keep in [0, 1]; got {keep}.")
        leader = self._source[0] if source is None else source
        mine: list[Tensor] = list(self.network.parameters())
        its: list[Tensor] = list(leader.parameters())
        for own, other in zip(self.network.buffers(), leader.buffers(), strict=True):
            if own.is_floating_point():
                mine.append(own)
                its.append(other)
            else:
                own.copy_(other)
        if len(mine) != len(its):
            raise ValueError(
                f"Teacher.follow needs a network of its own shape; got a {type(leader).__name__}."
            )
        if mine:
            torch._foreach_lerp_(_held(mine), _held(its), 1 - keep)


def _held(tensors: list[Tensor]) -> list[Tensor]:
    """Return what this process holds of tensors that may be divided among several."""
    return [t.to_local() if hasattr(t, "to_local") else t for t in tensors]
