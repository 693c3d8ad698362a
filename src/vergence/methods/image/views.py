"""The kinds of views that images supply: whole batches, on the device, uint8 in and float out.

A factory takes the views' size and options and returns a function from an ``ImageBatch`` to a list
of ``View``. Random numbers come from torch's default generators, which the engine seeds before
every step, or from ``generator`` of the batch's device.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch

from vergence.core.errors import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.views.masks import block_mask, random_mask, stratified_ratios
from vergence.views.pixels.augment import Augment, View
from vergence.views.pixels.geometry import Range


class Several:
    """Make several views of every photo, each by its own ``Augment``."""

    def __init__(self, *augments: Augment) -> None:
        self.augments = augments

    def __call__(self, batch: ImageBatch, generator: torch.Generator | None = None) -> list[View]:
        return [augment(batch, generator) for augment in self.augments]

    def with_options(self, options: Mapping[str, Any]) -> Several:
        """Return the same views with some options of ``Augment`` set to other values."""
        return Several(*(replace(augment, **options) for augment in self.augments))


def pair(size: int | None = None, **options: Any) -> Several:
    """Two views of the same kind (SimCLR, arXiv:2002.05709); options are those of ``Augment``.

    Raises:
        BadInput: Without a size: an encoder that does not say its ``input_spec`` is where that happens.
    """
    if size is None:
        raise BadInput(
            'Views of images need a size: give the encoder input_spec = {"size": 224}, or say size=.'
        )
    augment = Augment(size, **options)
    return Several(augment, augment)


def two_crops(
    size: int,
    *,
    blur: float | Range | None = None,
    solarize: float | Range = (0.0, 0.2),
    **options: Any,
) -> Several:
    """Two views that differ in blur and solarisation (BYOL, arXiv:2006.07733, and MoCo v3).

    Args:
        size: Side of the views in pixels.
        blur: Probability, one a view or one for both; None takes (1.0, 0.1) above 64 pixels, else 0.
        solarize: Probability, one a view or one for both.
        options: Those of ``Augment``; a probability may be given as one a view too.
    """
    blur = blur if blur is not None else (1.0, 0.1) if size > 64 else 0.0
    split: dict[str, Any] = {"blur": _each("blur", blur, 2), "solarize": _each("solarize", solarize, 2)}
    for name in ("flip", "jitter_p", "grey"):
        if name in options:
            split[name] = _each(name, options.pop(name), 2)
    return Several(
        *(Augment(size, **{name: p[view] for name, p in split.items()}, **options) for view in (0, 1))
    )


def _each(name: str, value: float | Sequence[float], count: int) -> list[float]:
    """Return one probability a view, from one for all or from ``count`` of them."""
    values = [value] * count if isinstance(value, int | float) else list(value)
    if len(values) != count:
        raise BadInput(f"{name} needs one probability or {count} of them; got {value}.")
    return values


def crops(
    size: int,
    *,
    local_size: int | None = None,
    n_local: int = 8,
    global_scale: Range = (0.32, 1.0),
    local_scale: Range = (0.05, 0.32),
    blur: float | Sequence[float] | None = None,
    solarize: float | Sequence[float] = (0.0, 0.2, 0.0),
    **options: Any,
) -> Several:
    """Two global views, then ``n_local`` small local ones (DINO, arXiv:2104.14294, and DINOv2).

    Args:
        size: Side of the global views in pixels.
        local_size: Side of the local views; None takes half of ``size``.
        n_local: Number of local views.
        global_scale: Share of the photo's area in the global views.
        local_scale: Share of the photo's area in the local views.
        blur: Probability, one for all or one for the first, the second and the local views; None
            takes (1.0, 0.1, 0.5) above 64 pixels, else 0.
        solarize: Probability, one for all or one for each of the three.
        options: Those of ``Augment``, for all views; ``scale`` is left aside, as the views have their own.
    """
    options.pop("scale", None)
    if n_local < 0:
        raise BadInput(f"crops needs n_local of 0 or more; got {n_local}.")
    blur = blur if blur is not None else (1.0, 0.1, 0.5) if size > 64 else 0.0
    blurs, solarizes = _each("blur", blur, 3), _each("solarize", solarize, 3)
    first, second = (
        Augment(size, scale=global_scale, blur=blurs[i], solarize=solarizes[i], **options) for i in (0, 1)
    )
    local_size = size // 2 if local_size is None else local_size
    local = Augment(local_size, scale=local_scale, blur=blurs[2], solarize=solarizes[2], **options)
    return Several(first, second, *[local] * n_local)


def local_side(size: int, patch: int, share: float) -> int:
    """Return the side of local crops in pixels: the multiple of ``patch`` nearest to a share of ``size``."""
    return max(1, round(size * share / patch)) * patch


class Masked:
    """Make views with some patches marked as hidden; the pixels stay as they are."""

    def __init__(
        self, augment: Augment, *, patch: int, ratio: float | Range, block: bool, views: int
    ) -> None:
        if augment.size % patch:
            raise BadInput(
                f"masked needs a size that is a multiple of the patch; got {augment.size} and {patch}."
            )
        self.augment, self.ratio, self.views = augment, ratio, views
        self.grid = (augment.size // patch, augment.size // patch)
        self.draw = block_mask if block else random_mask
        stratified_ratios(1, ratio)  # a wrong range is told now, not at the first step

    def __call__(self, batch: ImageBatch, generator: torch.Generator | None = None) -> list[View]:
        views = []
        for _ in range(self.views):
            view = self.augment(batch, generator)
            mask = self.draw(len(view), self.grid, self.ratio, device=view.pixels.device, generator=generator)
            views.append(replace(view, mask=mask))
        return views

    def with_options(self, options: Mapping[str, Any]) -> Masked:
        """Return the same views with some options of ``Augment`` set to other values."""
        changed = copy.copy(self)
        changed.augment = replace(self.augment, **options)
        return changed


def masked(
    size: int,
    *,
    patch: int,
    ratio: float | Range = 0.75,
    block: bool = False,
    views: int = 1,
    jitter_p: float = 0.0,
    grey: float = 0.0,
    blur: float = 0.0,
    **options: Any,
) -> Masked:
    """Views with hidden patches; cropped and mirrored only, unless asked otherwise (MAE, arXiv:2111.06377).

    Args:
        size: Side of the views in pixels, a multiple of ``patch``.
        patch: Side of a patch in pixels.
        ratio: Share of hidden patches in [0, 1), or a range that each batch covers evenly.
        block: Hide rectangles (BEiT, iBOT) instead of patches anywhere.
        views: Views a photo.
        jitter_p: Probability of colour jitter.
        grey: Probability of greyscale.
        blur: Probability of blur.
        options: The others of ``Augment``.
    """
    augment = Augment(size, jitter_p=jitter_p, grey=grey, blur=blur, **options)
    return Masked(augment, patch=patch, ratio=ratio, block=block, views=views)


KINDS: dict[str, Callable[..., Callable[..., list[View]]]] = {
    "pair": pair,
    "two_crops": two_crops,
    "crops": crops,
    "masked": masked,
}

# crops and mirrors, of a fine-tuning
MILD: dict[str, Any] = {"scale": (0.5, 1.0), "jitter_p": 0.0, "grey": 0.0, "blur": 0.0}

OPTIONS = tuple(f.name for f in fields(Augment) if f.name != "size")
