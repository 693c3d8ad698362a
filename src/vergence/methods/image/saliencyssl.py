"""Saliency Can Be All You Need In Contrastive Self-Supervised Learning, arXiv:2210.16776."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vergence.core import BadInput, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import gather
from vergence.losses import nt_xent
from vergence.nets import mlp, width_of
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import Augment, View, centre_view, photo_sizes
from vergence.views.pixels.saliency import colour_contrast, region_contrast, salient


class SaliencySSL(Method):
    """Find each photo by what is salient in it: one view shows that on black, the other the whole photo.

    What stands out is found without training, by the contrast of its colours to those of all other regions
    (RC of Cheng et al.) or pixels (HC), in the photo as it was read. Both views go through SimCLR. No crop
    and no jitter is needed; ``standard`` adds them.

    Kocaman, Shir, Bäck, Belbachir 2022, arXiv:2210.16776. Differs from the paper: it tries several
    contrastive methods, here is SimCLR alone; a map is cut at a threshold, not refined by GrabCut. Which view
    is masked, with what around it, and the threshold are choices made here: no code was released. A photo's
    mask is found once and kept, one bit a pixel.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        dim: Width of the contrasted vectors.
        hidden: Width of the projector's hidden layer; None takes the encoder's.
        temperature: Softmax temperature, above 0.
        regions: Contrast regions (RC), else single colours (HC).
        threshold: What is salient, as a share of the largest contrast, in (0, 1].
        standard: Crop, mirror and recolour both views, too, as SimCLR does.
    """

    recipe = Recipe(
        optimizer="lars", lr=4.8, lr_scaling="linear", batch=4096, epochs=100, weight_decay=1e-6, warmup=10
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int = 128,
        hidden: int | None = None,
        temperature: float = 0.1,
        regions: bool = True,
        threshold: float = 0.5,
        standard: bool = False,
    ) -> None:
        super().__init__(encoder)
        if temperature <= 0 or not 0 < threshold <= 1:
            raise BadInput(
                f"SaliencySSL needs temperature > 0 and a threshold in (0, 1]; "
                f"got {temperature} and {threshold}."
            )
        width = width_of(encoder)
        self.projector = mlp(width, hidden or width, dim)
        self.crop = Augment(image_size(encoder))
        self.temperature, self.regions = temperature, regions
        self.threshold, self.standard = threshold, standard
        self.known: dict[int, tuple[np.ndarray, int, int]] = {}  # a photo's row -> its mask's bits and size

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = replace(self.crop, **options)

    def masks(self, batch: ImageBatch) -> Tensor:
        """Return what is salient in each photo, ``(B, H, W)`` bool; found once for each row of the source."""
        rows, sizes = batch.index.tolist(), photo_sizes(batch).tolist()
        masks = np.zeros((len(batch), *batch.pixels.shape[2:]), bool)
        for i, (row, (height, width)) in enumerate(zip(rows, sizes, strict=True)):
            if self.known.get(row, (None, 0, 0))[1:] != (height, width):
                photo = batch.pixels[i, :, :height, :width].permute(1, 2, 0).cpu().numpy()
                contrast = region_contrast(photo) if self.regions else colour_contrast(photo)
                self.known[row] = np.packbits(salient(contrast, self.threshold)), height, width
            bits, height, width = self.known[row]
            masks[i, :height, :width] = np.unpackbits(bits, count=height * width).reshape(height, width)
        return torch.from_numpy(masks).to(batch.pixels.device)

    def views(self, batch: ImageBatch) -> list[View]:
        """Return what is salient in each photo on black, and the whole photo."""
        shown = replace(batch, pixels=batch.pixels * self.masks(batch)[:, None])
        if self.standard:
            return [self.crop(shown), self.crop(batch)]
        return [centre_view(shown, self.crop.size), centre_view(batch, self.crop.size)]

    def loss(self, views: list[View]) -> dict[str, Tensor]:
        first, second = (self.projector(self.encode(view)) for view in views)
        everyone = gather(first), gather(second)  # own rows first
        return {"contrast": nt_xent(*everyone, temperature=self.temperature, anchors=len(first))}
