"""Visualizing Deep Similarity Networks.

Stylianou, Souvenir, Pless 2019, arXiv:1901.00536.

The vector of a picture is a sum of parts, one for each place i of its last map X: with mean pooling
p_i = X_i/N, with max pooling what each channel attains at i (shared where several do), and a linear layer
after it makes p_i into W p_i + b/N. So the cosine of two pictures is a sum over their places,

    cos(x, y) = Σ_i ⟨p_i, y⟩ / (|x| |y|) = Σ_j ⟨x, q_j⟩ / (|x| |y|),

and its terms are two heat maps that say where the likeness comes from. Their values may be negative; their
sums are the cosine, exactly (Sec. 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from vergence.core import Features
from vergence.core.errors import BadInput, unknown
from vergence.losses.precision import in_float32

Pool = Literal["mean", "max", "flatten"]
POOLS: tuple[Pool, ...] = ("mean", "max", "flatten")


@dataclass(frozen=True, slots=True)
class Why:
    """Where the likeness of pairs comes from.

    Args:
        score: ``(B,)`` cosines.
        first: ``(B, h, w)``, adds up to ``score``: what each place of the first picture contributes.
        second: ``(B, h', w')``, likewise of the second.
    """

    score: Tensor
    first: Tensor
    second: Tensor

    def upsampled(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return both maps at the size of a picture, ``(B, H, W)``, to lay over it."""
        first, second = (
            interpolate(part[:, None], (height, width), mode="bilinear")[:, 0]
            for part in (self.first, self.second)
        )
        return first, second


def explain(first: Tensor, second: Tensor, *, pool: Pool = "mean", layer: nn.Linear | None = None) -> Why:
    """Divide the cosine of pairs among the places of their maps.

    Args:
        first: ``(B, C, h, w)``, the last map before pooling, after its activation.
        second: ``(B, C, h', w')``.
        pool: "mean", "max", or "flatten": no pooling, ``layer`` sees every place.
        layer: Linear layer after pooling whose output is compared; None compares what is pooled.

    Raises:
        BadInput: If channels differ or ``layer`` does not fit.
    """
    if first.ndim != 4 or second.ndim != 4 or len(first) != len(second) or first.shape[1] != second.shape[1]:
        raise BadInput(
            "Two maps (B, C, h, w) with the same B and C can be compared; "
            f"got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    p, q = parts(first, pool=pool, layer=layer), parts(second, pool=pool, layer=layer)
    x, y = p.sum(1), q.sum(1)
    scale = x.norm(dim=1) * y.norm(dim=1)
    scale = scale.clamp_min(1e-12)
    m1 = torch.einsum("bnd,bd->bn", p, y) / scale[:, None]
    m2 = torch.einsum("bnd,bd->bn", q, x) / scale[:, None]
    return Why((x * y).sum(1) / scale, m1.view(-1, *first.shape[2:]), m2.view(-1, *second.shape[2:]))


def parts(features: Tensor, *, pool: Pool = "mean", layer: nn.Linear | None = None) -> Tensor:
    """Return the part ``(B, N, D)`` of each place of a map; they add up to the vector.

    Args:
        features: ``(B, C, h, w)``, N = h w.
        pool: As in ``explain``.
        layer: As in ``explain``.
    """
    if pool not in POOLS:
        raise unknown("pooling", pool, POOLS)
    x = features.float().flatten(2).transpose(1, 2)  # (B, N, C)
    n, c = x.shape[1:]
    wanted = n * c if pool == "flatten" else c
    if (pool == "flatten" and layer is None) or (layer is not None and layer.in_features != wanted):
        raise BadInput(
            f"After pool='{pool}' a linear layer of {wanted} inputs is needed for maps "
            f"{tuple(features.shape[1:])}; got {layer}."
        )
    if pool == "flatten":
        assert layer is not None
        slices = layer.weight.float().view(-1, c, n)  # (D, C, N), as torch flattens (C, h, w)
        x = torch.einsum("bnc,dcn->bnd", x, slices)
    else:
        if pool == "mean":
            x = x / n
        else:
            attained = (x == x.amax(1, keepdim=True)).float()
            x = x * attained / attained.sum(1, keepdim=True)
        if layer is not None:
            x = x @ layer.weight.float().T
    return x if layer is None or layer.bias is None else x + layer.bias.float() / n


def part_vectors(
    features: Tensor, weights: Tensor, *, pool: Pool = "mean", layer: nn.Linear | None = None
) -> Tensor:
    """Return vectors ``(B, D)`` of unit length of chosen places only, to search by a part of a picture.

    Args:
        features: ``(B, C, h, w)``.
        weights: ``(B, h, w)``, how much each place counts, such as ``inside(box, h, w)``.
        pool: As in ``explain``.
        layer: As in ``explain``.
    """
    chosen = parts(features, pool=pool, layer=layer) * weights.to(features.device).flatten(1)[:, :, None]
    return normalize(chosen.sum(1), dim=1)


def box_coverage(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return how much of each cell of a grid lies in a box, ``(B, height, width)`` in [0, 1].

    Args:
        boxes: ``(B, 4)`` top, left, height, width, as shares of the picture.
        height: Rows of the grid.
        width: Its columns.
    """
    top, left, tall, wide = boxes.float().unbind(1)
    return _cover(top, tall, height)[:, :, None] * _cover(left, wide, width)[:, None]


def _cover(start: Tensor, length: Tensor, cells: int) -> Tensor:
    edge = torch.arange(cells + 1, device=start.device) / cells
    held = edge.clamp(start[:, None], (start + length)[:, None])
    return held.diff(dim=1) * cells


@in_float32
@torch.no_grad()
def explain_pictures(encoder: nn.Module, first: Tensor, second: Tensor) -> Why:
    """Explain why an encoder whose vector is the mean of its map finds pairs of pictures alike.

    Args:
        encoder: Answers with ``Features`` that have a map. Where its vector is something else, such as a
            class token, what is explained is the cosine of the means of the maps.
        first: ``(B, 3, H, W)`` in [0, 1].
        second: Likewise.

    Raises:
        BadInput: If the encoder has no map.
    """
    maps = []
    for pictures in (first, second):
        seen = encoder(pictures)
        if not isinstance(seen, Features) or seen.map is None:
            raise BadInput(
                f"{type(encoder).__name__} has no map of features, so that no place can be named; "
                "choose a convolutional encoder or a vision transformer."
            )
        maps.append(seen.map)
    return explain(*maps)


def overlay_heat(picture: np.ndarray, heat: np.ndarray, most: float) -> np.ndarray:
    """Lay a heat map over a picture: red where it speaks for, blue where against, grey where neither.

    Args:
        picture: ``(H, W, 3)`` uint8.
        heat: ``(H, W)``.
        most: The value of full colour; one for all pictures that are compared.
    """
    grey = np.repeat(picture.mean(2, keepdims=True), 3, 2)
    share = np.clip(np.abs(heat) / max(most, 1e-12), 0, 1)[..., None] * 0.8
    ink = np.where(heat[..., None] > 0, (214.0, 39.0, 40.0), (31.0, 119.0, 180.0))
    return (grey * (1 - share) + ink * share).round().astype(np.uint8)
