"""GMML is All you Need, arXiv:2205.14986."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vergence.core import Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.masking import hole_error, patch_of, pool_mean_patch
from vergence.nets.image_encoder import ImageEncoder
from vergence.nets.masked import Repainter
from vergence.views.pixels.augment import Augment
from vergence.views.pixels.corrupt import Corrupt, Corrupted, Fill


class GMML(Method):
    """Spoil groups of connected patches and repair them from the rest of the picture.

    Group Masked Model Learning; Atito, Awais, Kittler 2022, arXiv:2205.14986. Differs from the
    paper: ``elsewhere`` fills all holes of a photo from one random shift of it, and another photo
    is never the photo itself; a photo gives one crop a step, where the released code takes two of it to
    match other methods' numbers of updates; crops are resampled bilinearly, not bicubically, and not blurred
    up to 64 pixels. The loss does not reach the class token, so a ViT pools its mean patch from then on.
    Judge by fine-tuning: linear probes are weak.

    Args:
        encoder: A vision transformer over images ``(B, 3, S, S)``.
        fill: What goes in the holes: Gaussian noise, zeros (the mean colour), another place of the
            same photo. Another photo of the batch is always one more; all are equally likely.
        budget: Least and largest share of a photo that is spoilt, in (0, 1). paste: That share where another
        photo is pasted in, in (0, 1). side: Longest side of a rectangle as a share of the photo's, in (0,
        1]. None takes that of 4.2 patches,
            the paper's .3 of 14, or .6: how far off what is seen lies counts in patches.
        align: Grid in pixels on which rectangles lie; divides S. 1 ignores the patches.
    """

    recipe = Recipe(
        optimizer="adamw", lr=5e-4, batch=256, epochs=800, weight_decay=(0.04, 0.4), warmup=10,
        clip=3.0, encoder="vit-small32",
    )  # fmt: skip
    encoder: ImageEncoder

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        fill: Sequence[Fill] = ("noise",),
        budget: tuple[float, float] = (0.5, 0.75),
        paste: float = 0.3,
        side: float | None = None,
        align: int = 1,
    ) -> None:
        super().__init__(encoder)
        patch = patch_of(encoder, "GMML")
        side = longest_side(encoder.size // patch) if side is None else side
        self.holes = Corrupt(
            encoder.size, fill=fill, budget=budget, paste=paste, side=side, align=align, name="GMML"
        )
        # The jitter is light: the colours are what is to be repaired.
        self.crop = Augment(
            encoder.size, scale=(0.05, 1.0), jitter=(0.1, 0.1, 0.1, 0.01), jitter_p=0.3, grey=0.0,
            blur=0.1 if encoder.size > 64 else 0.0,
        )  # fmt: skip
        self.levels = levels(encoder.depth)
        pool_mean_patch(encoder)
        self.repainter = Repainter(encoder.out_dim, patch)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = dataclasses.replace(self.crop, **options)

    def views(self, batch: ImageBatch) -> Corrupted:
        return self.corrupt(self.crop(batch).pixels)

    def corrupt(self, clean: Tensor) -> Corrupted:
        """Spoil groups of pixels in images ``(B, 3, S, S)``; they stay as they were."""
        return self.holes(clean, self.encoder.mean, self.encoder.std)

    def reconstruct(self, images: Any) -> Tensor:
        """Return the repaired images ``(B, 3, S, S)``, on the scale of pixels in [0, 1]."""
        seen = self.encoder.layers(images, self.levels)
        vit: Any = getattr(self.encoder, "model", self.encoder)  # timm's lies one deeper
        tokens = vit.norm(torch.stack(seen).mean(0))  # (B, N, D), without the class token
        return self.repainter(tokens).to(self.encoder.std.dtype) * self.encoder.std + self.encoder.mean

    def loss(self, views: Corrupted) -> dict[str, Tensor]:
        repair, psnr = hole_error(self.reconstruct(views.pixels), views, self.encoder.std)
        self.watch("hole_psnr", psnr)
        return {"repair": repair}


def longest_side(grid: int) -> float:
    """Return the longest side of a rectangle as a share of a photo of ``grid`` patches a side.

    >>> longest_side(14), longest_side(8), longest_side(4)
    (0.3, 0.525, 0.6)
    """
    return min(0.6, round(0.3 * 14 / grid, 6))  # of which more would leave nothing to repair from


def levels(depth: int) -> list[int]:
    """Return the blocks whose tokens are averaged, counted from 0: 6, 8, 10 and 12 of the paper's 12.

    >>> levels(12), levels(4)
    ([5, 7, 9, 11], [1, 2, 3])
    """
    return sorted({math.ceil(depth * share / 6) - 1 for share in (3, 4, 5, 6)})
