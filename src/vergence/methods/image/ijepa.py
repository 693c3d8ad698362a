"""Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture, arXiv:2301.08243."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from vergence.core import BadInput, Clock, Features, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.masking import patch_of, pool_mean_patch
from vergence.nets import Teacher
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.nets.masked import Predictor, Target, TokenFeatures
from vergence.views.masks import multi_block
from vergence.views.pixels.augment import Augment
from vergence.views.pixels.geometry import Range


@dataclass(frozen=True, slots=True)
class Blocks:
    """What one step looks at.

    Args:
        pixels: ``(B, 3, S, S)`` in [0, 1].
        context: ``(B, K)`` int64, the patches that the student sees.
        blocks: ``(B, n, M)`` int64, the patches of each block that it predicts.
    """

    pixels: Tensor
    context: Tensor
    blocks: Tensor


class IJEPA(Method):
    """Predict what a slow copy of yourself makes of blocks of a picture, from the rest of it: no pixels.

    Assran et al. 2023, arXiv:2301.08243. Differs from the paper: the encoder that learns is kept, not its
    slow copy; a ViT's class token stays among its tokens, as a register would, and it pools its mean patch
    from then on; positions and the start of the weights are the encoder's own. Blocks may touch every
    border, where the released code leaves the lower and the right one out. To make a batch's contexts
    equally long tokens are left out at random, where it drops the last.

    Args:
        encoder: A vision transformer that can leave out patches, this library's or a plain one of timm's:
            images ``(B, 3, S, S)`` -> ``Features``.
        blocks: Blocks to predict a photo, 1 or more.
        scale: Least and largest share of the patches in a block.
        aspect: Least and largest height over width of a block.
        context: Least and largest share of the patches in the context, before blocks are taken out of it.
        width: Of the predictor.
        depth: Blocks of the predictor; the paper has 6 for ViT-B and 12 beyond.
        heads: Of the predictor; None takes the encoder's.
        momentum: Share of the teacher kept each step, in [0, 1]; rises to 1 in a straight line.
        crop: Least share of a photo's area in a view, in (0, 1].
    """

    recipe = Recipe(
        optimizer="adamw", lr=1e-3, batch=2048, epochs=300, weight_decay=(0.04, 0.4), warmup=15,
        min_lr=1e-6, encoder="vit-small32",
    )  # fmt: skip
    encoder: ImageEncoder

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        blocks: int = 4,
        scale: Range = (0.15, 0.2),
        aspect: Range = (0.75, 1.5),
        context: Range = (0.85, 1.0),
        width: int = 384,
        depth: int = 6,
        heads: int | None = None,
        momentum: float = 0.996,
        crop: float = 0.3,
    ) -> None:
        super().__init__(encoder)
        patch, size = patch_of(encoder, "IJEPA", visible=True), image_size(encoder)
        ranges = (scale, context)
        if (
            blocks < 1
            or not all(0 < low <= high <= 1 for low, high in ranges)
            or not 0 < aspect[0] <= aspect[1]
        ):
            raise BadInput(
                "IJEPA needs 1 or more blocks, scale and context with 0 < least <= largest <= 1, and aspect "
                f"above 0; got {blocks}, {scale}, {context} and {aspect}."
            )
        if not 0 <= momentum <= 1:
            raise BadInput(f"IJEPA needs momentum in [0, 1]; got {momentum}.")
        pool_mean_patch(encoder)
        self.grid = (size // patch, size // patch)
        self.draw = {"blocks": blocks, "scale": scale, "aspect": aspect, "context": context}
        self.crop = Augment(size, scale=(crop, 1.0), flip=0.0, jitter_p=0.0, grey=0.0, blur=0.0)
        self.teacher = Teacher(encoder)
        self.target = self.make_target()
        self.predictor = Predictor(
            encoder.out_dim,
            grid=self.grid,
            out=self.target.width,
            width=width,
            depth=depth,
            heads=heads or encoder.heads,  # type: ignore[arg-type]
        )
        self.momentum = momentum

    def make_target(self) -> Target:
        """Return what is predicted: the teacher's tokens."""
        return TokenFeatures(self.teach, self.encoder.out_dim)

    def teach(self, images: Tensor) -> Features:
        """Return what the teacher makes of whole images."""
        return self.teacher(images)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = replace(self.crop, **options)

    def views(self, batch: ImageBatch) -> Blocks:
        pixels = self.crop(batch).pixels
        return Blocks(pixels, *self.places(len(pixels), pixels.device))

    def places(self, rows: int, device: Any) -> tuple[Tensor, Tensor]:
        """Draw contexts ``(rows, K)`` and blocks ``(rows, n, M)``."""
        return multi_block(rows, self.grid, **self.draw, device=device)  # type: ignore[arg-type]

    def loss(self, views: Blocks) -> dict[str, Tensor]:
        targets = self.target.at(views.pixels, views.blocks)  # (B, n, M, D)
        context = self.encoder(views.pixels, keep=views.context).tokens
        predicted = self.predictor(context, views.context, views.blocks)
        return {"predict": self.target.cost(predicted, targets)}

    def step_end(self, clock: Clock) -> None:
        self.teacher.follow(keep=clock.linear(self.momentum, 1.0))
