"""Exploring Simple Siamese Representation Learning (SimSiam), arXiv:2011.10566."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vergence.core import Method, Recipe
from vergence.losses import negative_cosine
from vergence.nets import mlp, width_of


class SimSiam(Method):
    """Predict one view's vector from the other's, which does not move towards the prediction.

    Chen and He 2020, arXiv:2011.10566: no negatives, no queue and no slow teacher. What keeps all vectors
    from becoming one is the predictor, and that no gradient flows to what is predicted. Differs from the
    paper: the heads' widths follow the encoder's, which gives the paper's 2,048 and 512 on its ResNet-50; the
    predictor's rate falls with the rest, where the paper's best runs keep it.

    Args:
        encoder: Maps a view of B samples to ``(B, D)`` or ``Features``.
        dim: Width of the predicted vectors; None takes D.
        hidden: Width of the projector's hidden layers; None takes D.
        predictor_hidden: Width of the predictor's hidden layer, a bottleneck; None takes ``dim`` / 4.
        predictor: Predict through a network of its own. Without it both views' vectors are compared directly
            (Table 1a).
        stop_gradient: Let no gradient flow to what is predicted; else all vectors may become one (Sec. 4.1).
    """

    recipe = Recipe(optimizer="sgd", lr=0.1, batch=512, epochs=100, weight_decay=1e-4)
    views = "pair"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int | None = None,
        hidden: int | None = None,
        predictor_hidden: int | None = None,
        predictor: bool = True,
        stop_gradient: bool = True,
    ) -> None:
        super().__init__(encoder)
        width = width_of(encoder)
        dim, hidden = dim or width, hidden or width
        self.projector = mlp(width, hidden, hidden, dim, last_norm=True, last_affine=False)
        bottleneck = predictor_hidden or max(1, dim // 4)
        self.predictor = mlp(dim, bottleneck, dim) if predictor else nn.Identity()
        self.stop_gradient = stop_gradient

    def loss(self, views: Any) -> dict[str, Tensor]:
        first, second = (self.projector(self.encode(view)) for view in views)  # z
        predicted = self.predictor(first), self.predictor(second)  # p
        if self.stop_gradient:
            first, second = first.detach(), second.detach()
        both = negative_cosine(predicted[0], second) + negative_cosine(predicted[1], first)
        return {"predict": both / 2}  # Eq. 4
