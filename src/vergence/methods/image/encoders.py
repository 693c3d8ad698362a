"""Image encoders: small ones for 32 and 64 pixels that train on a CPU, and every model of timm by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

import torch

from vergence.core import BadInput, unknown
from vergence.data.source import Source
from vergence.nets.image_encoder import ImageEncoder

SMALL = 64  # pixels of views that a CPU can afford


def _own() -> dict[str, Callable[..., ImageEncoder]]:
    from vergence.nets.convnets import nin, resnet_tiny
    from vergence.nets.vit import vit_micro, vit_small32

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
        from vergence.nets.timm_encoder import build_timm

        encoder = build_timm(name, size, registers, pretrained, options, own=sorted(own))
    encoder.spec = {"name": name, "size": size, "registers": registers, **options}
    if descriptor is not None:
        from vergence.nets.descriptor import Descriptor

        encoder = Descriptor(encoder, descriptor)
    if stationary is not None:
        from vergence.methods.image.cores import Stationary

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


def for_source(
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


def small(source: Source) -> dict[str, Any]:
    """Return settings of ``learn`` with which a CPU trains in minutes; a GPU takes photos at their size."""
    large = shorter_side(source) > SMALL
    size = SMALL if large and not torch.cuda.is_available() else None
    return {"size": size, "encoder": "resnet-tiny", "encoder_options": {"width": 32}}


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
