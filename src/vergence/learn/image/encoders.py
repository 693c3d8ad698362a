"""Image encoders: small ones for 32 and 64 pixels that train on a CPU, and every model of timm by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Features, unknown
from vergence.data.batch import ImageBatch
from vergence.data.source import Source
from vergence.learn.image.views import View, plain

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB in [0, 1]
EXTRAS = ("attention", "cls", "keys")

Images = Tensor | View | ImageBatch


class ImageEncoder(nn.Module):
    """Pixels ``(B, 3, H, W)`` in [0, 1] -> ``Features``; normalises them itself.

    Attributes:
        out_dim: Width of ``Features.pooled``.
        size: Side in pixels that batches are brought to; other sizes may come as tensors or views.
        depth: How many layers ``layers`` knows.
        spec: Arguments with which ``build`` makes this network again (without its weights).
    """

    out_dim: int
    depth: int
    spec: dict[str, Any]
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        size: int,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        extras: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.size = size
        self.spec = {}
        self.extras = tuple(extras)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def pixels(self, images: Images) -> Tensor:
        """Return what ``images`` shows as normalised float pixels ``(B, 3, H, W)``, channels last."""
        if isinstance(images, ImageBatch):
            images = plain(images, self.size)
        elif isinstance(images, View):
            images = images.pixels
        if images.ndim != 4 or images.shape[1] != 3:
            raise BadInput(
                f"An image encoder needs RGB pixels (B, 3, H, W); got {tuple(images.shape)}. "
                "Stack single images; repeat a grey channel three times."
            )
        if images.dtype == torch.uint8:
            images = images.float() / 255
        return ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def forward(self, images: Images, *, need: Sequence[str] = ()) -> Features:
        """Return pooled vectors, the map and the tokens.

        Args:
            images: Pixels in [0, 1], a ``View``, or a batch as it was read.
            need: Extras by name: ``attention (B, heads, T, T)`` and ``keys (B, heads, T, d)`` of the
                last layer, ``cls (B, D)``; T counts class and register tokens too.

        Raises:
            BadInput: If this network has no such extra.
        """
        raise NotImplementedError

    def layers(self, images: Images, which: Sequence[int] | None = None) -> list[Tensor]:
        """Return what chosen layers give, all by default; negative numbers count from the last.

        A convolutional stage gives ``(B, D, h, w)``, a transformer block ``(B, N, D)`` without class
        and register tokens and before the final norm.
        """
        raise NotImplementedError

    def tokens(self, images: Images) -> Tensor:
        """Return one vector a patch or cell, ``(B, N, D)``."""
        tokens = self.forward(images).tokens
        if tokens is None:
            raise BadInput(
                f"{self.spec.get('name', type(self).__name__)} has no tokens; choose another encoder."
            )
        return tokens

    def check(self, need: Sequence[str]) -> None:
        """Raise ``BadInput`` if ``need`` names an extra that this network does not have."""
        for name in need:
            if name not in EXTRAS:
                raise unknown("encoder output", name, EXTRAS)
            if name not in self.extras:
                raise BadInput(
                    f"{self.spec.get('name', type(self).__name__)} has no '{name}'; "
                    "choose a vision transformer such as vit-small32."
                )

    def chosen(self, which: Sequence[int] | None) -> list[int]:
        """Return layer numbers counted from 0."""
        if which is None:
            return list(range(self.depth))
        for i in which:
            if not -self.depth <= i < self.depth:
                raise ValueError(f"layers needs numbers from {-self.depth} to {self.depth - 1}; got {i}.")
        return [i % self.depth for i in which]


def _own() -> dict[str, Callable[..., ImageEncoder]]:
    from vergence.learn.image.convnets import nin, resnet_tiny
    from vergence.learn.image.vit import vit_micro, vit_small32

    return {"nin": nin, "resnet-tiny": resnet_tiny, "vit-micro": vit_micro, "vit-small32": vit_small32}


def names() -> list[str]:
    """Return every name that ``build`` knows: the library's own first, then timm's."""
    import timm

    return [*sorted(_own()), *timm.list_models()]


def choose(size: int) -> str:
    """Return the encoder that suits images of ``size`` pixels when nobody says otherwise."""
    return "resnet-tiny" if size <= 64 else "resnet18"


def build(
    name: str | None = None,
    *,
    size: int,
    registers: int = 0,
    pretrained: bool = False,
    descriptor: int | None = None,
    stationary: int | None = None,
    **options: Any,
) -> ImageEncoder:
    """Make an encoder.

    Args:
        name: One of ``names()``; None takes ``choose(size)``. A timm name may carry the tag of its
            weights (``vit_small_patch14_dinov2.lvd142m``). An untrained ResNet for 32 pixels or
            fewer gets a 3 x 3 stem at full resolution (SimCLR, arXiv:2002.05709, Sec. B.9).
        size: Side of the images in pixels, at least 4.
        registers: Register tokens of a vision transformer, 0 or more.
        pretrained: Load timm's weights; needs a connection the first time.
        descriptor: Width of a unit vector for search that a ``Descriptor`` makes of the map, in place of
            the mean; None leaves the mean.
        stationary: Classes of a linear layer to the simplex after it, as a run of CoReS keeps it; None is
            without.
        **options: Of the network itself, such as ``drop_path`` and ``layer_scale`` of a transformer.

    Raises:
        BadInput: If the name, the size or an option does not exist, or weights cannot be had.

    >>> build("vit-micro", size=32, registers=4).num_prefix
    5
    """
    name = name or choose(size)
    if size < 4:
        raise BadInput(f"An image encoder needs a size of 4 pixels or more; got {size}.")
    if registers < 0:
        raise BadInput(f"An image encoder needs 0 or more registers; got {registers}.")
    own = _own()
    if name in own:
        encoder = _build_own(own[name], name, size, registers, pretrained, options)
    else:
        from vergence.learn.image.timm_encoder import build_timm

        encoder = build_timm(name, size, registers, pretrained, options, own=sorted(own))
    encoder.spec = {"name": name, "size": size, "registers": registers, **options}
    if descriptor is not None:
        from vergence.learn.image.descriptor import Descriptor

        encoder = Descriptor(encoder, descriptor)
    if stationary is not None:
        from vergence.learn.image.cores import Stationary

        return cast(ImageEncoder, Stationary(encoder, stationary))
    return encoder


def shorter_side(source: Source) -> int:
    """Return the shorter side in pixels of the first image that can be read.

    Raises:
        BadInput: If there is none.
    """
    first = next(source.loader(1), None)
    if first is None:
        source.skipped.check(len(source), source.uri)
        raise BadInput(f"No image of {source.uri} can be read.")
    return min(first.pixels.shape[2:])


def suited(
    source: Source, name: str | None = None, *, size: int | None = None, **options: Any
) -> ImageEncoder:
    """Make the encoder that suits a source's images.

    Args:
        source: Of images; the first readable one tells how large they are.
        name: As in ``build``; None chooses.
        size: Side in pixels; None takes 16, 32 or 64 for images of about that size, else 224.
        **options: As in ``build``.

    Raises:
        BadInput: As ``build`` does, and if no image of the source can be read.
    """
    if size is None:
        side = shorter_side(source)
        size = next((s for s in (16, 32, 64) if side <= 1.25 * s), 224)
    return build(name, size=size, **options)


def _build_own(
    make: Callable[..., ImageEncoder],
    name: str,
    size: int,
    registers: int,
    pretrained: bool,
    options: dict[str, Any],
) -> ImageEncoder:
    if pretrained:
        raise BadInput(
            f"{name} has no pretrained weights; train it, or choose a timm model such as resnet18."
        )
    known = list(inspect.signature(make).parameters)
    if "registers" in known:
        options = {**options, "registers": registers}
    elif registers:
        raise BadInput(f"{name} cannot take registers; choose a vision transformer such as vit-small32.")
    for option in options:
        if option not in known:
            raise unknown(f"option of {name}", option, [k for k in known if k != "size"])
    return make(size=size, **options)
