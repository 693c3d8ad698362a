"""Convolutional encoders of clips: R3D-18 and R(2+1)D-18 as torchvision has them, and a small C3D."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Features
from vergence.nets.video_encoder import Clips, VideoEncoder


class Staged3d(VideoEncoder):
    """Stages in a row; the pooled vector is the mean of the last map.

    Args:
        stages: Each ``(B, C, t, h, w)`` -> the same with other numbers.
        out_dim: Channels of the last map.
        stride: How far its cells are apart along (t, h, w), in frames and pixels.
        offset: Where the first has its centre.
        size: See ``VideoEncoder``, as those that follow.
        frames: T.
        read: Frames to learn from.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        *,
        out_dim: int,
        stride: tuple[float, float, float],
        offset: tuple[float, float, float],
        size: int,
        frames: int,
        read: int | None = None,
    ) -> None:
        super().__init__(size=size, frames=frames, read=read)
        self.stages = nn.ModuleList(stages)
        self.out_dim, self.stride, self.offset, self.depth = out_dim, stride, offset, len(stages)

    def layers(self, clips: Clips) -> list[Tensor]:
        """Return the maps ``(B, C, t, h, w)`` of all stages."""
        x, seen = self.volume(clips), []
        with _sound(x):
            for stage in self.stages:
                x = stage(x)
                seen.append(x)
        return seen

    def forward(self, clips: Clips) -> Features:
        x = self.layers(clips)[-1]
        return Features.of_map(x.mean((2, 3, 4)), x, stride=self.stride, offset=self.offset)


def _sound(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """Return the context in which gradients are right.

    On a CPU torch 2.15 leaves part of the gradient of a 3-D convolution's weights unwritten in bfloat16: what
    lay in memory, now and then nan.
    """
    return torch.autocast("cpu", enabled=False) if x.device.type == "cpu" else contextlib.nullcontext()


def r3d_18(*, size: int, frames: int, read: int | None = None, pretrained: bool = False) -> Staged3d:
    """R3D-18 (Tran et al. 2018, arXiv:1711.11248): 3 x 3 x 3 convolutions, 512 numbers, 33.2 million weights.

    Args:
        size: Side in pixels; the paper's is 112.
        frames: T; the paper's is 16.
        read: See ``VideoEncoder``.
        pretrained: Load torchvision's weights of Kinetics-400, which needs a connection the first time.
    """
    return _torchvisions("r3d_18", size, frames, read, pretrained)


def r2plus1d_18(*, size: int, frames: int, read: int | None = None, pretrained: bool = False) -> Staged3d:
    """R(2+1)D-18 (the same paper): each convolution parted into one of space and one of time."""
    return _torchvisions("r2plus1d_18", size, frames, read, pretrained)


def _torchvisions(name: str, size: int, frames: int, read: int | None, pretrained: bool) -> Staged3d:
    from torchvision.models import video

    try:
        net = getattr(video, name)(weights="KINETICS400_V1" if pretrained else None)
    except OSError as error:
        raise BadInput(f"The weights of {name} cannot be had: {error}.") from None
    stages = [nn.Sequential(net.stem, net.layer1), net.layer2, net.layer3, net.layer4]
    first = (0.5, 0.5, 0.5)  # odd kernels, padded by half of themselves: the first centre stays where it was
    return Staged3d(
        stages, out_dim=512, stride=(8, 16, 16), offset=first, size=size, frames=frames, read=read
    )


def c3d_small(*, size: int, frames: int, read: int | None = None, width: int = 32) -> Staged3d:
    """Five 3 x 3 x 3 convolutions with batch norm, halved between them: C3D (arXiv:1412.0767) in small.

    Args:
        size: Side in pixels.
        frames: T.
        read: See ``VideoEncoder``.
        width: Channels of the first; each later one has twice as many, up to eight times.
    """
    if width < 1:
        raise BadInput(f"c3d-small needs a width of 1 or more; got {width}.")
    stages, inside, stride = [], 3, [1.0, 1.0, 1.0]
    for i, share in enumerate((1, 2, 4, 8, 8)):
        halve = [
            i > 1 and frames >= 2 ** (i - 1),
            i > 0 and size >= 2 ** (i + 2),
            i > 0 and size >= 2 ** (i + 2),
        ]
        stride = [step * (1 + half) for step, half in zip(stride, halve, strict=True)]
        kernel = tuple(1 + half for half in halve)
        pool: list[nn.Module] = [nn.MaxPool3d(kernel, ceil_mode=True)] if any(halve) else []
        outside = share * width
        convolution = nn.Conv3d(inside, outside, 3, padding=1, bias=False)
        stages.append(nn.Sequential(*pool, convolution, nn.BatchNorm3d(outside), nn.ReLU(inplace=True)))
        inside = outside
    time, down, across = stride
    centre = (time / 2, down / 2, across / 2)
    return Staged3d(
        stages,
        out_dim=inside,
        stride=(time, down, across),
        offset=centre,
        size=size,
        frames=frames,
        read=read,
    )
