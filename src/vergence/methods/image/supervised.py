"""Deep Residual Learning for Image Recognition: the usual classifier, arXiv:1512.03385."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vergence.core import BadInput, Method, Recipe
from vergence.data import Source
from vergence.data.image.batch import ImageBatch
from vergence.nets.classifier import Classifier, check_classes
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import Augment

Views = tuple[Tensor, Tensor]


class Supervised(Method):
    """Name the class of a photo: what labels teach, beside which every method without them stands.

    He, Zhang, Ren, Sun 2016, arXiv:1512.03385, trains a residual network so; any encoder will do here. What
    is kept is the ``Classifier``. Differs from the paper: crops are of random size and shape, with jittered
    brightness, contrast and saturation; the rate falls at one and two thirds of the run, not where the error
    stands still; tests see one crop, not ten.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        classes: C; labels of the source are below it.
        smoothing: Share of the target that goes evenly to all classes, in [0, 1); 0 in the paper.
    """

    reads = ("labels",)
    recipe = Recipe(
        optimizer="sgd", lr=0.1, batch=256, epochs=120, weight_decay=1e-4,
        schedule="steps", milestones=(1 / 3, 2 / 3), gamma=0.1,
    )  # fmt: skip
    encoder: Classifier

    def __init__(self, encoder: nn.Module, *, classes: int = 10, smoothing: float = 0.0) -> None:
        super().__init__(encoder if isinstance(encoder, Classifier) else Classifier(encoder, classes))
        if not 0 <= smoothing < 1:
            raise BadInput(f"Supervised needs smoothing in [0, 1); got {smoothing}.")
        self.smoothing = smoothing
        jitter = (0.4, 0.4, 0.4, 0.0)
        self.crop = Augment(image_size(encoder), scale=(0.08, 1.0), jitter=jitter, grey=0.0, blur=0.0)

    def setup(self, source: Source) -> None:
        check_classes("Supervised", source, self.encoder)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = dataclasses.replace(self.crop, **options)

    def views(self, batch: ImageBatch) -> Views:
        """Return one crop of each photo ``(B, 3, S, S)`` and its class ``(B,)``."""
        return self.crop(batch).pixels, batch.label

    def loss(self, views: Views) -> dict[str, Tensor]:
        images, labels = views
        logits = self.encoder.classify(self.encode(images)).float()
        self.watch("class_accuracy", (logits.argmax(1) == labels).float().mean())
        return {"class": cross_entropy(logits, labels, label_smoothing=self.smoothing)}
