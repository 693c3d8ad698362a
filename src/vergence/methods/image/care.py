"""Structuring Representation Geometry with Rotationally Equivariant Contrastive Learning (CARE).

arXiv:2306.13924.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from vergence.core import BadInput, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import gather, world
from vergence.losses import gram_difference, nt_xent
from vergence.nets import mlp, width_of
from vergence.nets.image_encoder import image_size
from vergence.views.pixels.augment import Augment, View


class CARE(Method):
    """Let one and the same edit of many photos turn all their vectors by one and the same rotation.

    SimCLR, and besides: a batch is split into groups, and all photos of a group get the same two edits. The
    cosines between them must then be the same after either edit, as they are exactly where one rotation takes
    the vectors after one edit to those after the other: so an edit moves every photo alike, where SimCLR
    leaves it to chance how. The cosines within groups take B x B / G numbers of memory.

    Gupta, Robinson, Lim, Villar, Jegelka 2024, arXiv:2306.13924. Differs from the paper: every group has two
    edits of its own, as the paper says, where the released code draws two for the whole batch. The rotations'
    term is that code's, twice a sum over a photo's partners, not a mean: its weight is meant for that. The
    last photos of a batch, which fill no group, are left out of that term.

    Args:
        encoder: Maps images ``(B, 3, S, S)`` to ``(B, D)`` or ``Features``.
        dim: Width of the contrasted vectors.
        hidden: Width of the projector's hidden layer.
        temperature: Softmax temperature, above 0.
        weight: Of the rotations' term, λ, not negative: 0.03 on CIFAR-10, 0.01 on STL-10.
        groups: G, into which a batch of all processes is split, at least one a process: 16 on CIFAR-10, 8 on
            STL-10; each has 2 photos at least.
    """

    recipe = Recipe(optimizer="adam", lr=1e-3, lr_scaling="none", batch=256, epochs=400, weight_decay=1e-6,
                    schedule="constant")  # fmt: skip

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int = 128,
        hidden: int = 512,
        temperature: float = 0.5,
        weight: float = 0.03,
        groups: int = 16,
    ) -> None:
        super().__init__(encoder)
        if temperature <= 0 or weight < 0 or groups < 1:
            raise BadInput(
                f"CARE needs temperature > 0, a weight of 0 or more and 1 group or more; "
                f"got {temperature}, {weight} and {groups}."
            )
        self.projector: nn.Module = mlp(width_of(encoder), hidden, dim)
        self.crop = Augment(image_size(encoder), scale=(0.08, 1.0), blur=0.5)
        self.temperature, self.weight, self.groups = temperature, weight, groups

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = replace(self.crop, **options)

    def group_size(self, photos: int) -> int:
        """Return the photos of each group, of a batch with ``photos`` in this process."""
        if photos < 2:
            raise BadInput(f"CARE needs 2 or more samples a batch; got {photos}. Raise --batch-size.")
        return min(photos, max(2, photos * world() // self.groups))

    def views(self, batch: ImageBatch) -> list[View]:
        """Return two views with edits of each photo's own, then two with edits that a group shares."""
        shared = replace(self.crop, group=self.group_size(len(batch)))
        return [self.crop(batch), self.crop(batch), shared(batch), shared(batch)]

    def loss(self, views: list[View]) -> dict[str, Tensor]:
        first, second, one, other = (self.projector(self.encode(view)) for view in views)
        everyone = gather(first), gather(second)  # own rows first
        rotation = gram_difference(one, other, group=self.group_size(len(one)))
        return {
            "contrast": nt_xent(*everyone, temperature=self.temperature, anchors=len(first)),
            "rotation": 2 * self.weight * rotation,
        }
