"""Unsupervised Representation Learning by Predicting Image Rotations (RotNet), arXiv:1803.07728."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from vergence.core import Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.views.pixels.augment import plain
from vergence.views.pixels.geometry import quarter_turns, resized_crop


class RotNet(Method):
    """Say by how many quarter turns a photo was turned; to know, one must know what is on it.

    Gidaris, Singh, Komodakis 2018, arXiv:1803.07728. Differs from the paper: nothing known. The
    middle of the network carries more than its end (Sec. 4.1): read ``encoder.layers(images, [1])``.
    Photos without a natural upright (aerial, textures) teach nothing.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        shift: Farthest shift before turning, as a share of the side, at least 0; what comes in is
            black. 4 of 32 pixels, as on CIFAR-10.
        flip: Chance of a mirror image, in [0, 1].
    """

    recipe = Recipe(
        optimizer="sgd", lr=0.1, batch=128, epochs=200, nesterov=True, weight_decay=5e-4,
        schedule="steps", milestones=(0.3, 0.6, 0.8), gamma=0.2, encoder="nin",
    )  # fmt: skip
    encoder: ImageEncoder

    def __init__(self, encoder: ImageEncoder, *, shift: float = 0.125, flip: float = 0.5) -> None:
        super().__init__(encoder)
        if shift < 0 or not 0 <= flip <= 1:
            raise ValueError(f"RotNet needs shift >= 0 and flip in [0, 1]; got {shift} and {flip}.")
        self.classify = nn.Linear(encoder.out_dim, 4)
        self.shift, self.flip = shift, flip

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.flip = options.get("flip", self.flip)  # the only one that leaves upright what was upright

    def views(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Return all four turns of each image ``(4B, 3, S, S)`` and how many turns they are ``(4B,)``."""
        pixels = plain(batch, image_size(self.encoder))
        b, size, device = len(pixels), pixels.shape[-1], pixels.device
        border = round(self.shift * size)
        # Black enters before turning: a border added afterwards would give the turn away.
        corner = torch.randint(2 * border + 1, (b, 2), device=device)
        boxes = torch.cat([corner, corner.new_full((b, 2), size)], dim=1)
        mirror = torch.rand(b, device=device) < self.flip
        upright = resized_crop(pad(pixels, [border] * 4), boxes, size, flip=mirror)
        # Transposing and flipping only: interpolation would leave traces that give the turn away too.
        turned = torch.cat([quarter_turns(upright, turns) for turns in range(4)])
        return turned, torch.arange(4, device=device).repeat_interleave(b)

    def loss(self, views: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        images, turns = views
        logits = self.classify(self.encode(images)).float()  # (4B, 4)
        self.watch("turn_accuracy", (logits.argmax(1) == turns).float().mean())
        return {"turn": cross_entropy(logits, turns)}  # Eq. 3, averaged over images and turns
