"""Side outputs: a map of one number a pixel from every stage of a network, and one of them all."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from vergence.core import BadInput, Features, input_spec
from vergence.core.specs import name_of, wrapping
from vergence.nets.image_encoder import Images
from vergence.nets.vgg import VGG16


class SideOutputs(nn.Module):
    """A trunk, one logit a cell from each of its stages, brought to full size, and their weighted sum.

    Sides begin at 0 everywhere, their sum with equal weights.

    Args:
        encoder: The trunk.
        margin: Pixels of the mean colour that are laid around an image first, so that no cell near its edge
            stands for pixels outside alone; 34 in the paper, 0 is cheaper for small images.

    Source: Xie and Tu 2015, arXiv:1504.06375.
    """

    def __init__(self, encoder: VGG16, *, margin: int = 34) -> None:
        super().__init__()
        if not isinstance(encoder, VGG16):
            raise BadInput(
                f"Side outputs need the trunk of a VGG, vergence.nets.vgg:VGG16; got {name_of(encoder)}."
            )
        if margin < 0:
            raise BadInput(f"Side outputs need a margin of 0 pixels or more; got {margin}.")
        self.backbone, self.margin, self.out_dim = encoder, margin, encoder.out_dim
        self.input_spec = input_spec(encoder)
        self.spec = wrapping(self, encoder, margin=margin)
        self.sides = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in encoder.widths)
        self.fuse = nn.Conv2d(len(self.sides), 1, 1)
        for layer, weight in (*((side, 0.0) for side in self.sides), (self.fuse, 1 / len(self.sides))):
            nn.init.constant_(layer.weight, weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, images: Images) -> Features:
        return self.backbone(images)

    def logits(self, images: Images) -> Tensor:
        """Return logits ``(B, M + 1, H, W)`` of the M sides, finest first, and last of their sum."""
        x = self.backbone.pixels(images)
        height, width = x.shape[2:]
        x = pad(x, [self.margin] * 4)
        inside = slice(self.margin, self.margin + height), slice(self.margin, self.margin + width)
        sides = []
        for i, (stage, side) in enumerate(zip(self.backbone.stages, self.sides, strict=True)):
            x = stage(x)
            whole = interpolate(side(x), scale_factor=2.0**i, mode="bilinear") if i else side(x)
            sides.append(whole[..., *inside])
        together = torch.cat(sides, 1)
        return torch.cat([together, self.fuse(together)], 1)

    def contours(self, images: Images, *, averaged: bool = False) -> Tensor:
        """Return how probable a boundary is at each pixel, ``(B, H, W)``.

        Args:
            images: Of any size.
            averaged: Take the mean of all maps in place of the last one.
        """
        maps = self.logits(images).float().sigmoid()
        return maps.mean(1) if averaged else maps[:, -1]
