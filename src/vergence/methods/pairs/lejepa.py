"""LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics, arXiv:2511.08544."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Method, Recipe
from vergence.engine.distributed import gather
from vergence.losses import random_directions, sigreg
from vergence.nets import mlp, width_of


class LeJEPA(Method):
    """Make views agree while all vectors together look like a Gaussian cloud from every side.

    Along random directions the vectors' characteristic function is to be that of a normal distribution
    (SIGReg). That alone keeps them apart: no negatives, no teacher, no predictor, no stopped gradient.

    Balestriero and LeCun 2025, arXiv:2511.08544. Differs from the paper: two views of a kind, where it takes
    2 large and 6 small crops of a photo, all held against the mean of the large ones; the characteristic
    function is compared at 17 points of [0, 3], as released, not of [-5, 5].

    Args:
        encoder: Maps a view of B samples to ``(B, D)`` or ``Features``.
        dim: Width of the vectors that agree and are Gaussian.
        hidden: Width of the projector's hidden layers.
        weight: Of SIGReg, λ in [0, 1]; agreement has the rest.
        directions: Drawn anew every step.
    """

    recipe = Recipe(
        optimizer="adamw", lr=5e-4, batch=256, epochs=100, weight_decay=0.05, warmup=1, min_lr=5e-7
    )
    views = "pair"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int = 64,
        hidden: int = 2048,
        weight: float = 0.05,
        directions: int = 1024,
    ) -> None:
        super().__init__(encoder)
        if not 0 <= weight <= 1 or directions < 1:
            raise BadInput(
                f"LeJEPA needs a weight in [0, 1] and 1 direction or more; got {weight} and {directions}."
            )
        self.projector = mlp(width_of(encoder), hidden, hidden, dim)
        self.weight, self.directions = weight, directions

    def loss(self, views: Any) -> dict[str, Tensor]:
        z = torch.stack([gather(self.projector(self.encode(view))) for view in views])  # (V, B, dim)
        drawn = torch.Generator().manual_seed(self.clock.step)  # all processes draw alike
        directions = random_directions(z.shape[2], self.directions, generator=drawn).to(z)
        apart = torch.stack([sigreg(view, directions) for view in z]).mean()
        agree = (z - z.mean(0)).square().mean()
        return {"agree": (1 - self.weight) * agree, "gaussian": self.weight * apart}
