"""Sobel filter: edges in place of colours, as what an encoder sees."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from vergence.core import Features, input_spec
from vergence.core.specs import wrapping
from vergence.data.image.batch import ImageBatch
from vergence.nets.heads import width_of
from vergence.nets.image_encoder import MEAN, STD, Images, image_size
from vergence.views.pixels.augment import View, plain

ACROSS = ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0))


class Sobel(nn.Module):
    """An encoder that sees the slopes of the grey values, across and down, in its first two channels.

    The third is empty. Nothing is learned from colours, by which groups form all too easily (DeepCluster,
    arXiv:1807.05520).

    Args:
        encoder: Maps images to ``(B, D)`` or ``Features``; gets slopes that are right once it has taken the
            usual mean off and divided by the usual deviation.
    """

    mean: Tensor
    std: Tensor
    kernel: Tensor

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.inner = encoder
        self.size = image_size(encoder)
        self.out_dim = width_of(encoder)
        self.input_spec = input_spec(encoder)
        self.spec = wrapping(self, encoder)
        across = torch.tensor(ACROSS)
        for name, value in (
            ("mean", torch.tensor(MEAN).view(1, 3, 1, 1)),
            ("std", torch.tensor(STD).view(1, 3, 1, 1)),
            ("kernel", torch.stack([across, across.T, torch.zeros(3, 3)])[:, None]),
        ):
            self.register_buffer(name, value, persistent=False)

    def forward(self, images: Images) -> Tensor | Features:
        if isinstance(images, ImageBatch):
            images = plain(images, self.size)
        elif isinstance(images, View):
            images = images.pixels
        return self.inner(self.slopes(images) * self.std + self.mean)

    def slopes(self, pixels: Tensor) -> Tensor:
        """Return the slopes ``(B, 3, H, W)`` of ``(B, 3, H, W)`` in [0, 1]; beyond the edge is mean grey."""
        grey = ((pixels - self.mean) / self.std).mean(1, keepdim=True)
        return conv2d(grey, self.kernel.to(grey), padding=1)
