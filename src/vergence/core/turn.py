"""Turns: which parameters an optimizer of a method moves, by which loss, how often and on which batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from vergence.core.recipe import Recipe

Trained = nn.Module | nn.Parameter


@dataclass(frozen=True, slots=True)
class Turn:
    """One of several optimizers of a method, such as an adversary's; see ``Method.optimizers``.

    Args:
        params: What this turn trains: a module, or modules and parameters.
        loss: Name of the method's function ``views -> named terms`` that this turn minimises.
        recipe: Optimizer, learning rate, weight decay, schedule and ``clip`` of this turn; None takes the
            run's. Its ``epochs``, ``ema``, ``encoder`` and ``size`` are not looked at.
        every: Steps from one turn to the next, at least 1; the first is in step 0.
        batches: "train", or "val" for those of the part of the source that ``Recipe.val_share`` holds out.

    Raises:
        ValueError: If ``every`` or ``batches`` is something else.
    """

    params: Trained | Iterable[Trained]
    loss: str = "loss"
    recipe: Recipe | None = None
    every: int = 1
    batches: Literal["train", "val"] = "train"

    def __post_init__(self) -> None:
        if self.every < 1 or self.batches not in ("train", "val"):
            raise ValueError(
                "Turn needs every of 1 or more and batches 'train' or 'val'; "
                f"got {self.every} and {self.batches!r}."
            )
        parts = [self.params] if isinstance(self.params, Trained) else list(self.params)
        object.__setattr__(self, "params", tuple(parts))

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters of ``params`` in order, each once."""
        parts: Any = self.params  # a tuple, since __post_init__
        lists = [[part] if isinstance(part, nn.Parameter) else list(part.parameters()) for part in parts]
        return list({id(p): p for parameters in lists for p in parameters}.values())
