"""The convolutional trunk of VGG-16, of any width, without its pooled end."""

from __future__ import annotations

from torch import nn

from vergence.core import BadInput
from vergence.core.specs import place_of
from vergence.nets.convnets import ConvNet


class VGG16(ConvNet):
    """Five stages of 3 x 3 convolutions with ReLU, halved between stages by the largest of 2 x 2.

    Sides that do not divide by 16 are rounded up. Weights start as He et al. 2015 for training from scratch.

    Args:
        size: Side of the images in pixels.
        width: Channels of the first stage; the others have 2, 4, 8 and 8 times as many.

    Source: Simonyan and Zisserman 2015, arXiv:1409.1556, configuration D.
    """

    def __init__(self, *, size: int = 224, width: int = 64) -> None:
        if width < 1:
            raise BadInput(f"VGG16 needs a width of 1 or more; got {width}.")
        inside, stages = 3, []
        for i, (times, count) in enumerate([(1, 2), (2, 2), (4, 3), (8, 3), (8, 3)]):
            layers: list[nn.Module] = [nn.MaxPool2d(2, ceil_mode=True)] if i else []
            for _ in range(count):
                layers += [nn.Conv2d(inside, times * width, 3, padding=1), nn.ReLU(inplace=True)]
                inside = times * width
            stages.append(nn.Sequential(*layers))
        super().__init__(stages, size=size, out_dim=inside)
        self.spec = {"name": place_of(type(self)), "size": size, "width": width}
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
