"""Improved Baselines with Momentum Contrastive Learning (MoCo v2), arXiv:2003.04297."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import Clock, Method, Recipe
from vergence.core.errors import BadInput
from vergence.engine.distributed import gather_by_rank
from vergence.losses import queue_nce
from vergence.nets import Teacher, mlp, width_of
from vergence.nets.memory import MemoryQueue


class MoCoV2(Method):
    """Find the other view's key among a queue of keys that a slowly moving copy made for earlier batches.

    Chen, Fan, Girshick, He 2020, arXiv:2003.04297, after He et al. 2019, arXiv:1911.05722. Differs from
    the paper: keys of a batch are not shuffled among processes before batch norm ("shuffling BN").

    Args:
        encoder: Maps a view of B samples to ``(B, D)`` or ``Features``.
        dim: Width of the contrasted vectors.
        hidden: Width of the projector's hidden layer; None takes the encoder's, as in the paper.
        queue: Keys that are kept as negatives, K.
        temperature: Softmax temperature, above 0.
        momentum: Share of the teacher kept each step, in [0, 1].
    """

    recipe = Recipe(optimizer="sgd", lr=0.03, batch=256, epochs=200, weight_decay=1e-4)
    views = "pair"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int = 128,
        hidden: int | None = None,
        queue: int = 65_536,
        temperature: float = 0.2,
        momentum: float = 0.999,
    ) -> None:
        super().__init__(encoder)
        if temperature <= 0 or not 0 <= momentum <= 1 or queue < 1:
            raise BadInput(
                f"MoCoV2 needs temperature > 0, momentum in [0, 1] and a queue of 1 or more; "
                f"got {temperature}, {momentum} and {queue}."
            )
        width = width_of(encoder)
        self.projector = mlp(width, hidden or width, dim, norm=False)
        self.teacher = Teacher(nn.Sequential(encoder, self.projector))
        self.queue = MemoryQueue(queue, dim)
        self.temperature, self.momentum = temperature, momentum
        self.fresh_keys: list[Tensor] = []

    def loss(self, views: Any) -> dict[str, Tensor]:
        query = self.projector(self.encode(views[0]))
        key = self.teacher(views[1])
        self.fresh_keys.append(key)
        (old,) = self.queue.rows
        return {"contrast": queue_nce(query, key, old, temperature=self.temperature)}

    def step_end(self, clock: Clock) -> None:
        self.queue.push(gather_by_rank(normalize(torch.cat(self.fresh_keys).float(), dim=1)))
        self.fresh_keys.clear()
        self.teacher.follow(self.momentum)
