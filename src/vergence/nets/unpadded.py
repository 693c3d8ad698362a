"""A residual network without padding, whose cells see little of the picture: AMDIM's, arXiv:1906.00910."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from vergence.core import BadInput, Features
from vergence.nets.convnets import Staged
from vergence.nets.image_encoder import Images

SIZES = (32, 64, 128)
GRIDS = (5, 7)  # sides of the maps that stand for places


class Widening(nn.Module):
    """A convolution without padding and one of 1 x 1 around a mean of the same cells.

    Channels that the result has more than the input are 0 in that mean. The second convolution starts at 0
    (Fixup, arXiv:1901.09321), so that the network begins as means of means.
    """

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.step, self.more = kernel, stride, outside - inside
        self.first = nn.Conv2d(inside, outside, kernel, stride, bias=False)
        self.second = nn.Conv2d(outside, outside, 1, bias=False)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        mean = pad(avg_pool2d(x, self.kernel, self.step), (0, 0, 0, 0, 0, self.more))
        return self.second(torch.relu(self.first(x))) + mean


class Unpadded(Staged):
    """Stages that shrink the map to 7 x 7, 5 x 5, 3 x 3 and one cell; only that one sees the whole picture.

    Bachman, Hjelm, Buchwalter 2019, arXiv:1906.00910, Sec. 3.4 and the released code, without its optional
    batch norms.

    Args:
        size: Side of the images in pixels: 32, 64 or 128.
        width: Channels of the first convolution, ndf; twice as many a stage, up to 4 (32 pixels) or 8 times.
        dim: Width of the vector of the whole picture, at least that of the last stage.
        blocks: Convolutions a stage, one of which shrinks the map.
    """

    def __init__(self, *, size: int = 32, width: int = 128, dim: int = 1024, blocks: int = 3) -> None:
        top = width * (4 if size == 32 else 8)
        if size not in SIZES or min(width, blocks) < 1 or dim < top:
            raise BadInput(
                f"Unpadded needs a size of 32, 64 or 128, blocks and a width of 1 or more and a dim of at "
                f"least {top}; got {size}, {blocks}, {width} and {dim}. Take --size 32, or a larger dim."
            )

        def stage(inside: int, outside: int, kernel: int, stride: int = 1) -> nn.Sequential:
            more = [Widening(outside, outside, 1) for _ in range(blocks - 1)]
            return nn.Sequential(Widening(inside, outside, kernel, stride), *more)

        stem: list[nn.Module] = [nn.Conv2d(3, width, 3), nn.ReLU()]
        down: list[nn.Module]
        if size == 32:
            down = [Widening(width, width, 1), stage(width, 2 * width, 4, 2), stage(2 * width, top, 2, 2)]
        else:
            if size == 128:
                wide = nn.Conv2d(3, width, 5, 2, padding=2, padding_mode="reflect")
                stem = [wide, nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU()]
            down = [
                stage(width, 2 * width, 4, 2),
                stage(2 * width, 4 * width, 4, 2),
                stage(4 * width, top, 2, 2),
            ]
        last = nn.Sequential(Widening(top, dim, 3), nn.BatchNorm2d(dim))
        stages = [nn.Sequential(*stem, *down), stage(top, top, 3), stage(top, top, 3), last]
        super().__init__(stages, size=size, out_dim=dim)
        self.grid_width = top
        self.spec = {
            "name": f"{__name__}:Unpadded",
            "size": size,
            "width": width,
            "dim": dim,
            "blocks": blocks,
        }

    def scales(self, images: Images) -> tuple[Tensor, Tensor, Tensor]:
        """Return vectors ``(B, dim)`` and maps ``(B, C, 5, 5)`` and ``(B, C, 7, 7)``; C is ``grid_width``.

        Raises:
            BadInput: If the images are of another size.
        """
        seven, five, _, one = self.layers(images)
        if one.shape[2:] != (1, 1):
            raise BadInput(
                f"Unpadded needs images of {self.size} pixels; got {tuple(one.shape[2:])} cells of them."
            )
        return one.flatten(1), five, seven

    def forward(self, images: Images, *, need: Sequence[str] = ()) -> Features:
        self.check(need)
        one, _, seven = self.scales(images)
        stride, offset = self.places[0]
        return Features.of_map(one, seven, stride=stride, offset=offset)
