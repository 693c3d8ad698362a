"""MV-MR: multi-views and multi-representations for self-supervised learning and knowledge distillation.

arXiv:2303.12130.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from vergence.core import BadInput, Method, Recipe, input_spec, unknown
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import gather
from vergence.engine.encoders import with_weights
from vergence.losses import distance_correlation, variance_hinge
from vergence.methods.image.distill import read_by
from vergence.nets import mlp, width_of
from vergence.nets.image_encoder import MEAN, STD, image_size
from vergence.views.pixels.augment import Augment, plain
from vergence.views.pixels.descriptors import Scattering, local_deviation, oriented_gradients

DESCRIPTORS = ("pixels", "scattering", "augmented", "gradients", "deviation")

Views = tuple[Tensor, Tensor, list[Tensor]]


class MVMR(Method):
    """Agree on two views of a photo, and lie to other photos as fixed descriptors of it do.

    Vectors of the whole photo and of a crop are to be near each other, each number of theirs is to vary, and
    distances between vectors of crops are to go with those between vectors of whole photos (distance
    correlation), and with those between each descriptor of whole photos, whatever its width. What descriptors
    see is so kept, without negatives or a second network. The vectors of a trained encoder are one more
    descriptor: with them alone, this is distillation between networks of any two kinds.

    All distances in a batch are compared: memory grows with B x B, of all processes together.

    Kinakh, Drozdova, Voloshynovskiy 2024, arXiv:2303.12130. Differs from the paper: hues turn by up to 1/6 of
    a circle, not 1/5; a gradient adds its length to two directions by nearness, where the released code gives
    the second one minus the length. That code adds the descriptors' correlations to what is minimised; here
    they are made large, as the paper says. As in that code, "augmented" draws one edit a batch; all
    processes draw the same.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        hidden: Width of the projector's three layers.
        descriptors: Some of "pixels", "scattering", "augmented" (pixels after one more edit), "gradients"
            (HOG), "deviation" (local standard deviation). None takes all, or none of them beside a teacher.
        teacher: The name of an encoder whose vectors are a descriptor: "timm:NAME" (with its weights),
            "run:PATH", "vergence:NAME"; in Python also the encoder itself. It is not trained.
        teacher_size: Side in pixels at which the teacher reads; None takes its own.
        bins: Directions of gradients on half a circle.
    """

    recipe = Recipe(
        optimizer="adam", lr=1e-4, lr_scaling="none", batch=256, epochs=1000, weight_decay=1e-6, warmup=10,
        min_lr=1e-6,
    )  # fmt: skip

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int = 8192,
        descriptors: tuple[str, ...] | None = None,
        teacher: Any = None,
        teacher_size: int | None = None,
        bins: int = 24,
    ) -> None:
        super().__init__(encoder)
        if descriptors is None:
            descriptors = DESCRIPTORS if teacher is None else ()
        for name in descriptors:
            if name not in DESCRIPTORS:
                raise unknown("descriptor", name, DESCRIPTORS)
        if bins < 1:
            raise BadInput(f"MVMR needs 1 direction of gradients or more; got bins={bins}.")
        size = image_size(encoder)
        if ("scattering" in descriptors and size % 4) or ("gradients" in descriptors and size < 8):
            raise BadInput(
                f"MVMR needs a size that 4 divides for 'scattering' and of 8 or more for 'gradients'; "
                f"got {size}. Choose another --size or other descriptors."
            )
        self.descriptors, self.bins = tuple(descriptors), bins
        self.projector = mlp(width_of(encoder), hidden, hidden, hidden, last_bias=False)
        self.scattering = Scattering(size) if "scattering" in descriptors else None
        made = with_weights(teacher) if isinstance(teacher, str) else teacher
        self.teacher = None if made is None else made.requires_grad_(False).eval()
        own = None if made is None else (input_spec(made) or {}).get("size")
        self.teacher_size = teacher_size or own
        self.crop = Augment(size, scale=(0.08, 1.0), jitter=(0.8, 0.8, 0.8, 1 / 6), blur=1.0)

    def train(self, mode: bool = True) -> MVMR:
        """Set the mode of all but the teacher, which is never in training."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = replace(self.crop, **options)

    def views(self, batch: ImageBatch) -> Views:
        """Return whole photos and crops, ``(B, 3, S, S)``, and descriptors of the whole photos."""
        whole = plain(batch, self.crop.size)
        return whole, self.crop(batch).pixels, self.describe(batch, whole)

    def describe(self, batch: ImageBatch, whole: Tensor) -> list[Tensor]:
        """Return each descriptor, ``(B, E)`` of a width E of its own, the teacher's vectors last."""
        seen = standardised(whole)
        vectors: list[Tensor] = []
        for name in self.descriptors:
            if name == "augmented":
                same = torch.Generator(whole.device).manual_seed(self.clock.step)  # in all processes
                edited = replace(self.crop, group=len(batch))(batch, same)
                vectors.append(standardised(edited.pixels))
            elif name == "gradients":
                vectors.append(oriented_gradients(seen, bins=self.bins))
            elif name == "deviation":
                vectors.append(local_deviation(seen))
            else:
                vectors.append(seen if self.scattering is None or name == "pixels" else self.scattering(seen))
        if self.teacher is not None:
            vectors.append(read_by(self.teacher, whole, self.teacher_size))
        return [values.flatten(1) for values in vectors]

    def loss(self, views: Views) -> dict[str, Tensor]:
        whole, crop, described = views
        z, z_crop = (gather(self.projector(self.encode(pixels)).float()) for pixels in (whole, crop))
        terms = {
            "nearness": mse_loss(z, z_crop),
            "spread": variance_hinge(z, eps=1e-8) + variance_hinge(z_crop, eps=1e-8),
            "views": 1 - distance_correlation(z, z_crop),
        }
        for name, values in zip((*self.descriptors, "teacher"), described, strict=False):
            everyone = gather(values)
            terms[name] = 1 - distance_correlation(everyone, z_crop)
            if len(z) >= 4:
                with torch.no_grad():
                    unbiased = distance_correlation(everyone, z_crop, unbiased=True)
                self.watch(f"{name}_unbiased", unbiased)
        return terms


def standardised(pixels: Tensor) -> Tensor:
    """Return pixels ``(B, 3, S, S)`` in [0, 1] less ImageNet's mean, over its deviation, a channel each."""
    mean, deviation = (pixels.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (pixels - mean) / deviation
