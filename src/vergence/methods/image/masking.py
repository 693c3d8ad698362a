"""Masking: an encoder's patch, and the error in the holes, for methods that hide parts of a picture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vergence.core import BadInput
from vergence.core.specs import name_of
from vergence.engine.distributed import mean_over_processes
from vergence.nets.image_encoder import ImageEncoder
from vergence.views.pixels.corrupt import Corrupted


def patch_of(encoder: ImageEncoder, method: str, *, visible: bool = False) -> int:
    """Return the side in pixels of a vision transformer's patches.

    Args:
        encoder: The library's or timm's.
        method: Whose encoder it is, for errors.
        visible: Whether the encoder must be one that can leave out or cover patches (``hides_patches``).

    Raises:
        BadInput: If it is no vision transformer, cannot do that, or cuts patches that do not divide its
            images.
    """
    vit: Any = getattr(encoder, "model", encoder)  # timm's lies one deeper
    name = name_of(encoder)
    if not hasattr(vit, "patch_embed"):
        raise BadInput(f"{method} needs a vision transformer; got {name}. Choose --encoder vit-small32.")
    if visible and not getattr(encoder, "hides_patches", False):
        raise BadInput(
            f"{method} needs a vision transformer that leaves out hidden patches; {name} cannot. "
            "Choose --encoder vit-small32."
        )
    patch: int = getattr(vit, "patch", None) or vit.patch_embed.patch_size[0]
    if rest := encoder.size % patch:
        near = max(patch, encoder.size - rest)
        raise BadInput(
            f"{name} cuts patches of {patch} pixels, which do not divide images of {encoder.size}; "
            f"choose --size {near}, or another multiple."
        )
    return patch


def pool_mean_patch(encoder: ImageEncoder) -> None:
    """Let a ViT pool its mean patch from now on: the loss does not reach its class token."""
    timms = getattr(encoder, "model", None)
    if encoder.hides_patches and getattr(timms, "global_pool", None) != "avg":
        encoder.pool = "mean"  # type: ignore[assignment]
        if encoder.spec:  # what it is built from again
            encoder.spec["pool"] = "mean"


def hole_error(repaired: Tensor, views: Corrupted, std: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean absolute error in the holes and, watched only, their PSNR in dB; over all processes.

    Args:
        repaired: ``(B, 3, S, S)`` on the scale of pixels in [0, 1].
        views: What was spoilt.
        std: ``(1, 3, 1, 1)``, what an encoder sees as 1: the unit of the error.
    """
    error = repaired - views.clean
    holes = views.mask[:, None].to(error.dtype)
    count = 3 * mean_over_processes(holes.sum())  # so that every pixel counts alike, whoever has it
    psnr = -10 * torch.log10((error.square() * holes).sum() / count)
    # In the holes only: what can be seen need not be learned, copying would do.
    return (error.abs() / std * holes).sum() / count, psnr
