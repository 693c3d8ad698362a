"""Self-Supervised Visual Representation Learning from Hierarchical Grouping, arXiv:2012.03044.

Contours part a picture into regions, and these merge over their weakest boundaries into ever larger ones, a
tree (``nets.regions``). How strong the boundary is at which the regions of two pixels merge is their distance
d. Every pixel gets a unit vector e, the more alike to another's the earlier they merge. For each level r and
every pixel j with d(i, j) <= r,

    -log [ exp(e_i·e_j / t) / Σ_k exp(e_i·e_k / t) ],

where k are the other pixels of the same picture and those of all others, from which d is infinite. The sooner
two pixels merge, the more levels they belong together at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, normalize
from torchvision.tv_tensors import Mask

from vergence.core import BadInput, Features, Method, Recipe, input_spec
from vergence.core.specs import name_of, wrapping
from vergence.data.image.batch import ImageBatch
from vergence.data.targets import VOID, Boundaries, Masks
from vergence.engine.distributed import gather
from vergence.nets.convnets import ConvNet
from vergence.nets.image_encoder import Images, image_size
from vergence.nets.regions import RegionTree, region_tree
from vergence.views.pixels.augment import Augment, photo_sizes

Views = tuple[Tensor, Tensor, Tensor]
_KEPT = 1 << 30  # bytes of trees that a run keeps; those of further pictures grow anew each time
UNKNOWN = RegionTree(np.full((1, 1), VOID, np.int32), np.zeros((0, 4)))  # of a picture without contours


class Hypercolumn(nn.Module):
    """All stages of an encoder, brought to the finest one's cells, and a unit vector of each. A run keeps it.

    Args:
        encoder: Has stages.
        dim: Width of the vectors.
        hidden: Width of the head's hidden layer.
    """

    def __init__(self, encoder: ConvNet, *, dim: int = 32, hidden: int = 128) -> None:
        super().__init__()
        if not isinstance(encoder, ConvNet):
            raise BadInput(
                f"HierGroup reads all stages of a convolutional network such as resnet-tiny; "
                f"{name_of(encoder)} is none of the library's."
            )
        self.backbone, self.out_dim = encoder, dim
        self.input_spec = input_spec(encoder)
        self.spec = wrapping(self, encoder, dim=dim, hidden=hidden)
        self.head = nn.Sequential(
            nn.Conv2d(sum(encoder.widths), hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, dim, 1)
        )

    def forward(self, images: Images) -> Features:
        """Return the vectors as tokens on the grid of the finest stage, and their mean."""
        maps = self.backbone.layers(images)
        size = maps[0].shape[2:]
        column = torch.cat([maps[0], *(interpolate(x, size, mode="bilinear") for x in maps[1:])], 1)
        cells = normalize(self.head(column), dim=1)
        stride, offset = self.backbone.places[0]
        return Features.of_map(cells.mean((2, 3)), cells, stride=stride, offset=offset)


class HierGroup(Method):
    """Give pixels vectors that are the more alike, the weaker the contours between them.

    A picture's contours are its target "boundaries": maps of a detector, such as ``hed``'s, that lie beside
    the photos, or people's drawings, of which the mean counts; of a picture whose map is missing or broken
    pixels only serve as others, and how many there are is logged. A detector that was taught by drawings
    brings these along: what is learned from it is without labels only as far as that.

    Zhang, Maire 2020, arXiv:2012.03044; there is no official code. Differs from the paper: its weights of
    negatives by distance are not used, levels of the tree take their place; small convolutional networks; one
    view a picture.

    Args:
        encoder: A convolutional network of the library, such as resnet-tiny.
        dim: Width of a pixel's vector.
        hidden: Width of the head's hidden layer.
        levels: r, strengths of contours, 0 or more; all that merge at r or below belong together. 0 is the
            finest regions; that alone is flat grouping.
        temperature: t, above 0.
        pixels: Pixels that a picture gives, 2 or more; regions of all sizes give as many.
        smooth: See ``region_tree``.
    """

    reads = ("boundaries",)
    recipe = Recipe(optimizer="sgd", lr=0.03, batch=64, epochs=100, weight_decay=1e-4)
    encoder: Hypercolumn

    def __init__(
        self,
        encoder: ConvNet | Hypercolumn,
        *,
        dim: int = 32,
        hidden: int = 128,
        levels: Sequence[float] = (0.0, 0.25, 0.5),
        temperature: float = 0.1,
        pixels: int = 32,
        smooth: float = 1.0,
    ) -> None:
        super().__init__(
            encoder if isinstance(encoder, Hypercolumn) else Hypercolumn(encoder, dim=dim, hidden=hidden)
        )
        if temperature <= 0 or pixels < 2 or not levels or min(levels) < 0:
            raise BadInput(
                f"HierGroup needs temperature > 0, 2 or more pixels and levels of 0 or more; "
                f"got {temperature}, {pixels} and {tuple(levels)}."
            )
        self.levels, self.temperature, self.pixels, self.smooth = levels, temperature, pixels, smooth
        self.crop = Augment(image_size(encoder), scale=(0.4, 1.0))
        self.trees: dict[int, RegionTree] = {}  # by row of the source, made when first seen
        self.room = _KEPT

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = dataclasses.replace(self.crop, **options)

    def views(self, batch: ImageBatch) -> Views:
        """Return pictures ``(B, 3, S, S)``, P places in each ``(B, P, 2)``, their distances ``(B, P, P)``."""
        trees = self.grown(batch)
        regions = np.full((len(batch), *batch.pixels.shape[2:]), VOID, np.int32)
        for canvas, tree in zip(regions, trees, strict=True):
            canvas[: tree.regions.shape[0], : tree.regions.shape[1]] = tree.regions
        masks = Masks(Mask(torch.from_numpy(regions).to(batch.pixels.device)))
        view = self.crop(dataclasses.replace(batch, targets={"masks": masks}))
        assert view.targets is not None
        moved = view.targets["masks"].classes.as_subclass(Tensor).long()  # type: ignore[attr-defined]
        place = torch.multinomial(evenly(moved), self.pixels, replacement=True)  # (B, P)
        side = moved.shape[2]
        xy = torch.stack([place % side, place // side], 2) + 0.5
        known = moved.flatten(1).gather(1, place)
        return view.pixels, xy, between(trees, known)

    def grown(self, batch: ImageBatch) -> list[RegionTree]:
        """Return the trees of a batch's pictures, those of new ones from their contours, if any."""
        assert batch.targets is not None
        drawn = batch.targets["boundaries"]
        assert isinstance(drawn, Boundaries)
        sizes, trees = photo_sizes(batch), []
        for i, row in enumerate(batch.index.tolist()):
            tree = self.trees.get(row)
            if tree is None:
                height, width = sizes[i].tolist()
                maps = drawn.maps.as_subclass(Tensor)[drawn.of == i, :height, :width]
                tree = region_tree(maps.mean(0).cpu().numpy(), smooth=self.smooth) if len(maps) else UNKNOWN
                if tree.nbytes <= self.room:
                    self.trees[row] = tree
                    self.room -= tree.nbytes
            trees.append(tree)
        return trees

    def loss(self, views: Views) -> dict[str, Tensor]:
        images, xy, distances = views
        self.watch("without contours", distances.isinf().all(2).all(1).float().mean())
        vectors = normalize(self.encoder(images).at(xy), dim=2).flatten(0, 1).float()  # (B P, dim)
        return {"group": tree_nce(vectors, gather(vectors), distances, self.levels, self.temperature)}


def evenly(regions: Tensor) -> Tensor:
    """Return how likely each pixel is drawn ``(B, H W)``: each region as likely as any, its border never.

    Args:
        regions: ``(B, H, W)`` int64, ``VOID`` outside of the picture.
    """
    own = regions + 1
    number = own + (int(own.max()) + 1) * torch.arange(len(own), device=own.device)[:, None, None]
    ends = torch.stack([own, -own], 1).float()
    high, low = max_pool2d(ends, 3, 1, 1).unbind(1)
    inner = (own > 0) & (high == -low)
    known = (own > 0).flatten(1)
    inner = torch.where(inner.flatten(1).any(1, keepdim=True), inner.flatten(1), known)
    inner = inner | ~known.any(1, keepdim=True)  # a view that shows nothing has only the outside
    area = torch.bincount(number.flatten(), weights=inner.flatten().double())
    return (inner / area.clamp_min(1)[number].flatten(1)).float()


def between(trees: Sequence[RegionTree], regions: Tensor) -> Tensor:
    """Return the distances ``(B, P, P)`` of pixels in the trees of their pictures; infinite outside of these.

    Args:
        trees: One a picture.
        regions: ``(B, P)`` int64, the pixels' finest regions, ``VOID`` outside of the picture.
    """
    rows = regions.cpu().numpy()
    pairs = [np.broadcast_arrays(row[:, None], row) for row in np.maximum(rows, 0)]
    strength = np.stack([tree.between(*pair) for tree, pair in zip(trees, pairs, strict=True)])
    outside = (rows == VOID)[:, :, None] | (rows == VOID)[:, None]
    return torch.from_numpy(np.where(outside, np.inf, strength)).float().to(regions.device)


def tree_nce(
    vectors: Tensor, everyone: Tensor, distances: Tensor, levels: Sequence[float], temperature: float
) -> Tensor:
    """Return how badly vectors pick the pixels of their own cluster out of all others, mean over tree levels.

    A pixel that is alone in its cluster costs nothing.

    Args:
        vectors: ``(B P, D)`` of unit length, picture by picture.
        everyone: ``(M, D)`` with ``vectors`` first; the rest are of other pictures.
        distances: ``(B, P, P)`` at which two pixels of a picture merge.
        levels: Distances up to which two pixels belong together.
        temperature: Above 0.

    Returns:
        Scalar, in nats.
    """
    b, p = distances.shape[:2]
    scores = vectors @ everyone.T / temperature  # (B P, M)
    scores = scores.masked_fill(
        torch.eye(len(scores), len(everyone), dtype=torch.bool, device=scores.device), -torch.inf
    )
    own = torch.arange(b, device=scores.device)
    inside = scores[:, : b * p].unflatten(0, (b, p)).unflatten(2, (b, p))[own, :, own]  # (B, P, P)
    total = scores.logsumexp(1).view(b, p)
    each = total[:, :, None] - inside.masked_fill(~inside.isfinite(), 0.0)  # (B, P, P)
    cost = scores.new_zeros(())
    for level in levels:
        near = (distances <= level) & inside.isfinite()
        cost = cost + ((each * near).sum(2) / near.sum(2).clamp_min(1)).mean()
    return cost / len(levels)
