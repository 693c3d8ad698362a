"""Masked Autoencoders Are Scalable Vision Learners (MAE), arXiv:2111.06377."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from vergence.core import BadInput, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.masking import patch_of
from vergence.methods.image.views import masked
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.nets.masked import CellValues, Predictor
from vergence.views.masks import shown_and_hidden
from vergence.views.pixels.augment import View


class MAE(Method):
    """Paint the patches that are hidden, most of the picture, from the few that are seen.

    He et al. 2022, arXiv:2111.06377. The encoder reads visible patches alone; a light decoder, which is
    thrown away, gets their places and a mask token for every hidden one. Differs from the paper: photos are
    resized bilinearly; positions are the encoder's own (``positions="sincos"`` of the encoder has the
    paper's fixed ones), as is the start of its weights.

    Args:
        encoder: A vision transformer that can leave out patches, this library's or a plain one of timm's:
            images ``(B, 3, S, S)`` -> ``Features``.
        ratio: Share of the patches that is hidden, in (0, 1).
        target: "normalised" pixels, each patch about its mean in units of its deviation, or the "pixels" as
            the encoder sees them.
        width: Of the decoder.
        depth: Blocks of the decoder.
        heads: Divides ``width``.
    """

    recipe = Recipe(
        optimizer="adamw", lr=1.5e-4, batch=256, epochs=800, betas=(0.9, 0.95), weight_decay=0.05, warmup=40,
        encoder="vit-small32",
    )  # fmt: skip
    encoder: ImageEncoder

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        ratio: float = 0.75,
        target: Literal["normalised", "pixels"] = "normalised",
        width: int = 512,
        depth: int = 8,
        heads: int = 16,
    ) -> None:
        super().__init__(encoder)
        patch, size = patch_of(encoder, "MAE", visible=True), image_size(encoder)
        if target not in ("normalised", "pixels"):
            raise BadInput(f"MAE needs target 'normalised' or 'pixels'; got '{target}'.")
        tokens = (size // patch) ** 2
        if not 0 < round(ratio * tokens) < tokens:
            raise BadInput(
                f"MAE needs a ratio that hides some of the {tokens} patches and shows some; got {ratio}."
            )
        self.crop = masked(size, patch=patch, ratio=ratio)
        self.target = CellValues((patch, patch), normalise=target == "normalised")
        self.decoder = Predictor(
            encoder.out_dim,
            grid=self.crop.grid,
            out=self.target.width,
            width=width,
            depth=depth,
            heads=heads,
        )

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = self.crop.with_options(options)

    def views(self, batch: ImageBatch) -> View:
        (view,) = self.crop(batch)
        return view

    def loss(self, views: View) -> dict[str, Tensor]:
        assert views.mask is not None
        visible, hidden = shown_and_hidden(views.mask)
        cls = ("cls",) if "cls" in self.encoder.extras else ()  # some of timm's have none
        seen = self.encoder(views, keep=visible, need=cls)
        prefix = seen.extra["cls"][:, None] if cls else None
        painted = self.decoder(seen.tokens, visible, hidden, prefix=prefix)
        pixels = self.target.at(self.encoder.pixels(views), hidden)
        return {"repair": self.target.cost(painted, pixels)}  # of hidden patches only
