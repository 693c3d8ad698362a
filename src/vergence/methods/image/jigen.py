"""Self-Supervised Learning Across Domains (JiGen), arXiv:2007.12368."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vergence.core import BadInput, Method, Recipe
from vergence.core.errors import unknown
from vergence.data import Source
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import mean_over_processes
from vergence.nets.classifier import Classifier
from vergence.nets.image_encoder import image_size
from vergence.nets.permutations import from_tiles, permutation_bank, permuted, to_tiles
from vergence.views.pixels.augment import Augment
from vergence.views.pixels.colour import greyscale, on_rows
from vergence.views.pixels.geometry import quarter_turns

GRID = 3  # tiles along each side
TASKS = ("jigsaw", "rotation")

Views = tuple[Tensor, Tensor, Tensor]


class JiGen(Method):
    """Name the class of a photo, and of the same photo with its tiles in disorder how they lie.

    Bucci, D'Innocente, Liao, Carlucci, Caputo, Tommasi 2021, arXiv:2007.12368. To put tiles in order one must
    know how the parts of a thing lie, which is the same in photos, paintings and sketches: the classifier
    holds in a domain that it has not seen. Images without a label (-1) are those of the target domain, where
    there are some: they teach the order, and that a class should be sure.

    Differs from the paper: partial adaptation (weights of classes) and prediction on a stream of target
    images are left out; hue is jittered by at most 1/6 of a turn; permutations are farthest from their
    nearest one. Differs from the released code of JiGen: the class is learned from ordered images alone,
    which is an option there.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``; it sees sides of a multiple of 3.
        classes: C; labels of the source are below it.
        task: "jigsaw": tiles of a 3 x 3 grid in one of several orders. "rotation": a quarter turn.
        permutations: P, orders beside the right one, at least 1.
        weight: α of the task's cross-entropy on labelled images, at least 0.
        target_weight: α of the task's cross-entropy on images without a label, at least 0.
        entropy: η of the entropy of the class on ordered images without a label, at least 0.
        ordered: β, share of the images that stay as they are, in [0, 1]; the others take any order, also the
            right one.
        tile_grey: Chance of a tile to lose its colour, in [0, 1].
    """

    reads = ("labels",)
    recipe = Recipe(
        optimizer="sgd", lr=1e-3, lr_scaling="none", batch=128, epochs=30, weight_decay=5e-4,
        schedule="steps", milestones=(0.8,), gamma=0.1,
    )  # fmt: skip
    encoder: Classifier
    orders: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        classes: int = 10,
        task: Literal["jigsaw", "rotation"] = "jigsaw",
        permutations: int = 30,
        weight: float = 0.9,
        target_weight: float = 0.9,
        entropy: float = 0.1,
        ordered: float = 0.7,
        tile_grey: float = 0.1,
    ) -> None:
        super().__init__(encoder if isinstance(encoder, Classifier) else Classifier(encoder, classes))
        if task not in TASKS:
            raise unknown("task of JiGen", task, TASKS)
        if permutations < 1 or min(weight, target_weight, entropy) < 0:
            raise BadInput(
                "JiGen needs 1 or more permutations and weights of at least 0; got "
                f"{permutations}, {weight}, {target_weight} and {entropy}."
            )
        if not (0 <= ordered <= 1 and 0 <= tile_grey <= 1):
            raise BadInput(f"JiGen needs ordered and tile_grey in [0, 1]; got {ordered} and {tile_grey}.")
        self.task, self.weight, self.target_weight, self.entropy = task, weight, target_weight, entropy
        self.ordered, self.tile_grey = ordered, tile_grey
        self.register_buffer("orders", permutation_bank(GRID**2, 1 + permutations, keep_order=True))
        self.name_order = nn.Linear(self.encoder.out_dim, self.answers)
        size = image_size(encoder)
        jitter = (0.4, 0.4, 0.4, 1 / 6)
        self.crop = Augment(
            size - size % GRID, scale=(0.8, 1.0), jitter=jitter, jitter_p=1.0, grey=0.0, blur=0.0
        )

    @property
    def answers(self) -> int:
        """How many answers the task has; 0 is that of an image as it is."""
        return len(self.orders) if self.task == "jigsaw" else 4

    def setup(self, source: Source) -> None:
        labels, classes = source.labels, self.encoder.classify.out_features
        if labels is None or labels.max() < 0:
            raise BadInput(f"JiGen learns from labels, and no image of {source.uri} has one.")
        if labels.max() >= classes:
            raise BadInput(
                f"{source.uri} has {labels.max() + 1} classes, JiGen was made for {classes}; "
                f"set classes={labels.max() + 1}."
            )

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = dataclasses.replace(self.crop, **options)

    def views(self, batch: ImageBatch) -> Views:
        """Return images ``(B, 3, S, S)`` in some order, which one it is, and their classes, ``(B,)`` both."""
        b, device = len(batch), batch.pixels.device
        order = torch.randint(self.answers, (b,), device=device)
        order[torch.rand(b, device=device) < self.ordered] = 0
        return self.disordered(self.crop(batch).pixels, order), order, batch.label

    def disordered(self, pixels: Tensor, order: Tensor) -> Tensor:
        """Return images ``(B, 3, S, S)`` with tiles in the orders ``(B,)``, or turned by as many quarters.

        Some tiles lose their colour, also of those that stay in order.
        """
        tiles = to_tiles(pixels, (GRID, GRID))  # (B, 9, 3, t, t)
        grey = torch.rand(tiles.shape[:2], device=pixels.device) < self.tile_grey
        tiles = on_rows(tiles.flatten(0, 1), grey.flatten(), greyscale).view_as(tiles)
        if self.task == "rotation":
            return quarter_turns(from_tiles(tiles, (GRID, GRID)), order)
        return from_tiles(permuted(tiles, self.orders[order]), (GRID, GRID))

    def loss(self, views: Views) -> dict[str, Tensor]:
        images, order, labels = views
        vectors = self.encode(images)
        logits, answers = self.encoder.classify(vectors).float(), self.name_order(vectors).float()
        known, upright = labels >= 0, order == 0
        order_loss = cross_entropy(answers, order, reduction="none")
        named = cross_entropy(logits, labels.clamp_min(0), reduction="none")
        unsure = -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
        self.watch("class_accuracy", mean_of(logits.argmax(1) == labels, known & upright))
        self.watch("order_accuracy", (answers.argmax(1) == order).float().mean())
        terms = {
            "class": mean_of(named, known & upright),
            "order": self.weight * mean_of(order_loss, known),  # α
        }
        if mean_over_processes((~known).sum().float()) > 0:
            terms["target order"] = self.target_weight * mean_of(order_loss, ~known)
            terms["entropy"] = self.entropy * mean_of(unsure, ~known & upright)  # η
        return terms


def mean_of(values: Tensor, rows: Tensor) -> Tensor:
    """Return the mean of ``values (B,)`` over the rows that ``rows (B,)`` names, 0 where it names none.

    Processes divide by the mean of their numbers of such rows: the mean of what they return is that over all.
    """
    count = mean_over_processes(rows.sum().float())
    return (values * rows).sum() / torch.where(count > 0, count, 1.0)
