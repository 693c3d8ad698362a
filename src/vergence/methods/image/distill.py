"""Knowledge distillation: A good teacher is patient and consistent, arXiv:2106.05237."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, interpolate

from vergence.core import BadInput, Clock, Method, Recipe, input_spec, pooled
from vergence.data.image.batch import ImageBatch
from vergence.engine.encoders import with_weights
from vergence.losses.precision import in_float32
from vergence.nets import width_of
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import Augment, plain

Views = tuple[Tensor, Tensor]


class Distill(Method):
    """Make the vectors of a small network say what those of a large one say; no class is named.

    Beyer, Zhai, Royer, Markeeva, Anil, Kolesnikov 2022, arXiv:2106.05237: teacher and student see the very
    same crop (*consistent*), over many epochs (*patient*). Vectors are learned from, whatever the teacher is;
    of a classifier those before the classes.

    Differs from the paper: vectors are compared, not probabilities of classes, which an encoder has not. Each
    of their numbers is brought to mean 0 and variance 1 over the batch, and the loss is one minus the cosine.
    Photos are not mixed (mixup), the optimizer is AdamW, and the colours of crops are jittered as well.

    Args:
        encoder: The student: maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        teacher: The name of the encoder that is learned from: "timm:NAME" (with its weights), "run:PATH",
            "vergence:NAME"; in Python also the encoder itself. It is not trained.
        teacher_size: Side in pixels at which the teacher reads; None takes its own.
        once: The teacher reads each photo once, whole, before the first step, and crops are held against
            that: a *fixed* teacher, as cheap as can be, but less exact (Fig. 2).
    """

    recipe = Recipe(optimizer="adamw", lr=1e-3, batch=256, epochs=100, weight_decay=0.05, warmup=1)
    rows: Tensor | None

    def __init__(
        self, encoder: nn.Module, *, teacher: Any = None, teacher_size: int | None = None, once: bool = False
    ) -> None:
        super().__init__(encoder)
        if teacher is None:
            raise BadInput("distill needs a teacher, such as timm:resnet50, run:PATH or vergence:NAME.")
        made = with_weights(teacher) if isinstance(teacher, str) else teacher
        self.teacher = made.requires_grad_(False).eval()
        self.once = once
        self.teacher_size = teacher_size or (input_spec(made) or {}).get("size")
        self.project = nn.Linear(width_of(encoder), width_of(made))
        self.standardise = nn.BatchNorm1d(width_of(made), affine=False)
        self.crop = Augment(image_size(encoder), scale=(0.25, 1.0), jitter_p=0.8, grey=0.1, blur=0.0)
        self.register_buffer("rows", None)  # of a fixed teacher: one vector a photo

    def train(self, mode: bool = True) -> Distill:
        """Set the student's mode; the teacher is never in training."""
        super().train(mode)
        self.teacher.eval()
        return self

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = dataclasses.replace(self.crop, **options)

    def teach(self, pixels: Tensor) -> Tensor:
        """Return the teacher's vectors ``(B, E)`` of pixels ``(B, 3, S, S)``, brought to its own size."""
        return read_by(self.teacher, pixels, self.teacher_size)

    @torch.no_grad()
    def epoch_start(self, clock: Clock, loader: Iterable[ImageBatch]) -> None:
        """Let a fixed teacher read every photo, once."""
        if not self.once or self.rows is not None:
            return
        size = self.teacher_size or image_size(self.encoder)
        read = [(batch.index, self.teach(plain(batch, size)).half()) for batch in loader]
        index, vectors = (torch.cat(part) for part in zip(*read, strict=True))
        rows = vectors.new_zeros(int(index.max()) + 1, vectors.shape[1])
        rows[index] = vectors
        self.rows = rows

    def views(self, batch: ImageBatch) -> Views:
        """Return a crop of each photo ``(B, 3, S, S)`` and the teacher's vectors ``(B, E)``."""
        pixels = self.crop(batch).pixels
        return pixels, self.teach(pixels) if self.rows is None else self.rows[batch.index].float()

    def loss(self, views: Views) -> dict[str, Tensor]:
        pixels, target = views
        return {"teacher": apart(self.project(self.encode(pixels)), self.standardise(target))}


@in_float32
def apart(said: Tensor, wanted: Tensor) -> Tensor:
    """Return one minus the mean cosine of vectors ``(B, E)`` and those wanted in their places."""
    return 1 - cosine_similarity(said, wanted, dim=1).mean()


@torch.no_grad()
def read_by(teacher: nn.Module, pixels: Tensor, size: int | None) -> Tensor:
    """Return a teacher's vectors ``(B, E)`` of pixels ``(B, 3, S, S)``, resized unless ``size`` is None."""
    if size is not None and size != pixels.shape[-1]:
        pixels = interpolate(
            pixels, (size, size), mode="bilinear", align_corners=False, antialias=size < pixels.shape[-1]
        )
    return pooled(teacher(pixels)).float()
