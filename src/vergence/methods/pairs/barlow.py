"""Barlow Twins: Self-Supervised Learning via Redundancy Reduction, arXiv:2103.03230."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vergence.core import Method, Recipe
from vergence.engine.distributed import gather
from vergence.losses import barlow_twins
from vergence.nets import mlp, width_of


class BarlowTwins(Method):
    """Make each feature agree between two views and disagree with every other feature.

    Zbontar, Jing, Misra, LeCun, Deny 2021, arXiv:2103.03230. Differs from the paper: the projector is
    four times as wide as the encoder, which gives the paper's 8,192 on its ResNet-50; biases and batch
    norms learn at the same rate as weights (the paper: 0.0048 against 0.2); both views of an image are drawn
    alike, where the paper blurs and solarises the two differently, from crops of .2 of it and more (.08) by
    bilinear resampling (bicubic), with a jitter of saturation of .4 (.2). Each view passes the networks
    on its own, as in the released code. The recipe is the paper's (LARS, 0.2 a 256 samples, scaled to the
    batch in use); below a batch of 1,024 AdamW learns more, see ``Recipe.for_small_batch``.

    Args:
        encoder: Maps a view of B samples to ``(B, D)`` or ``Features``.
        hidden: Width of the projector's three layers; None takes 4 D.
        weight: Of the redundancy between features, λ in Eq. 1, not negative.
    """

    recipe = Recipe(
        optimizer="lars",
        lr=1.6,
        lr_scaling="linear",
        batch=2048,
        epochs=1000,
        weight_decay=1.5e-6,
        warmup=10,
        small_batch_lr=1e-3,
    )
    views = "pair"

    def __init__(self, encoder: nn.Module, *, hidden: int | None = None, weight: float = 5e-3) -> None:
        super().__init__(encoder)
        width = width_of(encoder)
        hidden = hidden or 4 * width
        self.projector = mlp(width, hidden, hidden, hidden, last_bias=False)
        self.weight = weight

    def loss(self, views: Any) -> dict[str, Tensor]:
        first, second = (gather(self.projector(self.encode(view))) for view in views)
        return barlow_twins(first, second, weight=self.weight)
