"""What batches of all modalities have in common: they move between devices as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

if TYPE_CHECKING:
    from vergence.data.targets import Target


class Batch:
    """Samples as a loader hands them to the engine.

    A modality's own is a frozen dataclass. Its tensors and targets move together, and what else it holds,
    such as the meaning of its columns, stays as it is.

    Attributes:
        index: ``(B,)`` int64, the samples' rows in their source.
    """

    __slots__ = ()
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        return self._each(lambda part: part.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        return self._each(lambda part: part.pin_memory())

    def _each(self, change: Callable[[Any], Tensor | Target]) -> Self:
        batch: Any = self
        changed: dict[str, Any] = {}
        for field in fields(batch):
            value = getattr(self, field.name)
            if isinstance(value, Mapping):
                changed[field.name] = {name: change(part) for name, part in value.items()}
            elif isinstance(value, Tensor):
                changed[field.name] = change(value)
        moved: Self = replace(batch, **changed)
        return moved
