"""A Simple Framework for Contrastive Learning of Visual Representations (SimCLR), arXiv:2002.05709."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vergence.core import BadInput, Method, Recipe
from vergence.engine.distributed import gather
from vergence.losses import nt_xent
from vergence.nets import mlp, width_of


class SimCLR(Method):
    """Find the other view of a sample among the views of all others in the batch.

    Chen, Kornblith, Norouzi, Hinton 2020, arXiv:2002.05709. Differs from the paper: batch norm in the
    encoder sees one view at a time, not both at once. The projector's hidden layer has batch norm, as in the
    released code, which has it after the last layer, too. Views of images are milder than the paper's: crops
    of .2 of a photo and more (.08) by bilinear resampling (bicubic), jitter of .4, .4, .4 and .1 (on
    ImageNet .8, .8, .8 and .2), no blur up to 64 pixels. The recipe is the paper's (LARS, 4.8 at a batch of
    4,096, scaled to the batch in use); below a batch of 1,024 AdamW learns more, see
    ``Recipe.for_small_batch``.

    Args:
        encoder: Maps a view of B samples to ``(B, D)`` or ``Features``.
        dim: Width of the contrasted vectors.
        hidden: Width of the projector's hidden layer; None takes the encoder's, as in the paper.
        temperature: Softmax temperature, above 0. 0.1 is best on ImageNet (Table 5), 0.5 on
            CIFAR-10 (Sec. B.9).
        decoupled: Choose the other view from all others but it (Yeh et al. 2021, arXiv:2110.06848), which
            learns more from small batches.
    """

    recipe = Recipe(
        optimizer="lars", lr=4.8, lr_scaling="linear", batch=4096, epochs=100, weight_decay=1e-6, warmup=10
    )
    views = "pair"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int = 128,
        hidden: int | None = None,
        temperature: float = 0.1,
        decoupled: bool = False,
    ) -> None:
        super().__init__(encoder)
        width = width_of(encoder)
        if temperature <= 0:
            raise BadInput(f"SimCLR needs temperature > 0; got {temperature}.")
        self.projector = mlp(width, hidden or width, dim)  # g: z = W2 relu(W1 h), Sec. 2.1
        self.temperature, self.decoupled = temperature, decoupled

    def loss(self, views: Any) -> dict[str, Tensor]:
        first, second = (self.projector(self.encode(view)) for view in views)
        everyone = gather(first), gather(second)  # own rows first
        loss = nt_xent(*everyone, anchors=len(first), temperature=self.temperature, decoupled=self.decoupled)
        return {"contrast": loss}
