"""CoLES: Contrastive Learning for Event Sequences with Self-Supervision, arXiv:2002.08232."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.core import BadInput, Method, Recipe
from vergence.data.events import EventBatch
from vergence.engine.distributed import gather
from vergence.losses.margin import hard_margin, recall
from vergence.methods.events.views import LONGEST, SHORTEST, Slices


class CoLES(Method):
    """Slices of one client's history lie together, slices of different clients a margin apart.

    Babaev, Ovsov, Kireev, Ivanova, Gusev, Nazarov, Tuzhilin 2022, arXiv:2002.08232. The loss is a sum
    over pairs, so that its size grows with the batch; Adam does not mind. Differs from the paper:
    numbers are scaled by the statistics of the training events instead of by batch norm; the recurrent
    net has 256 units unless the encoder is given another width (the paper: 800 to 1,024, by data set).

    Args:
        encoder: Maps histories to ``(B, D)``.
        slices: Of each client in a batch, K, 2 or more.
        shortest: Events of the shortest slice, m; None suits the data: 25, or a quarter of the median
            history where that is shorter.
        longest: Events of the longest slice, M.
        margin: Distance of unit vectors that slices of different clients shall keep, ρ, in (0, 2].
        negatives: Nearest slices of other clients that each slice is pushed from; 0 takes all pairs.
    """

    recipe = Recipe(
        optimizer="adam", lr=1e-3, lr_scaling="none", batch=64, epochs=150, schedule="steps",
        milestones=(0.2, 0.4, 0.6, 0.8), gamma=0.9025, encoder="gru",
    )  # fmt: skip

    def __init__(
        self,
        encoder: nn.Module,
        *,
        slices: int = 5,
        shortest: int | None = None,
        longest: int = LONGEST,
        margin: float = 0.5,
        negatives: int = 5,
    ) -> None:
        super().__init__(encoder)
        if slices < 2:
            raise BadInput(f"CoLES needs 2 or more slices a client; got {slices}.")
        if not 0 < margin <= 2 or negatives < 0:
            raise BadInput(
                f"CoLES needs a margin in (0, 2] and 0 or more negatives; got {margin} and {negatives}."
            )
        self.slices, self.shortest, self.longest = slices, shortest, longest
        self.margin, self.negatives = margin, negatives
        self.cut = self.cutter(shortest or SHORTEST)

    def cutter(self, shortest: int) -> Any:
        """Return what cuts a batch into slices."""
        return Slices(self.slices, shortest=shortest, longest=max(shortest, self.longest))

    def configure_views(self, options: Mapping[str, Any]) -> None:
        if self.shortest is None:
            self.cut = self.cutter(int(options.get("shortest", SHORTEST)))

    def views(self, batch: EventBatch) -> EventBatch:
        return self.cut(batch)  # Algorithm 1: K slices a client

    def loss(self, views: EventBatch) -> dict[str, Tensor]:
        z = gather(normalize(self.encode(views).float(), dim=1))
        client = gather(views.index)
        with torch.no_grad():
            self.watch("recall", recall(z, client, k=self.slices - 1))
        near, far = hard_margin(z, client, margin=self.margin, negatives=self.negatives)  # Eq. 2
        return {"near": near, "far": far}
