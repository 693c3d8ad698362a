"""Networks of the user's own as image encoders: they get pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor

from vergence.core import BadInput, Features
from vergence.core.specs import own_spec, place_of
from vergence.nets.image_encoder import ImageEncoder, Images, check_facet
from vergence.nets.own import Own, answer, own_module, renewed, width_of_answer


class PixelEncoder(ImageEncoder):
    """A network of the user's own that reads images.

    It gets pixels ``(B, 3, S, S)``, float32 in [0, 1], and normalises them itself if it wants to. It answers
    with vectors ``(B, D)``, with a map ``(B, D, h, w)``, whose mean is the vector, or with ``Features``.

    Args:
        own: The network, its spec, or what makes it.
        size: Side S of the images in pixels.

    Attributes:
        net: The network.

    Raises:
        BadInput: If it cannot read such pixels, or answers with something else.
    """

    def __init__(self, own: Own, *, size: int) -> None:
        super().__init__(size=size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        self.net, self.depth = own_module(own, 3), 1
        device = next((p.device for p in self.net.parameters()), torch.device("cpu"))
        pixels = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
        self.mean, self.std = self.mean.to(device), self.std.to(device)
        gets = f"pixels (2, 3, {size}, {size}), float32 in [0, 1]"
        self.out_dim = width_of_answer(self, self.net, pixels, gets)
        self.spec = {"name": place_of(type(self)), "size": size, "own": own_spec(self.net)}

    def fresh(self) -> PixelEncoder | None:
        """Return the same network with new random weights, or None where there can be none."""
        net = renewed(self.net)
        return None if net is None else PixelEncoder(net, size=self.size)

    def pixels(self, images: Images) -> Tensor:
        return super().pixels(images).contiguous()

    def forward(self, images: Images, *, need: Sequence[str] = ()) -> Features:
        self.check(need)
        pixels = self.pixels(images)
        return answer(self.net(pixels), self.net, len(pixels), maps=True)

    def layers(self, images: Images, which: Sequence[int] | None = None) -> list[Tensor]:
        seen = self.forward(images)
        return [seen.pooled if seen.map is None else seen.map for _ in self.chosen(which)]

    def at_layer(
        self, images: Images, *, layer: int = -1, facet: str = "token", stride: int | None = None
    ) -> Features:
        self.chosen([layer])
        check_facet(self, facet, attends=False, stride=stride)
        seen = self.forward(images)
        if seen.tokens is None:
            raise BadInput(f"{type(self.net).__name__} answers with vectors; tokens need a map (B, D, h, w).")
        return seen

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for parameter in self.net.parameters():  # with channels last, `x.view(len(x), -1)` would raise
            parameter.data = parameter.data.contiguous()
        return self
