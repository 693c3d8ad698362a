"""DINOv2: Learning Robust Visual Features without Supervision, arXiv:2304.07193."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Clock, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import follow_mean, gather, gather_uneven, over_mean
from vergence.losses import centred, dino, koleo, sinkhorn, soft_cross_entropy
from vergence.methods.image.masking import patch_of
from vergence.methods.image.views import crops, local_side
from vergence.nets import PrototypeHead, Teacher
from vergence.nets.crops import encode_crops
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.views.masks import block_mask
from vergence.views.pixels.augment import View


@dataclass(frozen=True, slots=True)
class Crops:
    """What one step looks at.

    Args:
        whole: The two global views of every photo.
        parts: The local views.
        mask: ``(2B, N)`` bool, the patches of the global views that the student does not see.
    """

    whole: list[View]
    parts: list[View]
    mask: Tensor


class DINOv2(Method):
    """Say what a slow copy of yourself says of the whole photo, from a part of it or with patches hidden.

    Oquab et al. 2024, arXiv:2304.07193. Differs from the paper: no final phase at high resolution; the
    iBOT term is a mean over the masked photos, where the released code divides by all of them; in
    several processes KoLeo looks for neighbours among the photos of all. Crops are resampled bilinearly, not
    bicubically, and not blurred up to 64 pixels; a share of hidden patches is reached exactly; the least
    rate is scaled to the batch as the highest is; weight decay shrinks prototypes that wait for their first
    epoch, too; the student is what is kept, where the paper judges the teacher. Stochastic depth
    (``drop_path``) and ``layer_scale`` are the encoder's, and so are register tokens (Darcet et al. 2024).

    Args:
        encoder: A vision transformer that can cover patches, this library's or a plain one of timm's: images
            ``(B, 3, S, S)`` -> ``Features`` with class and patch tokens.
        prototypes: K. 65,536 in the paper; Sinkhorn wants no more than a few times the rows of a batch.
        hidden: Width of the head's hidden layers.
        bottleneck: Width in front of the prototypes.
        separate_heads: Give patches a head of their own, as the paper does at scale.
        centring: Keep the teacher's targets from collapsing by "sinkhorn" or by a running "centre".
        student_temperature: Above 0.
        teacher_temperature: At the start, and from 30 % of the run on; both above 0.
        momentum: Share of the teacher kept each step, in [0, 1]; rises to 1 by a half cosine.
        n_local: Local views a photo.
        local_size: Their side in pixels; None takes the multiple of the patch nearest to 98/224 of
            the global side.
        global_scale: Share of a photo's area in the global views.
        local_scale: Share of a photo's area in the local views.
        masked: Share of the global views with hidden patches, in [0, 1].
        mask_ratio: Least and largest share of patches hidden in them.
        ibot: Weight of the patch term, 0 or more.
        spread: Weight of the KoLeo term, 0 or more.
        freeze_prototypes: Epochs for which the prototypes keep their random start.
    """

    recipe = Recipe(
        optimizer="adamw", lr=4e-3, lr_scaling="sqrt", batch=1024, epochs=100, weight_decay=(0.04, 0.4),
        warmup=10, clip=3.0, layer_decay=0.9, patch_rate=0.2, min_lr=1e-6, encoder="vit-small32",
    )  # fmt: skip
    find_unused_parameters = True
    encoder: ImageEncoder
    centre_images: Tensor
    centre_patches: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        prototypes: int = 65_536,
        hidden: int = 2048,
        bottleneck: int = 256,
        separate_heads: bool = False,
        centring: Literal["sinkhorn", "centre"] = "sinkhorn",
        student_temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        momentum: float = 0.992,
        n_local: int = 8,
        local_size: int | None = None,
        global_scale: tuple[float, float] = (0.32, 1.0),
        local_scale: tuple[float, float] = (0.05, 0.32),
        masked: float = 0.5,
        mask_ratio: tuple[float, float] = (0.1, 0.5),
        ibot: float = 1.0,
        spread: float = 0.1,
        freeze_prototypes: int = 1,
    ) -> None:
        super().__init__(encoder)
        patch, size = patch_of(encoder, "DINOv2", visible=True), image_size(encoder)
        if min(student_temperature, *teacher_temperature) <= 0 or not 0 <= masked <= 1:
            raise BadInput(
                f"DINOv2 needs temperatures above 0 and masked in [0, 1]; got {student_temperature}, "
                f"{teacher_temperature} and {masked}."
            )
        widths: dict[str, int] = {"hidden": hidden, "bottleneck": bottleneck}
        count = 2 if separate_heads else 1
        self.heads = nn.ModuleList(
            PrototypeHead(encoder.out_dim, prototypes, **widths, gain=True) for _ in range(count)
        )
        # a row, not a vector: vectors are spared from weight decay, and the paper's mask token is not
        self.mask_token = nn.Parameter(torch.zeros(1, encoder.out_dim), requires_grad=masked > 0)
        self.teacher, self.teacher_heads = Teacher(encoder), Teacher(self.heads)
        self.crops = crops(
            size,
            local_size=local_size or local_side(size, patch, 98 / 224),
            n_local=n_local,
            global_scale=global_scale,
            local_scale=local_scale,
            jitter=(0.4, 0.4, 0.2, 0.1),
        )
        self.grid = size // patch
        self.centring, self.momentum = centring, momentum
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.masked, self.mask_ratio, self.ibot, self.spread = masked, mask_ratio, ibot, spread
        self.freeze_prototypes = freeze_prototypes
        self.register_buffer("centre_images", torch.zeros(prototypes))
        self.register_buffer("centre_patches", torch.zeros(prototypes))

    def configure_views(self, options: Mapping[str, Any]) -> None:
        apart = {"scale"}  # global and local views have their own
        self.crops = self.crops.with_options({k: v for k, v in options.items() if k not in apart})

    def views(self, batch: ImageBatch) -> Crops:
        first, second, *parts = self.crops(batch)
        rows, device = 2 * len(first), first.pixels.device
        mask = torch.zeros(rows, self.grid**2, dtype=torch.bool, device=device)
        hidden = torch.randperm(rows, device=device)[: round(self.masked * rows)]
        mask[hidden] = block_mask(len(hidden), self.grid, self.mask_ratio, device=device)
        return Crops([first, second], parts, mask)

    def loss(self, views: Crops) -> dict[str, Tensor]:
        whole = torch.cat([view.pixels for view in views.whole])  # (2B, 3, S, S)
        mask, b = views.mask, len(whole) // 2
        image_head, patch_head = self.heads[0], self.heads[-1]
        for head in self.heads:
            head.frozen = self.clock.epoch < self.freeze_prototypes  # type: ignore[assignment]

        seen = self.encoder(whole, mask=mask, mask_token=self.mask_token[0])
        cls, hidden = seen.pooled, seen.tokens[mask]  # (2B, D), (M, D)
        images = list(image_head(cls).chunk(2))
        if views.parts:
            images += image_head(encode_crops(self.encoder, views.parts)).split(b)

        image_targets, patch_targets = self.targets(whole, mask)
        terms = {"dino": dino(images, image_targets, temperature=self.student_temperature)}
        if self.ibot:
            weights = (1 / mask.sum(1).clamp_min(1))[:, None].expand_as(mask)[
                mask
            ]  # a photo's patches share 1
            shown = weights.sum().float()  # photos with hidden patches: processes may have different numbers
            share = over_mean(shown)
            terms["ibot"] = (self.ibot * share) * soft_cross_entropy(
                patch_head(hidden), patch_targets, temperature=self.student_temperature, weights=weights
            )
        if self.spread:
            first, second = (
                gather(half) for half in cls.chunk(2)
            )  # never two views of one photo in one term
            terms["koleo"] = self.spread * (koleo(first) + koleo(second))
        return terms

    @torch.no_grad()
    def targets(self, whole: Tensor, mask: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the teacher's word on both global views ``(B, K)`` and on hidden patches ``(M, K)``."""
        shown = self.teacher(whole)
        heads = list(self.teacher_heads.network.children())
        images, patches = heads[0](shown.pooled), heads[-1](shown.tokens[mask])
        start, end = self.teacher_temperature
        temperature = start + (end - start) * min(1.0, self.clock.progress / 0.3)
        if self.centring == "sinkhorn":
            everyone = torch.cat([gather(crop) for crop in images.chunk(2)])  # own rows first in each half
            halves = sinkhorn(everyone, temperature=temperature).chunk(2)
            targets = [half[: len(images) // 2] for half in halves]
            hidden = gather_uneven(patches)
            hidden = sinkhorn(hidden, temperature=temperature) if len(hidden) else hidden
            return targets, hidden[: len(patches)]
        targets = list(centred(images, self.centre_images, temperature=temperature).chunk(2))
        hidden = centred(patches, self.centre_patches, temperature=temperature)
        follow_mean(self.centre_images, images, keep=0.9)
        follow_mean(self.centre_patches, patches, keep=0.9)
        return targets, hidden

    def step_end(self, clock: Clock) -> None:
        keep = clock.cosine(self.momentum, 1.0)
        self.teacher.follow(keep)
        self.teacher_heads.follow(keep)
