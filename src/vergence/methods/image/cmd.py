"""Cross-Level Multi-Instance Distillation for Self-Supervised Fine-Grained Visual Categorization (CMD).

arXiv:2401.08860.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Clock
from vergence.engine.distributed import follow_mean
from vergence.losses import centred, dino, soft_cross_entropy
from vergence.losses.precision import in_float32
from vergence.methods.image.dino import DINO
from vergence.nets import PrototypeHead, Teacher, width_of
from vergence.nets.crops import encode_regions, match_by_similarity
from vergence.nets.patches import take
from vergence.views.pixels.augment import View


class CMD(DINO):
    """Let a photo and its regions say the same: across crops with a slow copy, and within a network.

    DINO, and the same for regions, each held to the copy's most similar region of the other crop (EsViT);
    beside these, what is said of a crop is held to what its regions say, taken together as a bag.

    Bi et al. 2025, arXiv:2401.08860. Differs from the paper: as ``DINO`` does; any encoder with tokens serves
    in place of a Swin transformer, its tokens as regions. A bag is the mean of its regions' probabilities,
    and the cost is the divergence of the crop's from it. The released code instead hands probabilities, and
    the student's scores, to a function that wants logarithms, sums T regions to a mass of T in place of 1,
    and takes the mean over prototypes. The teacher's divergence has no gradient there either: it is watched.

    Args:
        encoder: Maps images ``(B, 3, S, S)``, of two sizes, to ``Features`` with tokens.
        prototypes: K, of either head.
        hidden: Width of the heads' hidden layers.
        bottleneck: Width in front of the prototypes.
        student_temperature: Above 0.
        teacher_temperature: At the start, and after its warm-up; both above 0.
        teacher_warmup: Epochs over which the one becomes the other, epoch by epoch.
        centre_momentum: Share of the centres kept each step, in [0, 1]; 1 leaves the scores uncentred.
        momentum: Share of the teacher kept each step, in [0, 1]; rises to 1 by a half cosine.
        n_local: Local crops a photo.
        local_size: Their side in pixels; None takes the multiple of the patch nearest to 96/224 of the global
            side.
        global_scale: Share of a photo's area in the global crops.
        local_scale: Share of a photo's area in the local crops.
        freeze_prototypes: Epochs for which the prototypes keep their random start.
        regions: Weight of the regions' distillation, in [0, 1]; the photos' has 1 - regions.
        bag: Weight of the divergence of photos and bags, 0 or more; the runs of record take 0.1.
    """

    recipe = replace(DINO.recipe, epochs=300)
    region_centre: Tensor

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
        regions: float = 0.5,
        bag: float = 1.0,
    ) -> None:
        super().__init__(
            encoder,
            prototypes=prototypes,
            hidden=hidden,
            bottleneck=bottleneck,
            student_temperature=student_temperature,
            teacher_temperature=teacher_temperature,
            teacher_warmup=teacher_warmup,
            centre_momentum=centre_momentum,
            momentum=momentum,
            n_local=n_local,
            local_size=local_size,
            global_scale=global_scale,
            local_scale=local_scale,
            freeze_prototypes=freeze_prototypes,
        )
        if not 0 <= regions <= 1 or bag < 0:
            raise BadInput(f"CMD needs regions in [0, 1] and bag of 0 or more; got {regions} and {bag}.")
        self.region_head = PrototypeHead(width_of(encoder), prototypes, hidden=hidden, bottleneck=bottleneck)
        self.region_teacher = Teacher(self.region_head)
        self.register_buffer("region_centre", torch.zeros(prototypes))
        self.regions, self.bag = regions, bag

    def loss(self, views: list[View]) -> dict[str, Tensor]:
        for head in (self.head, self.region_head):
            head.frozen = self.clock.epoch < self.freeze_prototypes
        vectors, tokens = encode_regions(self.encoder, views)
        photos = self.head(torch.cat(vectors)).chunk(len(views))
        regions = [self.region_head(each) for each in tokens]  # (B, T, K)

        photo_targets, region_targets, keys = self.targets(views[:2])
        pairs = [(v, q) for v in range(len(views)) for q in range(2) if q != v]  # never a crop with itself
        costs = []
        for v, q in pairs:
            match = match_by_similarity(tokens[v], keys[q])  # (B, T)
            meant = take(region_targets[q], match)
            flat = (part.flatten(0, 1) for part in (regions[v], meant))
            costs.append(soft_cross_entropy(*flat, temperature=self.student_temperature))
        bags = [
            bag_divergence(photo, inside, temperature=self.student_temperature)
            for photo, inside in zip(photos, regions, strict=True)
        ]
        return {
            "photos": (1 - self.regions) * dino(photos, photo_targets, temperature=self.student_temperature),
            "regions": self.regions * torch.stack(costs).mean(),
            "bags": self.bag * torch.stack([bags[v] for v, _ in pairs]).mean(),
        }

    @torch.no_grad()
    def targets(self, whole: Sequence[View]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return the teacher's targets ``(B, K)`` and ``(B, T, K)`` and its tokens, of each global crop."""
        encoder, head = self.teacher.network.children()
        vectors, keys = encode_regions(encoder, whole)
        photos = head(torch.cat(vectors))
        regions = torch.cat([self.region_teacher(each) for each in keys])
        temperature = self.sharpness()
        photo_targets = centred(photos, self.centre, temperature=temperature)
        region_targets = centred(regions, self.region_centre, temperature=temperature)
        self.watch("teachers_bags", bag_divergence(photos, regions, temperature=temperature))
        follow_mean(self.centre, photos, keep=self.centre_momentum)
        follow_mean(self.region_centre, regions.flatten(0, 1), keep=self.centre_momentum)
        return list(photo_targets.chunk(len(whole))), list(region_targets.chunk(len(whole))), keys

    def step_end(self, clock: Clock) -> None:
        super().step_end(clock)
        self.region_teacher.follow(self.clock.cosine(self.momentum, 1.0))


@in_float32
def bag_divergence(photos: Tensor, regions: Tensor, *, temperature: float) -> Tensor:
    """Return the mean over photos of KL(p || P), P the mean of the regions' probabilities.

    Args:
        photos: Scores ``(B, K)``; p = softmax(score / temperature).
        regions: Scores ``(B, T, K)`` of the regions of each.
        temperature: Above 0.

    Returns:
        Scalar, in nats, 0 or more; 0 where a photo's probabilities are its regions' mean.

    Source: arXiv:2401.08860, inter-level distillation; of the aggregates the one that is a distribution.
    """
    photo = torch.log_softmax(photos / temperature, dim=1)
    each = torch.log_softmax(regions / temperature, dim=2)
    bag = each.logsumexp(1) - torch.log(each.new_tensor(each.shape[1]))
    return (photo.exp() * (photo - bag)).sum(1).mean()
