"""Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning (BYOL), arXiv:2006.07733."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vergence import losses
from vergence.core import Clock, Method, Recipe
from vergence.nets import Teacher, mlp, width_of


class BYOL(Method):
    """Predict what a slowly moving copy of oneself makes of the other view; no negatives.

    Grill et al. 2020, arXiv:2006.07733. Differs from the paper: the heads' hidden layers are twice as wide
    as the encoder, which gives the paper's 4,096 on its ResNet-50; both views of an image are drawn alike,
    where the paper blurs and solarises the two differently (Table 6), from crops of .2 of it and more (.08)
    by bilinear resampling (bicubic), with a jitter of saturation of .4 (.2). Each view passes the networks
    on its own. The recipe is the paper's (LARS, 0.2 a 256 samples, scaled to the batch in use); below a
    batch of 1,024 AdamW learns more, see ``Recipe.for_small_batch``.

    Args:
        encoder: Maps a view of B samples to ``(B, D)`` or ``Features``.
        dim: Width of the predicted vectors.
        hidden: Width of the hidden layers of projector and predictor; None takes 2 D.
        momentum: Share of the teacher kept each step, in [0, 1], τ; rises to 1 by a half cosine. None takes
            1 - 1,000 / steps of the run, within [0.9, 0.996]: near the paper's 0.99 for 94,000 steps (300
            epochs) and 0.996 for 313,000 (1,000 epochs).
        predictor: Predict through a network of its own. Without it the student is compared with
            the teacher directly, and nothing keeps all embeddings from becoming one (Table 5b).
    """

    recipe = Recipe(
        optimizer="lars", lr=3.2, lr_scaling="linear", batch=4096, epochs=1000, weight_decay=1.5e-6, warmup=10
    )
    views = "pair"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int = 256,
        hidden: int | None = None,
        momentum: float | None = None,
        predictor: bool = True,
    ) -> None:
        super().__init__(encoder)
        width = width_of(encoder)
        hidden = hidden or 2 * width
        self.projector = mlp(width, hidden, dim)
        self.predictor = mlp(dim, hidden, dim) if predictor else nn.Identity()
        self.teacher = Teacher(nn.Sequential(encoder, self.projector))
        self.momentum = momentum

    def loss(self, views: Any) -> dict[str, Tensor]:
        said = [self.predictor(self.projector(self.encode(view))) for view in views]
        meant = [self.teacher(view) for view in views]
        return {
            "predict": losses.byol(said[0], meant[1]) + losses.byol(said[1], meant[0])
        }  # Eq. 2, both ways

    def step_end(self, clock: Clock) -> None:
        of_length = min(0.996, max(0.9, 1 - 1_000 / clock.total))
        self.teacher.follow(keep=clock.cosine(of_length if self.momentum is None else self.momentum, 1.0))
