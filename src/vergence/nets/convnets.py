"""Small convolutional encoders for small images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from vergence.core import BadInput, Features
from vergence.nets.conv import Conv3x3
from vergence.nets.image_encoder import ImageEncoder, Images, check_facet, sampling


class Staged(ImageEncoder):
    """Stages in a row, each of which may be read; what is pooled is the subclass's to say."""

    def __init__(self, stages: Sequence[nn.Module], *, size: int, out_dim: int) -> None:
        super().__init__(size=size)
        self.stages = nn.ModuleList(stages)
        self.out_dim, self.depth = out_dim, len(stages)
        self.places = [sampling(self.stages[: i + 1]) for i in range(self.depth)]
        self.to(memory_format=torch.channels_last)

    def at_layer(
        self, images: Images, *, layer: int = -1, facet: str = "token", stride: int | None = None
    ) -> Features:
        (number,) = self.chosen([layer])
        check_facet(self, facet, attends=False, stride=stride)
        (x,) = self.layers(images, [number])
        step, offset = self.places[number]
        return Features.of_map(x.mean((2, 3)), x, stride=step, offset=offset, layer=number)

    def layers(self, images: Images, which: Sequence[int] | None = None) -> list[Tensor]:
        wanted = self.chosen(which)
        x = self.pixels(images)
        seen = {}
        for i, stage in enumerate(self.stages[: max(wanted, default=-1) + 1]):
            x = seen[i] = stage(x)
        return [seen[i] for i in wanted]


class ConvNet(Staged):
    """Stages in a row; the pooled vector is the mean of the last map."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage's map."""
        convolutions = ([m for m in stage.modules() if isinstance(m, nn.Conv2d)] for stage in self.stages)
        return tuple(each[-1].out_channels for each in convolutions)

    def forward(self, images: Images, *, need: Sequence[str] = ()) -> Features:
        self.check(need)
        x = self.pixels(images)
        for stage in self.stages:
            x = stage(x)
        stride, offset = self.places[-1]
        return Features.of_map(x.mean((2, 3)), x, stride=stride, offset=offset)


def conv(inside: int, outside: int, kernel: int, *, act: bool = True) -> nn.Sequential:
    """Convolution that keeps the map's size, batch norm and, if asked, ReLU."""
    first = (
        Conv3x3(inside, outside)
        if kernel == 3
        else nn.Conv2d(inside, outside, kernel, padding=kernel // 2, bias=False)
    )
    return nn.Sequential(first, nn.BatchNorm2d(outside), *([nn.ReLU(inplace=True)] if act else []))


class Patches(nn.Module):
    """Cuts ``(B, 3, H, W)`` in cells of ``side`` pixels: ``(B, 3 side², H / side, W / side)``."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = self.kernel_size = self.stride = side
        self.padding = 0

    def forward(self, x: Tensor) -> Tensor:
        if self.side == 1:
            return x
        height, width = (n - n % self.side for n in x.shape[-2:])
        return pixel_unshuffle(x[..., :height, :width], self.side).contiguous(
            memory_format=torch.channels_last
        )


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a shortcut (He et al. 2016, arXiv:1512.03385).

    ``halve`` first takes the mean of 2 x 2 cells: cheaper on a CPU than a convolution of stride 2.
    """

    def __init__(self, inside: int, outside: int, *, halve: bool = False) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2, ceil_mode=True) if halve else nn.Identity()
        self.body = nn.Sequential(conv(inside, outside, 3), conv(outside, outside, 3, act=False))
        self.shortcut = nn.Identity() if inside == outside else conv(inside, outside, 1, act=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(x)
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet_tiny(*, size: int, width: int = 64, blocks: Sequence[int] = (1, 1, 1)) -> ConvNet:
    """Residual stages on a grid of 16 x 16 patches of 2 pixels or more, halved between stages.

    Args:
        size: Side in pixels; sixteenths of it become the stem's patches.
        width: Channels of the first stage; each later one has twice as many.
        blocks: Residual blocks of each stage.
    """
    if width < 1 or not blocks or min(blocks) < 1:
        raise BadInput(f"resnet-tiny needs a width and blocks of 1 or more; got {width} and {tuple(blocks)}.")
    side = max(2, size // 16)
    stages: list[nn.Module] = []
    inside = width
    for i, count in enumerate(blocks):
        outside = width * 2**i
        stage: list[nn.Module] = [Residual(inside, outside, halve=i > 0)]
        stage += [Residual(outside, outside) for _ in range(count - 1)]
        stem = [Patches(side), conv(3 * side * side, width, 3)] if i == 0 else []
        stages.append(nn.Sequential(*stem, *stage))
        inside = outside
    return ConvNet(stages, size=size, out_dim=inside)


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
