"""Method: the contract of one paper's way of learning, in as few words as it can be said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from vergence.core.clock import Clock
from vergence.core.features import pooled
from vergence.core.parts import Sizes, layers, sizes
from vergence.core.recipe import Recipe
from vergence.core.stage import Stage
from vergence.core.turn import Turn

if TYPE_CHECKING:
    from vergence.data import Source


class Sampler(Protocol):
    """Chooses what makes up each batch; the same arguments give the same batches."""

    def __len__(self) -> int:
        """Return the batches an epoch and process."""

    def epoch(self, epoch: int, *, seed: int, start: int, rank: int, world: int) -> Iterator[Any]:
        """Yield the batches of an epoch for process ``rank`` of ``world``, but for the first ``start``."""


class Method(nn.Module):
    """Says which views are made, which networks are trained and what is minimised; nothing else.

    The engine owns loops, devices, checkpoints, logging and processes. Before every step it sets
    ``clock`` and seeds torch's generators from (seed, step, rank), so that views and losses may
    draw random numbers freely and a resumed run repeats them.

    Attributes:
        recipe: Training defaults of the paper; one method may have its own, such as a stage's.
        views: Either a method ``views(batch)`` that returns the views, made on the device, a whole
            batch at a time and without gradient; or the *name* of a kind of view, such as
            ``"pair"``, which the modality's ``views.py`` supplies.
        encoder: What is kept when training ends; takes views and batches alike.
        reads: Targets that it learns from, such as ``("masks",)``; the source must hold them, and batches and
            views then carry them. Labels are in every batch.
        clock: Where training stands.
        held_out: What ``Recipe.val_share`` keeps from training, to judge by; the engine sets it before
            ``setup``. None where nothing is.
        batch_size: Samples a forward pass and process; the engine sets it before it asks for ``batches``.
        workers: Decoding threads of the run, None for as many as there are cores; set with ``batch_size``.
        replaced: Sizes of the parts that ``replace`` has exchanged.
        find_unused_parameters: Whether some steps leave trainable parameters without a gradient, as those
            before a frozen head wakes do. Several processes then ask each other which, every step.
    """

    recipe: Recipe = Recipe()
    views: str | Callable[..., Any] = "pair"
    encoder: nn.Module
    held_out: Source | None = None
    batch_size: int = 0
    workers: int | None = None
    reads: ClassVar[tuple[str, ...]] = ()
    find_unused_parameters: ClassVar[bool] = False

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.clock = Clock()
        self.replaced: dict[str, Sizes] = {}
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
        """Work between epochs, such as offline clustering, neighbour mining or a policy of sampling.

        What it computes lies in buffers, whose shape and type may change, or in parts (``replace``), so that
        a run that is gone on from inside the epoch has it. Every process does all of the work, with the same
        random numbers.

        Args:
            clock: At the first step of the epoch.
            loader: Gives all samples that are trained on, unaugmented and in order, as often as iterated.
        """

    def step_end(self, clock: Clock) -> None:
        """Work after each optimizer step, such as moving a teacher or a queue."""

    def batches(self, source: Source) -> Sampler | None:
        """Return an own sampler of batches, or None for the source's loader.

        Args:
            source: What is trained on; with ``Recipe.val_share`` asked once for each part.
        """
        return None

    def optimizers(self) -> dict[str, Turn]:
        """Return the turns of several optimizers by name, or nothing where one trains everything.

        A step takes the turns in order. During a turn the parameters of the others are frozen, and its loss
        gets the views of the step's batch, the same for all turns, or those of a held-out batch. Each
        trained parameter belongs to one turn; at least one turn takes train batches in every step.
        """
        return {}

    def stages(self, source: Source) -> Sequence[Stage] | None:
        """Return the stages of a paper that has several, or None where the method itself is trained.

        Each makes an ordinary ``Method``, this one included, or ``Estimator``, and may look at those before.
        The encoder of the last is what is kept.
        """
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

    def replace(self, name: str, module: nn.Module) -> None:
        """Exchange a part between epochs, such as a head after a re-clustering; call it in ``epoch_start``.

        The optimizer forgets what it knew of the old parameters and takes the new ones. A checkpoint holds
        the sizes of the new part, so that a run that is gone on from there has them too.

        Args:
            name: Of the part, as in ``named_modules``; not the encoder, which is what is kept.
            module: Of the same layers as the old part; their sizes may differ.

        Raises:
            ValueError: If there is no such part, it is of the encoder, or the layers differ.
        """
        parts = dict(self.named_modules())
        if name not in parts or name.split(".")[0] in ("", "encoder"):
            raise ValueError(f"{type(self).__name__} has no part '{name}' beside its encoder to replace.")
        if (
            layers(module) != layers(parts[name])
            or module.state_dict().keys() != parts[name].state_dict().keys()
        ):
            raise ValueError(
                f"{type(self).__name__}.replace('{name}') needs the layers of the old part, of any size: "
                f"{parts[name]} differs from {module}."
            )
        device = next((value.device for value in parts[name].state_dict().values()), None)
        self.set_submodule(name, module.to(device).train(parts[name].training))
        self.replaced[name] = sizes(module)

    def watch(self, name: str, value: Tensor | float) -> None:
        """Log a value that is not minimised."""
        self._logged[name] = torch.as_tensor(value).detach()

    def pop_logged(self) -> dict[str, Tensor]:
        """Return what was watched since the last call, and forget it."""
        seen, self._logged = self._logged, {}
        return seen
