"""The contract: one paper's way of learning, in as few words as it can be said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from vergence.core.clock import Clock
from vergence.core.features import pooled
from vergence.core.recipe import Recipe

if TYPE_CHECKING:
    from vergence.data import Source


class Method(nn.Module):
    """Says which views are made, which networks are trained and what is minimised; nothing else.

    The engine owns loops, devices, checkpoints, logging and processes. Before every step it sets
    ``clock`` and seeds torch's generators from (seed, step, rank), so that views and losses may
    draw random numbers freely and a resumed run repeats them.

    Attributes:
        recipe: Training defaults of the paper.
        views: Either a method ``views(batch)`` that returns the views, made on the device, a whole
            batch at a time and without gradient; or the *name* of a kind of view, such as
            ``"pair"``, which the modality's ``views.py`` supplies.
        encoder: What is kept when training ends; takes views and batches alike.
        clock: Where training stands.
        find_unused_parameters: Whether some steps leave trainable parameters without a gradient, as those
            before a frozen head wakes do. Several processes then ask each other which, every step.
    """

    recipe: ClassVar[Recipe] = Recipe()
    views: str | Callable[..., Any] = "pair"
    encoder: nn.Module
    find_unused_parameters: ClassVar[bool] = False

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.clock = Clock()
        self._logged: dict[str, Tensor] = {}

    def loss(self, views: Any) -> dict[str, Tensor]:
        """Return the named, weighted terms whose sum is minimised; each is a scalar."""
        raise NotImplementedError(f"{type(self).__name__} must say what it minimises: define loss(views).")

    def setup(self, source: Source) -> None:
        """Look at the data once, before the first step and before a checkpoint is read."""

    def configure_views(self, options: Mapping[str, Any]) -> None:
        """Bend views of the method's own to the data, such as no mirror images of digits.

        Called once, before the first step, where ``views`` is not the name of a kind.

        Args:
            options: Those of the modality's views that fit the source or that the user asked for.
        """

    def epoch_start(self, clock: Clock, loader: Iterable[Any]) -> None:
        """Work between epochs, such as offline clustering; ``loader`` gives unaugmented batches."""

    def step_end(self, clock: Clock) -> None:
        """Work after each optimizer step, such as moving a teacher or a queue."""

    def batches(self, source: Source) -> Any | None:
        """Return an own sampler of batches, or None for the source's loader."""
        return None

    def no_decay(self) -> set[str]:
        """Name the parameters, besides biases and norms, that weight decay spares."""
        return set()

    def encode(self, view: Any) -> Tensor:
        """Return the encoder's vectors ``(B, D)`` of a view, with gradient."""
        return pooled(self.encoder(view))

    @torch.no_grad()
    def embed(self, batch: Any) -> Tensor:
        """Return the embeddings ``(B, D)`` of unaugmented samples."""
        return self.encode(batch)

    def watch(self, name: str, value: Tensor | float) -> None:
        """Log a value that is not minimised."""
        self._logged[name] = torch.as_tensor(value).detach()

    def pop_logged(self) -> dict[str, Tensor]:
        """Return what was watched since the last call, and forget it."""
        seen, self._logged = self._logged, {}
        return seen
