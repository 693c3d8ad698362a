"""Patches of photos: cut out, one vector for each, for methods that ask how they lie to each other."""

from __future__ import annotations

from torch import Tensor, stack

from vergence.core import BadInput, Method
from vergence.core.specs import name_of
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.views.pixels.geometry import resized_crop


def patch_side(encoder: ImageEncoder, method: str) -> int:
    """Return the side of patches in pixels: a quarter of an image's, as 96 of 384.

    Raises:
        BadInput: As ``check_patches``.
    """
    check_patches(encoder, method)
    return image_size(encoder) // 4


def check_patches(encoder: ImageEncoder, method: str) -> None:
    """Raise ``BadInput`` unless an encoder takes patches of a quarter of its size, of 4 pixels or more.

    Args:
        encoder: No vision transformer, which takes one size alone.
        method: Whose encoder it is, for the error.
    """
    if hasattr(getattr(encoder, "model", encoder), "patch_embed"):
        raise BadInput(
            f"{method} needs an encoder that takes small patches, too; {name_of(encoder)} takes one size "
            "alone. Choose --encoder resnet-tiny or resnet18."
        )
    if image_size(encoder) < 16:
        raise BadInput(f"{method} needs images of 16 pixels or more; got {image_size(encoder)}.")


def cut_patches(photos: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Cut n patches out of every photo, ``(B, n, 3, side, side)`` in [0, 1].

    A patch shows nothing of what lies outside its box.

    Args:
        photos: ``(B, 3, H, W)``, uint8 or float in [0, 1].
        boxes: ``(B, n, 4)`` top, left, height, width in the photo's pixels; may be fractional.
        side: Of a patch in pixels.
    """
    patches = [resized_crop(photos, box, side) for box in boxes.unbind(1)]
    return stack(patches, 1).clamp_(0, 1)  # sums of rounded weights may exceed 1 in the last bit


def encode_patches(method: Method, patches: Tensor) -> Tensor:
    """Return one vector a patch, ``(B, n, D)`` of ``(B, n, 3, H, W)``; no patch sees another."""
    return method.encode(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
