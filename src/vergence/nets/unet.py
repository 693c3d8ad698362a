"""U-Net: from maps to maps of the same size, by way of smaller ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two of 1 x 1, around a shortcut (He et al. 2016, arXiv:1512.03385)."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True), nn.Conv2d(outside, outside, 1, bias=False), nn.BatchNorm2d(outside),
        )  # fmt: skip
        self.shortcut = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class UNet(nn.Module):
    """Halve a map ``depth`` times and double it again; each size on the way up sees that of the way down.

    Ronneberger et al. 2015, arXiv:1505.04597, of residual bottlenecks, maxima of 2 x 2 cells and bilinear
    doubling. The last layer starts at zero, and with it all that comes out.

    Args:
        channels: Of what goes in and of what comes out.
        width: Channels of the full size; each half has twice as many.
        depth: Halvings, at least 1; a map has 2^depth pixels a side or more.
    """

    def __init__(self, channels: int = 3, *, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        if width < 1 or depth < 1:
            raise ValueError(f"UNet needs a width and a depth of 1 or more; got {width} and {depth}.")
        self.spec = {"width": width, "depth": depth}
        self.first = Bottleneck(channels, width)
        self.down = nn.ModuleList(Bottleneck(width << i, width << (i + 1)) for i in range(depth))
        self.up = nn.ModuleList(Bottleneck(3 * (width << i), width << i) for i in reversed(range(depth)))
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same size."""
        maps = [self.first(x)]
        for step in self.down:
            maps.append(step(max_pool2d(maps[-1], 2)))
        x = maps.pop()
        for step, across in zip(self.up, reversed(maps), strict=True):
            larger = interpolate(x, size=across.shape[2:], mode="bilinear", align_corners=False)
            x = step(torch.cat([across, larger], 1))
        return self.last(x)
