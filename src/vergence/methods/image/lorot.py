"""Tailoring Self-Supervision for Supervised Learning (LoRot), arXiv:2207.10023."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vergence.core import Method, Recipe
from vergence.data import Source
from vergence.data.image.batch import ImageBatch
from vergence.nets.classifier import Classifier, check_classes
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import Augment

Views = tuple[Tensor, Tensor, Tensor]


class LoRot(Method):
    """Name the class of a photo of which a part was turned, and say how it was turned.

    Moon, Kim, Heo 2022, arXiv:2207.10023. To see a part's turn the network must look at the part, also where
    another one names the class already. Both answers come from one pass over one view. What is kept is the
    ``Classifier``.

    Differs from the paper: views are cropped to at least 40 % of the photo and mirrored, at any image size.
    Differs from the released code: the square of LoRot-I is drawn for every image, not one for the batch, and
    may touch the last row and column.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        classes: C; labels of the source are below it.
        weight: Of the turn's cross-entropy, at least 0. The paper takes 0.1 for ImageNet and imbalanced data.
        quadrants: Turn one quadrant and name it as well, 16 answers (LoRot-E); else a square of side 2 to S/2
            at any place, 4 answers (LoRot-I).
    """

    reads = ("labels",)
    recipe = Recipe(
        optimizer="adam", lr=1e-3, lr_scaling="none", betas=(0.5, 0.999), batch=64, epochs=100,
        schedule="constant",
    )  # fmt: skip
    encoder: Classifier

    def __init__(
        self, encoder: nn.Module, *, classes: int = 10, weight: float = 0.5, quadrants: bool = True
    ) -> None:
        super().__init__(encoder if isinstance(encoder, Classifier) else Classifier(encoder, classes))
        if weight < 0:
            raise ValueError(f"LoRot needs a weight of at least 0; got {weight}.")
        self.turned = nn.Linear(self.encoder.out_dim, 16 if quadrants else 4)
        self.weight, self.quadrants = weight, quadrants
        self.crop = Augment(image_size(encoder), scale=(0.4, 1.0), jitter_p=0.0, grey=0.0, blur=0.0)

    def setup(self, source: Source) -> None:
        check_classes("LoRot", source, self.encoder)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = dataclasses.replace(self.crop, **options)

    def views(self, batch: ImageBatch) -> Views:
        """Return images ``(B, 3, S, S)`` with a part turned, their classes and their turns, ``(B,)`` both."""
        pixels = self.crop(batch).pixels
        return *self.turn_part(pixels), batch.label

    def turn_part(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Turn a part of each image; return the images and what the head is to answer.

        The answer is the quarters of the turn, counter-clockwise, for quadrants four times the quadrant plus
        these. Quadrants that are turned by 0 look alike: 3 answers in 16 can only be guessed.
        """
        b, size, device = len(pixels), pixels.shape[-1], pixels.device
        turns = torch.randint(4, (b,), device=device)
        if self.quadrants:
            quadrant = torch.randint(4, (b,), device=device)
            half, middle = size // 2, size - size // 2
            corner = torch.stack([quadrant // 2, quadrant % 2], 1) * middle
            return turn_squares(pixels, corner, turns.new_full((b,), half), turns), 4 * quadrant + turns
        side = torch.randint(2, size // 2 + 1, (b,), device=device)
        corner = (torch.rand(b, 2, device=device) * (size - side + 1)[:, None]).long()
        return turn_squares(pixels, corner, side, turns), turns

    def loss(self, views: Views) -> dict[str, Tensor]:
        images, turns, labels = views
        vectors = self.encode(images)
        logits, answers = self.encoder.classify(vectors).float(), self.turned(vectors).float()
        self.watch("class_accuracy", (logits.argmax(1) == labels).float().mean())
        self.watch("turn_accuracy", (answers.argmax(1) == turns).float().mean())
        return {
            "class": cross_entropy(logits, labels),
            "turn": self.weight * cross_entropy(answers, turns),  # λ L_rot
        }


def turn_squares(pixels: Tensor, corner: Tensor, side: Tensor, turns: Tensor) -> Tensor:
    """Turn a square within each image by exact quarters, counter-clockwise; the rest stays.

    Args:
        pixels: ``(B, C, H, W)``.
        corner: ``(B, 2)`` int64, top and left of the squares.
        side: ``(B,)`` int64 pixels.
        turns: ``(B,)`` int64 in [0, 4).
    """
    height, width = pixels.shape[2:]
    top, left, last, k = (n.view(-1, 1, 1) for n in (*corner.unbind(1), side - 1, turns))
    row = torch.arange(height, device=pixels.device).view(1, -1, 1) - top
    column = torch.arange(width, device=pixels.device).view(1, 1, -1) - left
    inside = (row >= 0) & (row <= last) & (column >= 0) & (column <= last)
    row, column = row.expand_as(inside), column.expand_as(inside)
    k = k * inside
    from_row = torch.where(
        k == 1, column, torch.where(k == 2, last - row, torch.where(k == 3, last - column, row))
    )
    from_column = torch.where(
        k == 1, last - row, torch.where(k == 2, last - column, torch.where(k == 3, row, column))
    )
    index = (from_row + top) * width + from_column + left
    return (
        pixels.flatten(2)
        .gather(2, index.flatten(1)[:, None].expand(-1, pixels.shape[1], -1))
        .view(pixels.shape)
    )
