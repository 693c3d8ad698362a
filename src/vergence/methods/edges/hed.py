"""Holistically-Nested Edge Detection (HED), arXiv:1504.06375."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vergence.core import BadInput, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.data.targets import Boundaries
from vergence.losses.edges import balanced_cross_entropy
from vergence.nets.image_encoder import image_size
from vergence.nets.side_outputs import SideOutputs
from vergence.nets.vgg import VGG16
from vergence.views.pixels.augment import photo_sizes
from vergence.views.pixels.geometry import quarter_turns

Views = tuple[Tensor, Tensor]


class HED(Method):
    """Learn from people's drawings where boundaries are, at every stage of a network and from all together.

    Each stage has a map of its own, at the scale of what its cells see, and each map is taught: what is an
    object's outline is seen by late stages, where it runs by early ones. ``encoder.contours(images)`` is the
    result, for images of any size.

    Xie, Tu 2015, arXiv:1504.06375. Differs from the paper: squares of the encoder's size are cut out of the
    photos, mirrored and turned by quarters, where the paper turns whole photos by 16 angles; all parameters
    have one learning rate, where it has a hundredfold one for stage 5, a hundredth for the sides and a
    thousandth for their weights. The rate stays over the paper's 10,000 steps (20 an epoch); the released
    solver divides it by 10 every 10,000 of 30,001 steps, for which take epochs=1500, schedule="steps",
    milestones=(1/3, 2/3). The paper starts from VGG-16's weights of ImageNet, and the recipe is meant for
    these. The trunk here is untrained unless weights are given: take optimizer="adamw", lr=1e-3 for it.

    Args:
        encoder: The trunk ``vergence.nets.vgg:VGG16``, or one with its side outputs.
        agree: People who must have drawn a pixel for it to be an edge, where that many drew; 1 or more.
        margin: See ``SideOutputs``.
    """

    reads = ("boundaries",)
    recipe = Recipe(
        optimizer="sgd", lr=1e-6, lr_scaling="none", momentum=0.9, weight_decay=2e-4, batch=10, epochs=500,
        schedule="constant", encoder="vergence.nets.vgg:VGG16",
    )  # fmt: skip
    encoder: SideOutputs

    def __init__(self, encoder: VGG16 | SideOutputs, *, agree: int = 3, margin: int = 34) -> None:
        super().__init__(encoder if isinstance(encoder, SideOutputs) else SideOutputs(encoder, margin=margin))
        if agree < 1:
            raise BadInput(f"HED needs 1 or more people who agree; got {agree}.")
        self.agree, self.flip = agree, 0.5

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.flip = options.get("flip", self.flip)

    def views(self, batch: ImageBatch) -> Views:
        """Return squares of photos ``(B, 3, S, S)`` and their edges ``(B, S, S)`` bool."""
        assert batch.targets is not None
        drawn = batch.targets["boundaries"]
        assert isinstance(drawn, Boundaries)
        edges = agreed(drawn, len(batch), self.agree)
        planes = torch.cat([batch.pixels, edges[:, None].to(batch.pixels.dtype)], 1)
        cut = random_squares(planes, photo_sizes(batch), image_size(self.encoder))
        mirror = torch.rand(len(cut), 1, 1, 1, device=cut.device) < self.flip
        cut = torch.where(mirror, cut.flip(3), cut)
        cut = quarter_turns(cut, torch.randint(4, (len(cut),), device=cut.device))
        return cut[:, :3].float() / 255, cut[:, 3] > 0

    def loss(self, views: Views) -> dict[str, Tensor]:
        images, edges = views
        cost = balanced_cross_entropy(self.encoder.logits(images).float(), edges).mean(0)  # (M + 1,)
        return {"sides": cost[:-1].sum(), "fused": cost[-1]}  # Eq. 4, every map with weight 1


def agreed(drawn: Boundaries, count: int, least: int) -> Tensor:
    """Return the pixels that enough people have drawn as a boundary, ``(B, H, W)`` bool.

    Args:
        drawn: Maps of one person or more for each of ``count`` photos.
        count: B.
        least: People who must agree; all of them, where there are fewer.
    """
    maps = drawn.maps.as_subclass(Tensor)
    votes = maps.new_zeros(count, *maps.shape[1:]).index_add_(0, drawn.of, (maps > 0.5).to(maps.dtype))
    people = torch.bincount(drawn.of, minlength=count).clamp(1, least)
    return votes >= people[:, None, None]


def random_squares(planes: Tensor, sizes: Tensor, side: int) -> Tensor:
    """Cut a random square out of each photo, pixels as they are: ``(B, C, side, side)``.

    Args:
        planes: ``(B, C, H, W)``, photos in the upper left corners.
        sizes: ``(B, 2)`` their heights and widths.
        side: In pixels.

    Raises:
        BadInput: If a photo is smaller.
    """
    room = sizes - side
    if (room < 0).any():
        raise BadInput(
            f"HED cuts squares of {side} pixels out of photos, and one has {int(sizes.min())} on its shorter "
            f"side; set --size {int(sizes.min())} or less."
        )
    corner = (torch.rand(room.shape, device=planes.device) * (room + 1)).long()
    down, across = (corner[:, i, None] + torch.arange(side, device=planes.device) for i in (0, 1))
    row = torch.arange(len(planes), device=planes.device)[:, None, None]
    return planes.movedim(1, 3)[row, down[:, :, None], across[:, None]].movedim(3, 1)
