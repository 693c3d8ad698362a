"""Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (SwAV), arXiv:2006.09882."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from vergence.core import BadInput, Clock, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import gather, gather_by_rank
from vergence.losses import dino, sinkhorn
from vergence.methods.image.views import crops, local_side
from vergence.nets import mlp, width_of
from vergence.nets.crops import encode_crops
from vergence.nets.image_encoder import image_size
from vergence.nets.memory import MemoryQueue
from vergence.nets.prototypes import held_still
from vergence.views.pixels.augment import View


class SwAV(Method):
    """Predict from each crop the prototypes that another, large crop of the same photo was assigned to.

    Assignments are balanced: over a batch (and a queue of earlier photos) every prototype gets as much as
    any other, so that not all photos go to one.

    Caron et al. 2020, arXiv:2006.09882. Differs from the paper: hues turn by up to 1/6 of a circle, not 1/5,
    and crops up to 64 pixels are not blurred; biases and norms have no weight decay and a rate without LARS;
    warm-up starts near a rate of 0, not at 0.3.

    Args:
        encoder: Maps images ``(B, 3, S, S)``, of two sizes, to ``(B, D)`` or ``Features``.
        dim: Width of the prototypes.
        hidden: Width of the projector's hidden layer.
        prototypes: K; a few times fewer than the rows that are assigned together.
        temperature: Of the predictions, above 0.
        assignment_temperature: ε, above 0; small values make assignments hard.
        rounds: Of balancing, 1 or more.
        queue: Earlier photos that are assigned along with a batch, 0 or more; for batches smaller than K.
        queue_start: Epoch from which on the queue is filled; it is used when it is full.
        n_local: Local crops a photo.
        local_size: Their side in pixels; None takes the multiple of the patch nearest to 96/224 of the global
            side.
        global_scale: Share of a photo's area in the global crops.
        local_scale: Share of a photo's area in the local crops.
        freeze_prototypes: Epochs for which the prototypes keep their random start.
    """

    recipe = Recipe(
        optimizer="lars", lr=4.8, batch=4096, epochs=800, weight_decay=1e-6, warmup=10, min_lr=4.8e-3
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int = 128,
        hidden: int = 2048,
        prototypes: int = 3000,
        temperature: float = 0.1,
        assignment_temperature: float = 0.05,
        rounds: int = 3,
        queue: int = 0,
        queue_start: int = 15,
        n_local: int = 6,
        local_size: int | None = None,
        global_scale: tuple[float, float] = (0.14, 1.0),
        local_scale: tuple[float, float] = (0.05, 0.14),
        freeze_prototypes: int = 1,
    ) -> None:
        super().__init__(encoder)
        if min(temperature, assignment_temperature) <= 0 or rounds < 1 or queue < 0:
            raise BadInput(
                f"SwAV needs temperatures above 0, 1 round or more and a queue of 0 or more; "
                f"got {temperature}, {assignment_temperature}, {rounds} and {queue}."
            )
        self.projector = self.head(width_of(encoder), hidden, dim)
        self.prototypes = nn.Linear(dim, prototypes, bias=False)
        self.to_unit_length()
        self.queue = MemoryQueue(queue, dim, dim) if queue else None
        size = image_size(encoder)
        self.crops = crops(
            size,
            local_size=local_size or local_side(size, getattr(encoder, "patch", 1), 96 / 224),
            n_local=n_local,
            global_scale=global_scale,
            local_scale=local_scale,
            jitter=(0.8, 0.8, 0.8, 1 / 6),
            blur=0.5 if size > 64 else 0.0,
            solarize=0.0,
        )
        self.temperature, self.assignment_temperature = temperature, assignment_temperature
        self.rounds = rounds
        self.queue_start, self.freeze_prototypes = queue_start, freeze_prototypes
        self.fresh_rows: list[tuple[Tensor, ...]] = []

    @staticmethod
    def head(width: int, hidden: int, dim: int) -> nn.Module:
        """Return the projector."""
        return mlp(width, hidden, dim)

    @property
    def prototypes_wait(self) -> bool:
        """Whether the prototypes keep their random start in this step."""
        return self.clock.epoch < self.freeze_prototypes

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crops = self.crops.with_options({k: v for k, v in options.items() if k != "scale"})

    def views(self, batch: ImageBatch) -> list[View]:
        return self.crops(batch)

    def loss(self, views: list[View]) -> dict[str, Tensor]:
        weight = self.prototypes.weight
        if self.prototypes_wait:
            weight = held_still(weight)
        vectors = normalize(self.projector(encode_crops(self.encoder, views)), dim=1)  # (V * B, dim)
        scores = linear(vectors, weight).chunk(len(views))
        targets = [self.assign(scores[crop].detach(), crop) for crop in (0, 1)]
        if self.queue is not None and self.clock.epoch >= self.queue_start:
            self.fresh_rows.append(vectors.detach().chunk(len(views))[:2])
        return {"swap": dino(scores, targets, temperature=self.temperature)}  # Eq. 1, of all pairs

    def assign(self, scores: Tensor, crop: int) -> Tensor:
        """Return how the photos of a batch belong to prototypes, ``(B, K)``, balanced over all processes."""
        together = gather(scores)  # own rows first
        if self.queue is not None and int(self.queue.filled) == self.queue.size:
            earlier = linear(self.queue.rows[crop], self.prototypes.weight.detach())
            together = torch.cat([together, earlier.to(together)])
        targets = sinkhorn(together, temperature=self.assignment_temperature, rounds=self.rounds)
        return targets[: len(scores)]

    def step_end(self, clock: Clock) -> None:
        self.to_unit_length()
        if self.queue is not None and self.fresh_rows:
            fresh = (torch.cat(rows) for rows in zip(*self.fresh_rows, strict=True))
            self.queue.push(*(gather_by_rank(rows.float()) for rows in fresh))
            self.fresh_rows.clear()

    @torch.no_grad()
    def to_unit_length(self) -> None:
        """Scale the prototypes, in place, to length 1."""
        self.prototypes.weight.copy_(normalize(self.prototypes.weight, dim=1))
