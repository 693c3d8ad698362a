"""Emerging Properties in Self-Supervised Vision Transformers (DINO), arXiv:2104.14294."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Clock, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import follow_mean
from vergence.losses import centred, dino
from vergence.methods.image.views import crops, local_side
from vergence.nets import PrototypeHead, Teacher, width_of
from vergence.nets.crops import encode_crops
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import View


class DINO(Method):
    """Say of each crop of a photo what a slow copy of yourself says of another, large one; no negatives.

    The copy's scores are centred, lest one prototype win everywhere, and sharpened, lest all win alike.

    Caron et al. 2021, arXiv:2104.14294. Differs from the paper: crops are resampled bilinearly, not
    bicubically, and not blurred up to 64 pixels; the gradient's norm is clipped as a whole, not each
    parameter's; the student is what is kept, where the paper judges the teacher; warm-up ends an optimizer
    step later, and the least rate is scaled to the batch as the highest is.

    Args:
        encoder: Maps images ``(B, 3, S, S)``, of two sizes, to ``(B, D)`` or ``Features``.
        prototypes: K.
        hidden: Width of the head's hidden layers.
        bottleneck: Width in front of the prototypes.
        student_temperature: Above 0.
        teacher_temperature: At the start, and after its warm-up; both above 0.
        teacher_warmup: Epochs over which the one becomes the other, epoch by epoch.
        centre_momentum: Share of the centre kept each step, in [0, 1]; 1 leaves the scores uncentred.
        momentum: Share of the teacher kept each step, in [0, 1]; rises to 1 by a half cosine.
        n_local: Local crops a photo.
        local_size: Their side in pixels; None takes the multiple of the patch nearest to 96/224 of the global
            side.
        global_scale: Share of a photo's area in the global crops.
        local_scale: Share of a photo's area in the local crops.
        freeze_prototypes: Epochs for which the prototypes keep their random start.
    """

    recipe = Recipe(
        optimizer="adamw", lr=5e-4, batch=256, epochs=100, weight_decay=(0.04, 0.4), warmup=10, min_lr=1e-6,
        clip=3.0, encoder="vit-small32",
    )  # fmt: skip
    centre: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        prototypes: int = 65_536,
        hidden: int = 2048,
        bottleneck: int = 256,
        student_temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        teacher_warmup: int = 30,
        centre_momentum: float = 0.9,
        momentum: float = 0.996,
        n_local: int = 8,
        local_size: int | None = None,
        global_scale: tuple[float, float] = (0.4, 1.0),
        local_scale: tuple[float, float] = (0.05, 0.4),
        freeze_prototypes: int = 1,
    ) -> None:
        super().__init__(encoder)
        if min(student_temperature, *teacher_temperature) <= 0:
            raise BadInput(
                f"DINO needs temperatures above 0; got {student_temperature} and {teacher_temperature}."
            )
        if not (0 <= momentum <= 1 and 0 <= centre_momentum <= 1):
            raise BadInput(
                f"DINO needs momentum and centre_momentum in [0, 1]; got {momentum} and {centre_momentum}."
            )
        self.head = PrototypeHead(width_of(encoder), prototypes, hidden=hidden, bottleneck=bottleneck)
        self.teacher = Teacher(nn.Sequential(encoder, self.head))
        self.register_buffer("centre", torch.zeros(prototypes))
        size = image_size(encoder)
        self.crops = crops(
            size,
            local_size=local_size or local_side(size, getattr(encoder, "patch", 1), 96 / 224),
            n_local=n_local,
            global_scale=global_scale,
            local_scale=local_scale,
            jitter=(0.4, 0.4, 0.2, 0.1),
        )
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.teacher_warmup, self.freeze_prototypes = teacher_warmup, freeze_prototypes
        self.centre_momentum, self.momentum = centre_momentum, momentum

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crops = self.crops.with_options({k: v for k, v in options.items() if k != "scale"})

    def views(self, batch: ImageBatch) -> list[View]:
        return self.crops(batch)

    def loss(self, views: list[View]) -> dict[str, Tensor]:
        self.head.frozen = self.clock.epoch < self.freeze_prototypes
        scores = self.head(encode_crops(self.encoder, views)).chunk(len(views))
        meant = self.teacher(torch.cat([view.pixels for view in views[:2]]))  # (2B, K)
        targets = centred(meant, self.centre, temperature=self.sharpness())
        follow_mean(self.centre, meant, keep=self.centre_momentum)  # Eq. 4
        return {"dino": dino(scores, targets.chunk(2), temperature=self.student_temperature)}

    def sharpness(self) -> float:
        """Return the teacher's temperature in the present epoch."""
        start, end = self.teacher_temperature
        over = self.clock.epoch >= self.teacher_warmup
        return end if over else start + (end - start) * self.clock.epoch / max(1, self.teacher_warmup - 1)

    def step_end(self, clock: Clock) -> None:
        self.teacher.follow(self.clock.cosine(self.momentum, 1.0))  # of the step just taken
