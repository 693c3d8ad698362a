"""With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual Representations.

NNCLR, arXiv:2104.14548.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import BadInput, Clock, Method, Recipe
from vergence.data.source import Source
from vergence.engine.distributed import gather, gather_by_rank
from vergence.losses import info_nce
from vergence.nets import mlp, width_of
from vergence.nets.memory import MemoryQueue


class NNCLR(Method):
    """Find the other view of a sample by what is nearest to the first among earlier samples.

    What stands in for a view is another sample, so that vectors agree over more than two views of one thing
    can show. The queue of earlier vectors is the *support set*.

    Dwibedi, Aytar, Tompson, Sermanet, Zisserman 2021, arXiv:2104.14548. Differs from the paper: each view
    passes the networks on its own; the queue holds at most as many rows as there are samples. Scores of a
    batch and the queue take B x K numbers.

    Args:
        encoder: Maps a view of B samples to ``(B, D)`` or ``Features``.
        dim: Width of the contrasted vectors.
        hidden: Width of the projector's hidden layers; None takes the encoder's, as in the paper.
        predictor_hidden: Width of the predictor's hidden layer; None takes 16 ``dim``, as in the paper.
        queue: Earlier vectors that are asked for the nearest, K.
        temperature: Softmax temperature, above 0.
    """

    recipe = Recipe(
        optimizer="lars", lr=4.8, lr_scaling="linear", batch=4096, epochs=1000, weight_decay=1e-6, warmup=10
    )
    views = "pair"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int = 256,
        hidden: int | None = None,
        predictor_hidden: int | None = None,
        queue: int = 98_304,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(encoder)
        if temperature <= 0 or queue < 1:
            raise BadInput(
                f"NNCLR needs temperature > 0 and a queue of 1 or more; got {temperature} and {queue}."
            )
        width = width_of(encoder)
        hidden = hidden or width
        self.projector = mlp(width, hidden, hidden, dim, last_norm=True)
        self.predictor = mlp(dim, predictor_hidden or 16 * dim, dim)
        self.queue = MemoryQueue(queue, dim)
        self.temperature = temperature
        self.fresh: list[Tensor] = []

    def setup(self, source: Source) -> None:
        """Let the queue hold no more rows than ``source`` has samples."""
        self.queue = self.queue.at_most(len(source))

    def loss(self, views: Any) -> dict[str, Tensor]:
        first, second = (self.projector(self.encode(view)) for view in views)  # z
        near = [self.nearest(z) for z in (first, second)]
        self.fresh.append(normalize(first.detach(), dim=1))
        one, other = (gather(self.predictor(z)) for z in (first, second))  # p, own rows first
        both = info_nce(near[0], other, temperature=self.temperature)
        both = both + info_nce(near[1], one, temperature=self.temperature)
        return {"contrast": both / 2}

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """Return the queue's row of the largest cosine with each of ``(B, dim)``."""
        rows, cosine = self.queue.nearest(normalize(z, dim=1), 1)
        self.watch("neighbour_cosine", cosine.mean())
        return rows[:, 0]

    def step_end(self, clock: Clock) -> None:
        if self.fresh:
            self.queue.push(gather_by_rank(torch.cat(self.fresh)))
            self.fresh.clear()
