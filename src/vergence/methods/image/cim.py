"""Correlational Image Modeling for Self-Supervised Visual Pre-Training (CIM), arXiv:2303.12670."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from vergence.core import BadInput, Clock, Features, Method, Recipe
from vergence.core.specs import name_of
from vergence.data.image.batch import ImageBatch
from vergence.losses.precision import in_float32
from vergence.methods.image.views import local_side
from vergence.nets import Teacher, width_of
from vergence.nets.attentive import CrossAttention
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.nets.patches import sincos
from vergence.views.pixels.augment import Augment, photo_sizes
from vergence.views.pixels.geometry import Range, composed, random_boxes, uniform, warp


@dataclass(frozen=True, slots=True)
class Cuts:
    """What one step looks at.

    Args:
        context: ``(B, 3, S, S)`` in [0, 1].
        exemplars: ``(E * B, 3, s, s)``, E cut out of each context, the first of all contexts first.
        masks: ``(E * B, S, S)`` bool, the context's pixels that an exemplar shows.
    """

    context: Tensor
    exemplars: Tensor
    masks: Tensor


class Correlate(nn.Module):
    """Say of each cell of a context whether an exemplar shows it: ``(R, 2, h, w)`` scores, no and yes.

    Cells of the context look at those of the exemplar once; a linear map of each reads the answer.

    Args:
        into: Width of the encoder's cells.
        width: In which they meet; a multiple of 4 that ``heads`` divides.
        heads: Of attention.
    """

    def __init__(self, into: int, *, width: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Linear(into, width)
        self.look = CrossAttention(width, heads)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.answer = nn.Linear(width, 2)
        for module in (self.embed, *self.look.modules()):
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, context: Features, exemplars: Features) -> Tensor:
        """Return the scores of R = E * B exemplars, E of each of B contexts, the first of all first."""
        grid, queries = context.grid, self.embed(all_tokens(context))
        assert grid is not None
        places = sincos(grid, queries.shape[2]).to(queries)
        queries = torch.cat([queries[:, :1], queries[:, 1:] + places], 1)  # a pooled vector has no place
        queries = queries.repeat(len(exemplars.pooled) // len(queries), 1, 1)
        seen = self.look(queries, self.embed(all_tokens(exemplars)))[:, 1:]
        return self.answer(self.norm(seen)).transpose(1, 2).unflatten(2, grid)


class CIM(Method):
    """Find where in a picture a piece was cut out, though it was turned, stretched and recoloured.

    The encoder reads the pieces; a slow copy of it reads the whole. A map says of every pixel whether the
    piece shows it.

    Li, Xie, Loy 2023, arXiv:2303.12670. Differs from the paper: photos are resampled bilinearly, and not
    blurred up to 64 pixels; a piece whose turned box leaves the picture shrinks about its centre until it
    fits, where the released code moves its corners; the class token follows slowly in the copy, too; queries
    and keys have a layer norm each; the map's last layer starts as torch's do; positions, and the start of
    weights, are the encoder's own (``positions="sincos"`` of the encoder has the paper's). The released code
    has a contrast of class tokens, too, at a weight of 0; it is left out.

    Args:
        encoder: Maps images ``(B, 3, S, S)``, of two sizes, to ``Features`` with tokens as wide as its
            vectors.
        exemplars: Pieces a photo, E.
        context_size: Side of the whole in pixels; None takes the multiple of the patch nearest to 160/224 of
            the encoder's.
        exemplar_size: Side of the pieces; None takes 64/224 likewise, two patches at least.
        crop: Least share of a photo's area in the whole, in (0, 1].
        scale: Least and largest share of the whole's area in a piece, before it is turned.
        aspect: Least and largest width over height of a piece.
        degrees: Largest turn of a piece to either side.
        width: In which pieces and wholes are compared; a multiple of 4 that ``heads`` divides.
        heads: Of the attention between them.
        momentum: Share of the teacher kept each step, in [0, 1]; rises to 1 by a half cosine.
        train_patches: Train a ViT's patch projection, which the paper freezes at its random start.
    """

    recipe = Recipe(
        optimizer="adamw", lr=1.5e-4, batch=256, epochs=300, betas=(0.9, 0.95), weight_decay=0.05, warmup=40,
        clip=1.0, encoder="vit-small32",
    )  # fmt: skip
    encoder: ImageEncoder

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        exemplars: int = 6,
        context_size: int | None = None,
        exemplar_size: int | None = None,
        crop: float = 0.5,
        scale: Range = (0.05, 0.48),
        aspect: Range = (1 / 3, 3.0),
        degrees: float = 45.0,
        width: int = 512,
        heads: int = 16,
        momentum: float = 0.99,
        train_patches: bool = False,
    ) -> None:
        super().__init__(encoder)
        if exemplars < 1 or not 0 <= momentum <= 1 or not 0 <= degrees <= 90:
            raise BadInput(
                "CIM needs 1 or more exemplars, momentum in [0, 1] and degrees in [0, 90]; "
                f"got {exemplars}, {momentum} and {degrees}."
            )
        if heads < 1 or not 0 < scale[0] <= scale[1] <= 1 or not 0 < aspect[0] <= aspect[1]:
            raise BadInput(
                "CIM needs 1 or more heads, a range of scale in (0, 1] and one of aspect above 0, least "
                f"first; got {heads}, {scale} and {aspect}."
            )
        size, patch = image_size(encoder), getattr(encoder, "patch", 1)
        self.context_size = context_size or local_side(size, patch, 160 / 224)
        small = exemplar_size or max(2 * patch, local_side(size, patch, 64 / 224))
        patches = getattr(getattr(encoder, "model", encoder), "patch_embed", None)
        if patches is not None and not train_patches:
            patches.requires_grad_(False)  # out of the optimizer, so spared from weight decay too
        self.crop = Augment(self.context_size, scale=(crop, 1.0), jitter_p=0.0, grey=0.0, blur=0.0)
        self.recolour = Augment(
            small, scale=(1.0, 1.0), ratio=(1.0, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), solarize=0.2
        )
        self.exemplars, self.scale, self.aspect, self.degrees = exemplars, scale, aspect, degrees
        self.teacher = Teacher(encoder)
        self.correlate = Correlate(width_of(encoder), width=width, heads=heads)
        self.momentum = momentum

    def configure_views(self, options: Mapping[str, Any]) -> None:
        whole = {name: options[name] for name in ("scale", "ratio", "flip", "affine") if name in options}
        self.crop = replace(self.crop, **whole)
        moves = ("scale", "ratio", "affine")  # of the whole: pieces are where their masks say
        self.recolour = replace(self.recolour, **{k: v for k, v in options.items() if k not in moves})

    def views(self, batch: ImageBatch) -> Cuts:
        whole, size = self.crop(batch), self.recolour.size
        sides = torch.full((len(batch), 2), self.context_size, device=batch.pixels.device)
        pieces, masks = [], []
        for _ in range(self.exemplars):
            boxes = random_boxes(sides, scale=self.scale, ratio=self.aspect)
            turn = math.radians(self.degrees)
            matrix = turned_boxes(boxes, uniform(len(boxes), -turn, turn, boxes, None), sides, size)
            masks.append(covered(matrix, size, self.context_size))
            to_photo = composed(whole.matrix, matrix)
            pieces.append(warp(batch.pixels, to_photo, size, sizes=photo_sizes(batch)))
        cut = torch.cat(pieces)
        rows = torch.zeros(len(cut), dtype=torch.int64, device=cut.device)
        return Cuts(whole.pixels, self.recolour(ImageBatch(cut, rows, rows)).pixels, torch.cat(masks))

    def loss(self, views: Cuts) -> dict[str, Tensor]:
        context = self.teacher(views.context)
        if not isinstance(context, Features) or context.tokens is None or context.grid is None:
            raise BadInput(
                f"CIM needs an encoder with tokens; {name_of(self.encoder)} has none. Choose vit-small32."
            )
        cost, overlap = map_cost(self.correlate(context, self.encoder(views.exemplars)), views.masks)
        self.watch("map_iou", overlap)
        return {"correlate": self.exemplars * cost}  # the sum over a photo's exemplars

    def step_end(self, clock: Clock) -> None:
        self.teacher.follow(keep=self.clock.cosine(self.momentum, 1.0))


def turned_boxes(boxes: Tensor, angle: Tensor, sides: Tensor, size: int) -> Tensor:
    """Return the maps ``(B, 2, 3)`` from pieces of ``size`` pixels a side to the picture, in its pixels.

    The picture is turned, and the upright box around the turned box is cut out. A box that would leave the
    picture shrinks about its centre until it fits: black corners would tell the turn.

    Args:
        boxes: ``(B, 4)`` top, left, height, width within the picture.
        angle: ``(B,)`` radians, between -π/2 and π/2.
        sides: ``(B, 2)`` height and width of the picture.
        size: Side of the pieces.
    """
    top, left, tall, wide = boxes.float().unbind(1)
    cos, sin = angle.cos(), angle.sin()
    width, height = wide * cos + tall * sin.abs(), wide * sin.abs() + tall * cos
    x, y = left + wide / 2, top + tall / 2
    reach_x, reach_y = (width * cos + height * sin.abs()) / 2, (width * sin.abs() + height * cos) / 2
    high, broad = sides.to(x.dtype).unbind(1)
    room_x, room_y = x.minimum(broad - x), y.minimum(high - y)
    fit = (room_x / reach_x).minimum(room_y / reach_y).clamp_max(1.0) / size
    a, b, c, d = cos * width * fit, -sin * height * fit, sin * width * fit, cos * height * fit
    half = size / 2
    return torch.stack([a, b, x - half * (a + b), c, d, y - half * (c + d)], 1).view(-1, 2, 3)


def covered(matrix: Tensor, size: int, whole: int) -> Tensor:
    """Return which pixels ``(B, whole, whole)`` of a picture have their centre within a piece, bool.

    Args:
        matrix: ``(B, 2, 3)`` from pixels of the piece to those of the picture.
        size: Side of the piece in pixels.
        whole: Side of the picture.
    """
    at = torch.arange(whole, device=matrix.device) + 0.5
    centres = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).view(1, -1, 2)
    inside = (centres - matrix[:, None, :, 2]) @ torch.linalg.inv(matrix[:, :, :2]).mT
    return ((inside > 0) & (inside < size)).all(2).view(-1, whole, whole)


def all_tokens(features: Features) -> Tensor:
    """Return the pooled vector and the tokens, ``(B, 1 + N, D)``."""
    assert features.tokens is not None
    return torch.cat([features.pooled[:, None], features.tokens], 1)


@in_float32
def map_cost(scores: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy of all pixels in nats, and the mean overlap of map and mask.

    Args:
        scores: ``(R, 2, h, w)``; mixed bilinearly to the masks' size, the outermost cells on its border.
        masks: ``(R, H, W)`` bool.
    """
    fine = interpolate(scores, masks.shape[1:], mode="bilinear", align_corners=True)
    said = fine[:, 1] > fine[:, 0]
    both, either = (said & masks).sum((1, 2)), (said | masks).sum((1, 2))
    return cross_entropy(fine, masks.long()), (both / either.clamp_min(1)).mean()
