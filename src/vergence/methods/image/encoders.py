"""Image encoders: small ones for 32 and 64 pixels that train on a CPU, and every model of timm by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from vergence.core import BadInput, input_spec, unknown
from vergence.core.specs import class_at, is_place
from vergence.data.source import Source
from vergence.nets.image_encoder import ImageEncoder

SCHEMES = ("timm",)  # of names that are other libraries'
SMALL = 64  # pixels of views that a CPU can afford


def _own() -> dict[str, Callable[..., ImageEncoder]]:
    from vergence.methods.image.halonet import halonet_h1, halonet_tiny
    from vergence.methods.image.pgt import pgt_tiny
    from vergence.nets.convnets import nin, resnet_tiny
    from vergence.nets.vit import vit_micro, vit_small32

    return {
        "halonet-h1": halonet_h1,
        "halonet-tiny": halonet_tiny,
        "nin": nin,
        "pgt-tiny": pgt_tiny,
        "resnet-tiny": resnet_tiny,
        "vit-micro": vit_micro,
        "vit-small32": vit_small32,
    }


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
    size: int | None = None,
    registers: int = 0,
    pretrained: bool = False,
    stem: str | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    **options: Any,
) -> ImageEncoder:
    """Make an encoder.

    Args:
        name: One of ``names()``; None takes ``choose(size)``. "timm:NAME" is timm's, also where the library
            has one of that name. A timm name may carry the tag of its weights
            (``vit_small_patch14_dinov2.lvd142m``). An untrained ResNet for 32 pixels or fewer gets a 3 x 3
            stem at full resolution (SimCLR, arXiv:2002.05709, Sec. B.9). "vergence.module:Class" is a class;
            one that wraps another encoder takes that one's spec as its option ``encoder``.
        size: Side of the images in pixels, at least 4; None takes 32 for the library's own, for timm's with
            weights the side that these were trained at, else 224.
        registers: Register tokens of a vision transformer, 0 or more.
        pretrained: Load timm's weights, which needs a connection the first time, and preprocess photos as
            they were trained.
        stem: Of a ResNet for 32 pixels or fewer: "full" keeps its own, as its weights need; None lets
            ``pretrained`` decide.
        preprocessing: As of ``ImageEncoder.preprocess_as``; None takes the encoder's own.
        **options: Of the network itself, such as ``drop_path`` and ``layer_scale`` of a transformer.

    Raises:
        BadInput: If the name, the size or an option does not exist, or weights cannot be had.

    >>> build("vit-micro", size=32, registers=4).num_prefix
    5
    >>> build("vergence.nets.descriptor:Descriptor", dim=8, encoder={"name": "resnet-tiny"}).out_dim
    8
    """
    if is_place(name):
        return _build_class(name, size, options)
    own = _own()
    if size is None and name is not None and name not in own and pretrained:
        from vergence.nets.timm_encoder import trained_size

        size = trained_size(name.removeprefix("timm:"), own=sorted(own))
    size = size or (32 if name in own else 224)
    name = name or choose(size)
    if size < 4:
        raise BadInput(f"An image encoder needs a size of 4 pixels or more; got {size}.")
    if registers < 0:
        raise BadInput(f"An image encoder needs 0 or more registers; got {registers}.")
    spec: dict[str, Any] = {"name": name, "size": size, "registers": registers, **options}
    if name in own:
        encoder = _build_own(own[name], name, size, registers, pretrained, options)
    else:
        from vergence.nets.timm_encoder import build_timm

        if stem not in (None, "full"):
            raise BadInput(f"The stem of {name} is 'full', or left out; got {stem!r:.40}.")
        if pretrained or stem:
            spec["stem"] = "full"
        model = name.removeprefix("timm:")
        encoder = build_timm(
            model, size, registers, pretrained, options, own=sorted(own), small_stem=not spec.get("stem")
        )
    if preprocessing is not None:
        encoder.preprocess_as(preprocessing)
    encoder.spec = {**spec, "preprocessing": encoder.settings}
    return encoder


def _build_class(place: str, size: int | None, options: dict[str, Any]) -> ImageEncoder:
    """Make the encoder of a class, and first the one that it wraps, for images of ``size`` pixels."""
    if isinstance(wrapped := options.get("encoder"), Mapping):
        given = {} if size is None else {"size": size}
        options = {**options, "encoder": build(**{**given, **wrapped})}
    cls = class_at(place)
    if size is not None and "size" in inspect.signature(cls).parameters:
        options = {**options, "size": size}
    try:
        made = cast(ImageEncoder, cls(**options))
    except TypeError as error:
        raise BadInput(f"{place} cannot be made: {error}.") from error
    if not made.spec:
        inner = {"encoder": options["encoder"].spec} if isinstance(wrapped, Mapping) else {}
        made.spec = {"name": place, **options, **inner}
    return made


def shorter_side(source: Source) -> int:
    """Return the shorter side in pixels of the median image, of 65 that lie evenly in the source.

    Raises:
        BadInput: If none can be read.
    """
    if len(sides := source.shorter_sides()):  # type: ignore[attr-defined]
        return int(np.sort(sides)[len(sides) // 2])
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
        source: Of images; the median one tells how large they are.
        name: As in ``build``; None chooses.
        size: Side in pixels; None takes 16, 32 or 64 for images of about that size, else 224.
        **options: As in ``build``.

    Raises:
        BadInput: As ``build`` does, and if no image of the source can be read.
    """
    return build(name, size=suited_size(source) if size is None else size, **options)


def adapt(make: Callable[[int], nn.Module], source: Source, *, size: int | None = None) -> ImageEncoder:
    """Return a network of the user's own as an encoder: it gets pixels ``(B, 3, size, size)`` in [0, 1].

    Args:
        make: From the number of channels to the network, whose ``input_spec`` may say the size.
        source: Of images; the median one says the size where nobody else does.
        size: Side in pixels.

    Raises:
        BadInput: If it cannot read them, or answers with something else than a vector or a map a sample.
    """
    from vergence.methods.image.own import PixelEncoder

    net = make(3)
    return PixelEncoder(net, size=size or (input_spec(net) or {}).get("size") or suited_size(source))


def suited_size(source: Source) -> int:
    """Return the side in pixels of views that suit a source: 16, 32 or 64 for images of about that, or 224.

    Raises:
        BadInput: If no image of it can be read.
    """
    side = shorter_side(source)
    return next((size for size in (16, 32, 64) if side <= 1.25 * size), 224)


def choice(source: Source) -> str:
    """Say which size of views suits a source's images, and why."""
    sides = source.shorter_sides()  # type: ignore[attr-defined]
    spread = f" ({sides.min():,} to {sides.max():,})" if len(sides) and sides.min() < sides.max() else ""
    return (
        f"views of {suited_size(source)} pixels, as the shorter side of the median image has "
        f"{shorter_side(source):,}{spread}; --size takes another"
    )


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
