"""Small convolutional encoders for small images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from vergence.core import Features
from vergence.learn.image.encoders import ImageEncoder, Images


class ConvNet(ImageEncoder):
    """Stages in a row; the pooled vector is the mean of the last map."""

    def __init__(self, stages: Sequence[nn.Module], *, size: int, out_dim: int) -> None:
        super().__init__(size=size)
        self.stages = nn.ModuleList(stages)
        self.out_dim, self.depth = out_dim, len(stages)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Images, *, need: Sequence[str] = ()) -> Features:
        self.check(need)
        x = self.pixels(images)
        for stage in self.stages:
            x = stage(x)
        return Features(x.mean((2, 3)), x, x.flatten(2).transpose(1, 2))

    def layers(self, images: Images, which: Sequence[int] | None = None) -> list[Tensor]:
        wanted = self.chosen(which)
        x = self.pixels(images)
        seen = {}
        for i, stage in enumerate(self.stages[: max(wanted, default=-1) + 1]):
            x = seen[i] = stage(x)
        return [seen[i] for i in wanted]


def conv(inside: int, outside: int, kernel: int, *, stride: int = 1, act: bool = True) -> nn.Sequential:
    """Convolution, batch norm and, if asked, ReLU; keeps the map's size at stride 1."""
    layers = [
        nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outside),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if act else []))


class Patches(nn.Module):
    """Cuts ``(B, 3, H, W)`` in cells of ``side`` pixels: ``(B, 3 side², H / side, W / side)``."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        if self.side == 1:
            return x
        height, width = (n - n % self.side for n in x.shape[-2:])
        return pixel_unshuffle(x[..., :height, :width], self.side).contiguous(
            memory_format=torch.channels_last
        )


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a shortcut (He et al. 2016, arXiv:1512.03385)."""

    def __init__(self, inside: int, outside: int, *, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(inside, outside, 3, stride=stride), conv(outside, outside, 3, act=False)
        )
        same = inside == outside and stride == 1
        self.shortcut = nn.Identity() if same else conv(inside, outside, 1, stride=stride, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet_tiny(*, size: int, width: int = 64) -> ConvNet:
    """Three residual stages on a 16 x 16 grid of patches.

    Args:
        size: Side in pixels; sixteenths of it become the stem's patches.
        width: Channels of the first stage; the later ones have 2 and 4 times as many.
    """
    side = max(1, size // 16)
    stages = [
        nn.Sequential(Patches(side), conv(3 * side * side, width, 3), Residual(width, width)),
        Residual(width, 2 * width, stride=2),
        Residual(2 * width, 4 * width, stride=2),
    ]
    return ConvNet(stages, size=size, out_dim=4 * width)


def nin(*, size: int) -> ConvNet:
    """Network in network as RotNet has it: four blocks of one wide and two 1 x 1 convolutions.

    Gidaris, Singh, Komodakis 2018, arXiv:1803.07728.
    """
    stages = [
        nn.Sequential(conv(3, 192, 5), conv(192, 160, 1), conv(160, 96, 1)),
        nn.Sequential(nn.MaxPool2d(3, 2, 1), conv(96, 192, 5), conv(192, 192, 1), conv(192, 192, 1)),
        nn.Sequential(nn.AvgPool2d(3, 2, 1), conv(192, 192, 3), conv(192, 192, 1), conv(192, 192, 1)),
        nn.Sequential(conv(192, 192, 3), conv(192, 192, 1), conv(192, 192, 1)),
    ]
    return ConvNet(stages, size=size, out_dim=192)
