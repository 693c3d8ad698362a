"""Dense features of any image encoder: a layer's tokens, or its attention's queries, keys or values."""

from __future__ import annotations

from torch import nn

from vergence.core import BadInput, Features
from vergence.nets.image_encoder import ImageEncoder, Images


def tokens(
    encoder: nn.Module,
    images: Images,
    *,
    layer: int = -1,
    facet: str = "token",
    stride: int | None = None,
) -> Features:
    """Return one vector a patch or cell of pictures, and where in the picture each lies.

    A transformer block's "token" is what it hands on, before the final norm; "query", "key" and "value" are
    those of its attention, heads side by side, also where attention is computed in one fused step. Class and
    register tokens are left out; ``pooled`` is the class token's vector, or the mean where there is none. A
    convolutional network has tokens only: the cells of a stage's map.

    Args:
        encoder: An image encoder of this library; ``vergence.methods.image.encoders.build`` makes timm's too.
        images: Pixels ``(B, 3, H, W)`` in [0, 1], a ``View``, or a batch as it was read.
        layer: From 0; negative numbers count from the last.
        facet: "token", "query", "key" or "value".
        stride: Pixels from patch to patch of a transformer, dividing the patch: smaller ones let patches
            overlap, for a finer map, with positions mixed between the learned ones (Amir et al. 2021,
            arXiv:2112.05814, Sec. 3). None lays them side by side.

    Returns:
        ``Features`` with ``tokens (B, N, D)``, ``grid``, and ``stride`` and ``offset`` in pixels where they
        are known: of the library's networks, timm's vision transformers, ResNets, and those of its other
        convolutional networks whose layers follow each other, such as EfficientNets.

    Raises:
        BadInput: If the encoder is of another kind, or has no such facet or stride.
        ValueError: If it has no such layer.

    >>> from vergence.methods.image.encoders import build
    >>> import torch
    >>> keys = tokens(build("vit-micro", size=32), torch.rand(1, 3, 32, 32), facet="key")
    >>> keys.tokens.shape, keys.grid, keys.stride, keys.offset
    (torch.Size([1, 64, 96]), (8, 8), (4, 4), (2.0, 2.0))
    >>> tokens(build("vit-micro", size=32), torch.rand(1, 3, 32, 32), stride=2).grid
    (15, 15)
    """
    if not isinstance(encoder, ImageEncoder):
        raise BadInput(f"tokens needs an image encoder with layers; {type(encoder).__name__} is none.")
    return encoder.at_layer(images, layer=layer, facet=facet, stride=stride)
