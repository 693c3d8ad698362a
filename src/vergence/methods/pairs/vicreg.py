"""VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning, arXiv:2105.04906."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vergence import losses
from vergence.core import Method, Recipe
from vergence.engine.distributed import gather
from vergence.nets import mlp, width_of


class VICReg(Method):
    """Make two views agree while every feature keeps varying and no two features say the same.

    Bardes, Ponce, LeCun 2022, arXiv:2105.04906. Differs from the paper: the projector is four times as wide
    as the encoder, which gives the paper's 8,192 on its ResNet-50; both views of an image are drawn alike,
    where the paper blurs and solarises the two differently, from crops of .2 of it and more (.08) by
    bilinear resampling (bicubic), with a jitter of saturation of .4 (.2). Each view passes the networks on
    its own, as in the released code, which halves the variance term: ``variance=12.5`` gives its weight. The
    recipe is the paper's (LARS, 0.2 a 256 samples, scaled to the batch in use); below a batch of 1,024 AdamW
    learns more, see ``Recipe.for_small_batch``.

    Args:
        encoder: Maps a view of B samples to ``(B, D)`` or ``Features``.
        hidden: Width of the projector's three layers; None takes 4 D.
        invariance: Weight of the difference between views, λ in Eq. 6.
        variance: Weight of the hinge on each feature's standard deviation, μ. Without it all
            embeddings may become one.
        covariance: Weight of the covariances between features, ν.
    """

    recipe = Recipe(
        optimizer="lars", lr=1.6, lr_scaling="linear", batch=2048, epochs=1000, weight_decay=1e-6, warmup=10
    )
    views = "pair"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int | None = None,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
    ) -> None:
        super().__init__(encoder)
        width = width_of(encoder)
        hidden = hidden or 4 * width
        self.projector = mlp(width, hidden, hidden, hidden, last_bias=False)  # the expander h
        self.weights = {"invariance": invariance, "variance": variance, "covariance": covariance}

    def loss(self, views: Any) -> dict[str, Tensor]:
        first, second = (gather(self.projector(self.encode(view))) for view in views)
        return losses.vicreg(first, second, **self.weights)
