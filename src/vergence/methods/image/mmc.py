"""Masked Momentum Contrastive Learning for Zero-shot Semantic Understanding, arXiv:2308.11448.

What it is for stands apart, since any encoder can be asked: ``use.prompts`` finds the thing that a person
points at, ``evaluate.protocols.discrimination`` measures how well an encoder tells things apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Clock, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import follow_mean, gather, over_mean
from vergence.losses import centred, dino, info_nce, soft_cross_entropy
from vergence.methods.image.dinov2 import Crops
from vergence.methods.image.masking import patch_of
from vergence.methods.image.views import crops, local_side
from vergence.nets import PrototypeHead, Teacher, mlp
from vergence.nets.crops import encode_crops
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.views.masks import block_mask

Part = Literal["masked", "momentum", "contrast"]
PARTS = ("masked", "momentum", "contrast")


class MMC(Method):
    """Say of hidden patches, and of the whole photo, what a slow copy says that sees them; tell photos apart.

    The student sees two large crops with blocks of patches hidden, and small crops; the teacher sees the
    large ones whole. Three terms weigh alike: its word on hidden patches ("masked"), its word on the other
    crop ("momentum"), and which of the batch's other crops is the own one ("contrast").

    Wu, Mo, Awais, Atito, Feng, Kittler 2023, arXiv:2308.11448. No code was published, and the paper's heads,
    temperatures and schedules could not be checked: here one head of prototypes serves class token and
    patches, with a centre of its own for each, as in DINO and iBOT; the contrast's head is MoCo v3's without
    a predictor. Crops are resampled bilinearly, and those up to 64 pixels are not blurred.

    Args:
        encoder: A vision transformer that can cover patches: images ``(B, 3, S, S)`` -> ``Features``.
        parts: What is learned from: "masked", "momentum", "contrast", or several.
        prototypes: K.
        hidden: Width of the heads' hidden layers.
        bottleneck: Width in front of the prototypes.
        dim: Width of the contrasted vectors.
        student_temperature: Above 0.
        teacher_temperature: Above 0.
        temperature: Of the contrast, above 0.
        centre_momentum: Share of the centres kept each step, in [0, 1].
        momentum: Share of the teacher kept each step, in [0, 1]; rises to 1 by a half cosine.
        mask_ratio: Least and largest share of a large crop's patches that are hidden.
        n_local: Small crops a photo.
        local_size: Their side in pixels; None takes the multiple of the patch nearest to 96/224 of the large
            crops' side.
        global_scale: Share of a photo's area in the large crops.
        local_scale: Share of a photo's area in the small crops.
    """

    recipe = Recipe(
        optimizer="adamw", lr=5e-4, batch=256, epochs=100, weight_decay=(0.04, 0.4), warmup=10, min_lr=1e-6,
        clip=3.0, encoder="vit-small32",
    )  # fmt: skip
    encoder: ImageEncoder
    centre_images: Tensor
    centre_patches: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        parts: Sequence[Part] = PARTS,  # type: ignore[assignment]
        prototypes: int = 8192,
        hidden: int = 2048,
        bottleneck: int = 256,
        dim: int = 256,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        temperature: float = 0.2,
        centre_momentum: float = 0.9,
        momentum: float = 0.996,
        mask_ratio: tuple[float, float] = (0.1, 0.5),
        n_local: int = 8,
        local_size: int | None = None,
        global_scale: tuple[float, float] = (0.4, 1.0),
        local_scale: tuple[float, float] = (0.05, 0.4),
    ) -> None:
        super().__init__(encoder)
        patch, size = patch_of(encoder, "MMC", visible=True), image_size(encoder)
        if not parts or set(parts) - set(PARTS):
            raise BadInput(f"MMC needs parts to name one or more of {', '.join(PARTS)}; got {tuple(parts)}.")
        if min(student_temperature, teacher_temperature, temperature) <= 0:
            raise BadInput(
                f"MMC needs temperatures above 0; got {student_temperature}, {teacher_temperature} and "
                f"{temperature}."
            )
        if not (0 <= momentum <= 1 and 0 <= centre_momentum <= 1 and 0 < mask_ratio[1] < 1):
            raise BadInput(
                f"MMC needs momentum and centre_momentum in [0, 1] and mask_ratio in (0, 1); got {momentum}, "
                f"{centre_momentum} and {mask_ratio}."
            )
        self.parts = tuple(parts)
        words = {"masked", "momentum"} & set(parts)
        self.head = (
            PrototypeHead(encoder.out_dim, prototypes, hidden=hidden, bottleneck=bottleneck)
            if words
            else None
        )
        self.projector = mlp(encoder.out_dim, hidden, dim) if "contrast" in parts else None
        self.mask_token = nn.Parameter(torch.zeros(1, encoder.out_dim))
        self.teacher = Teacher(encoder)
        self.teacher_head = None if self.head is None else Teacher(self.head)
        self.teacher_projector = None if self.projector is None else Teacher(self.projector)
        self.crops = crops(
            size,
            local_size=local_size or local_side(size, patch, 96 / 224),
            n_local=n_local,
            global_scale=global_scale,
            local_scale=local_scale,
            jitter=(0.4, 0.4, 0.2, 0.1),
        )
        self.grid, self.mask_ratio, self.momentum = size // patch, mask_ratio, momentum
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.temperature, self.centre_momentum = temperature, centre_momentum
        self.register_buffer("centre_images", torch.zeros(prototypes))
        self.register_buffer("centre_patches", torch.zeros(prototypes))

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crops = self.crops.with_options({k: v for k, v in options.items() if k != "scale"})

    def views(self, batch: ImageBatch) -> Crops:
        first, second, *local = self.crops(batch)
        return Crops([first, second], local, self.hide(2 * len(first), first.pixels.device))

    def hide(self, rows: int, device: torch.device) -> Tensor:
        """Return which patches of ``rows`` large crops are hidden, ``(rows, N)`` bool."""
        return block_mask(rows, self.grid, self.mask_ratio, device=device)

    def loss(self, views: Crops) -> dict[str, Tensor]:
        whole, mask = torch.cat([view.pixels for view in views.whole]), views.mask  # (2B, 3, S, S), (2B, N)
        seen, meant = self.encoder(whole, mask=mask, mask_token=self.mask_token[0]), self.teacher(whole)
        terms = {}
        if "masked" in self.parts:
            terms["masked"] = self.of_patches(seen.tokens[mask], meant.tokens[mask])
        if "momentum" in self.parts:
            terms["momentum"] = self.of_photos(seen.pooled, meant.pooled, views)
        if self.projector is not None and self.teacher_projector is not None:
            q1, q2 = self.projector(seen).chunk(2)
            k1, k2 = (gather(keys) for keys in self.teacher_projector(meant).chunk(2))  # own rows first
            both = [info_nce(q, k, temperature=self.temperature) for q, k in ((q1, k2), (q2, k1))]
            terms["contrast"] = (both[0] + both[1]) / 2
        return terms

    def of_patches(self, seen: Tensor, meant: Tensor) -> Tensor:
        """Return the cost of the student's word on hidden patches ``(M, D)``, where the teacher sees them."""
        assert self.head is not None and self.teacher_head is not None
        scores = self.teacher_head(meant)
        targets = centred(scores, self.centre_patches, temperature=self.teacher_temperature)
        follow_mean(self.centre_patches, scores, keep=self.centre_momentum)
        count = torch.tensor(float(len(seen)), device=seen.device)  # processes may hide different numbers
        share = over_mean(count)
        return share * soft_cross_entropy(self.head(seen), targets, temperature=self.student_temperature)

    def of_photos(self, seen: Tensor, meant: Tensor, views: Crops) -> Tensor:
        """Return the cost of the student's word on each crop, where the teacher sees the other large one."""
        assert self.head is not None and self.teacher_head is not None
        scores = list(self.head(seen).chunk(2))
        if views.parts:
            scores += self.head(encode_crops(self.encoder, views.parts)).split(len(scores[0]))
        words = self.teacher_head(meant)
        targets = centred(words, self.centre_images, temperature=self.teacher_temperature)
        follow_mean(self.centre_images, words, keep=self.centre_momentum)
        return dino(scores, targets.chunk(2), temperature=self.student_temperature)

    def step_end(self, clock: Clock) -> None:
        keep = self.clock.cosine(self.momentum, 1.0)
        for teacher in (self.teacher, self.teacher_head, self.teacher_projector):
            if teacher is not None:
                teacher.follow(keep)
