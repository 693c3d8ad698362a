"""Unsupervised Visual Representation Learning by Context Prediction, arXiv:1505.05192."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, one_hot

from vergence.core import BadInput, Method, Recipe, unknown
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.patch_pairs import cut_patches, encode_patches, patch_side
from vergence.nets.image_encoder import ImageEncoder
from vergence.views.pixels.augment import photo_sizes
from vergence.views.pixels.colour import on_rows
from vergence.views.pixels.geometry import Range, random_boxes

GRID = 3  # patches along each side
COARSEST = 10 / 96  # a patch of 96 pixels keeps at least 10 x 10
CONTRAST = 50 / 255  # root mean square of a patch's pixels about its mean
NOISE = 1 / 255  # range of what stands in dropped channels, before the contrast is set
COLOURS = ("drop", "project")


class Context(Method):
    """Say in which of eight places around a patch another patch of the same photo lies.

    Doersch, Gupta, Efros 2015, arXiv:1505.05192, as in the released code. To know where a part belongs one
    must know what it is a part of, unless lines that go on, or the colour fringes of a lens, give it away:
    patches lie apart, at random places, jittered, some of them coarse, and without colour.

    Differs from the paper: the encoder's vector stands for fc6, and its norms learn scale and shift; a photo
    gives one grid of 3 x 3 patches a step, whose size in the photo is drawn, in place of all that a resized
    photo holds; objects are not mined from the features (Sec. 4.4).

    Args:
        encoder: Convolutional: maps patches ``(N, 3, S/4, S/4)`` to ``(N, D)`` or ``Features``, and images
            of side S as well.
        hidden: Width of the two layers that see both patches.
        scale: Least and largest share of the photo that the grid covers, in (0, 1].
        gap: Between patches, as a share of a patch's side, at least 0.
        jitter: Farthest shift of each patch along each axis, as a share of its side, in [0, gap].
        coarse: Chance of a patch to lose resolution, in [0, 1].
        colour: "drop" keeps one channel at random, noise stands in the others; "project" takes the axis from
            green to magenta out.
    """

    recipe = Recipe(
        optimizer="sgd", lr=0.02, batch=57, epochs=76, momentum=0.0, schedule="constant",
        encoder="resnet-tiny",
    )  # fmt: skip
    encoder: ImageEncoder
    pairs: Tensor
    coarsening: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        hidden: int = 4096,
        scale: Range = (1 / 3, 1.0),
        gap: float = 0.5,
        jitter: float = 7 / 96,
        coarse: float = 0.33,
        colour: Literal["drop", "project"] = "drop",
    ) -> None:
        super().__init__(encoder)
        if not 0 < scale[0] <= scale[1] <= 1:
            raise BadInput(f"Context needs 0 < least <= largest <= 1 of scale; got {scale}.")
        if not 0 <= jitter <= gap or not 0 <= coarse <= 1:
            raise BadInput(
                f"Context needs jitter in [0, gap] and coarse in [0, 1]; got {jitter}, {gap} and {coarse}."
            )
        if colour not in COLOURS:
            raise unknown("colour", colour, COLOURS)
        self.side = patch_side(encoder, "Context")
        self.place = nn.Sequential(
            nn.Linear(2 * encoder.out_dim, hidden, bias=False),  # a bias that batch norm would remove
            nn.BatchNorm1d(hidden, affine=False),  # without scale and shift: no unit can be silenced
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 8),
        )
        self.scale, self.gap, self.jitter = scale, gap, jitter
        self.coarse, self.colour = coarse, colour
        self.register_buffer("pairs", neighbours(GRID), persistent=False)
        self.register_buffer("coarsening", coarsening(self.side), persistent=False)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.scale = options.get("scale", self.scale)

    def views(self, batch: ImageBatch) -> Tensor:
        """Return a grid of patches of each photo, ``(B, 9, 3, S/4, S/4)``, in reading order."""
        sizes = photo_sizes(batch)
        regions = random_boxes(sizes, scale=self.scale, ratio=(1.0, 1.0))
        patches = cut_patches(batch.pixels, self.boxes(regions, sizes), self.side)
        return self.without_shortcuts(patches.flatten(0, 1)).view_as(patches)

    def boxes(self, regions: Tensor, sizes: Tensor) -> Tensor:
        """Return where the patches of a grid lie, ``(B, 9, 4)``, within photos of these ``sizes (B, 2)``.

        Args:
            regions: ``(B, 4)`` top, left, height, width of the grid as a whole.
            sizes: Height and width of the photos.
        """
        side = regions[:, 2:] / (GRID + (GRID - 1) * self.gap)  # (B, 2)
        step = torch.arange(GRID, device=regions.device)
        cell = torch.cartesian_prod(step, step)  # (9, 2), row and column
        shift = (2 * torch.rand(len(regions), len(cell), 2, device=regions.device) - 1) * self.jitter
        corner = regions[:, None, :2] + ((1 + self.gap) * cell + shift) * side[:, None]
        corner = corner.clamp_min(0).minimum((sizes - side)[:, None])
        return torch.cat([corner, side[:, None].expand_as(corner)], 2)

    def without_shortcuts(self, patches: Tensor) -> Tensor:
        """Take what gives their place away from patches ``(N, 3, P, P)``; grey is the encoder's mean then."""
        n, device = len(patches), patches.device
        chosen = torch.rand(n, device=device) < self.coarse
        patches = on_rows(patches, chosen, resampled, self.coarsening[random_sides(n, self.side, device)])
        return self.encoder.mean + even_contrast(self.without_colour(patches))

    def without_colour(self, patches: Tensor) -> Tensor:
        """Take what a lens's fringes tell out of patches ``(N, 3, P, P)``, about their mean."""
        if self.colour == "project":
            return without_green_magenta(patches)
        kept = torch.randint(3, (len(patches),), device=patches.device)
        return keep_channel(patches, kept, torch.rand_like(patches))

    def loss(self, views: Tensor) -> dict[str, Tensor]:
        first, second, place = self.pairs
        vectors = encode_patches(self, views)  # (B, 9, D)
        both = torch.cat([vectors[:, first], vectors[:, second]], 2).flatten(0, 1)
        logits = self.place(both).float()  # (40 B, 8)
        label = place.repeat(len(views))
        self.watch("place_accuracy", (logits.argmax(1) == label).float().mean())
        return {"place": cross_entropy(logits, label)}


def neighbours(grid: int) -> Tensor:
    """Return all ordered pairs of adjacent cells of a square grid, ``(3, P)`` int64.

    Its rows: the first cell, the second, and where this one lies as seen from the first: 0 to 7 in reading
    order.
    """
    pairs = []
    for first in range(grid * grid):
        for second in range(grid * grid):
            down, right = second // grid - first // grid, second % grid - first % grid
            if first != second and max(abs(down), abs(right)) == 1:
                place = 3 * (down + 1) + right + 1
                pairs.append((first, second, place - (place > 4)))
    return torch.tensor(pairs).T.contiguous()


def random_sides(n: int, side: int, device: torch.device) -> Tensor:
    """Draw sides in pixels, ``(n,)`` int64, of coarse patches: their area is uniform, down to 10 of 96."""
    least, most = (side * COARSEST) ** 2, (side - 1) ** 2
    return (least + (most - least) * torch.rand(n, device=device)).sqrt().long().clamp_min(1)


def coarsening(side: int) -> Tensor:
    """Return the maps ``(side + 1, side, side)`` of lines shrunk to i, bilinearly, and enlarged again."""
    lines = torch.eye(side, dtype=torch.float64)[None]
    maps = [lines[0]]  # of 0 lines there is none
    for fewer in range(1, side + 1):
        shrunk = interpolate(lines, fewer, mode="linear")
        maps.append(interpolate(shrunk, side, mode="linear")[0].T)
    return torch.stack(maps).float()


def resampled(patches: Tensor, lines: Tensor) -> Tensor:
    """Map rows and columns of each patch ``(N, C, P, P)`` by its ``lines (N, P, P)``."""
    return lines[:, None] @ patches @ lines[:, None].mT


def keep_channel(patches: Tensor, kept: Tensor, noise: Tensor) -> Tensor:
    """Keep one channel of each patch about its mean; the others become faint noise.

    Args:
        patches: ``(N, 3, P, P)``.
        kept: ``(N,)`` int64.
        noise: As ``patches``, uniform in [0, 1).
    """
    channel = one_hot(kept, 3).bool()[:, :, None, None]
    return torch.where(channel, patches - patches.mean((2, 3), keepdim=True), (noise - 0.5) * NOISE)


def without_green_magenta(patches: Tensor) -> Tensor:
    """Take the axis from green to magenta out of patches ``(N, 3, P, P)`` about their mean (Sec. 3.1)."""
    axis = patches.new_tensor([-1.0, 2.0, -1.0])  # a; each pixel is multiplied by I - a'a / aa'
    kept = torch.eye(3).to(patches) - torch.outer(axis, axis) / axis.dot(axis)
    centred = patches - patches.mean((2, 3), keepdim=True)
    return torch.einsum("ij,njhw->nihw", kept, centred)


def even_contrast(patches: Tensor) -> Tensor:
    """Bring each patch ``(N, 3, P, P)`` to one root mean square; flat ones stay flat."""
    square = patches.square().mean((1, 2, 3), keepdim=True)
    return patches * CONTRAST / square.sqrt().clamp_min(NOISE / 10)
