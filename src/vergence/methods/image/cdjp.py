"""Learning Image Representations by Completing Damaged Jigsaw Puzzles, arXiv:1802.01880."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from vergence.core import BadInput, Features, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.patch_pairs import check_patches, cut_patches
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.nets.permutations import permutation_bank, permuted
from vergence.views.pixels.augment import photo_sizes
from vergence.views.pixels.geometry import Range, random_boxes
from vergence.views.pixels.lab import rgb_to_lab

GRID, PIECES = 3, 9
CHROMA = 110.0  # a* and b* of sRGB lie within about this


@dataclass(frozen=True, slots=True)
class Puzzle:
    """Nine pieces of each photo, damaged, and what they were.

    Args:
        pieces: ``(B, 9, 3, P, P)`` in [0, 1], as they are shown: out of order, grey, one blank.
        order: ``(B,)`` int64, which permutation of the bank: place i shows piece ``bank[order, i]``.
        blank: ``(B,)`` int64, the place that shows nothing.
        lab: ``(B, 9, 3, P, P)``, lightness in [0, 1] and colour in about [-1, 1] of what is at each place.
    """

    pieces: Tensor
    order: Tensor
    blank: Tensor
    lab: Tensor


class CDJP(Method):
    """Put nine grey pieces of a photo in order, paint the one that is missing, and colour the others.

    Kim, Cho, Yoo, Kweon 2018, arXiv:1802.01880. Three tasks damage one another's input: to do them at once
    the trunk must know more of what it sees than any of them asks for alone.

    Differs from the paper, which was not to be had in full: sizes and weights are our choice, the missing
    piece is painted by squared error without an adversary, colour by squared error in a* and b*, a blank
    piece shows the mean grey, and pieces come from a photo as in Noroozi and Favaro (2016,
    arXiv:1603.09246): inner crops of 64 of 75 pixels.

    Args:
        encoder: Convolutional, with a map: takes pieces ``(N, 3, P, P)`` of grey, P about S/4.
        permutations: P, orders that the puzzle has, chosen far apart.
        fill: Weight of the missing piece's error, at least 0.
        colour: Weight of the colours' error, at least 0.
        scale: Least and largest share of the photo that the puzzle covers, in (0, 1].
        hidden: Width of the layer that sees all pieces, and, halved three times, of a piece's own.
    """

    recipe = Recipe(
        optimizer="sgd", lr=0.01, batch=128, epochs=90, weight_decay=5e-4,
        schedule="steps", milestones=(1 / 3, 2 / 3), gamma=0.1, encoder="resnet-tiny",
    )  # fmt: skip
    encoder: ImageEncoder
    bank: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        permutations: int = 1000,
        fill: float = 10.0,
        colour: float = 10.0,
        scale: Range = (0.77, 1.0),
        hidden: int = 4096,
    ) -> None:
        super().__init__(encoder)
        if fill < 0 or colour < 0 or hidden < 8 or permutations < 2:
            raise BadInput(
                f"CDJP needs fill and colour of at least 0, hidden of 8 or more and 2 or more permutations; "
                f"got {fill}, {colour}, {hidden} and {permutations}."
            )
        if not 0 < scale[0] <= scale[1] <= 1:
            raise BadInput(f"CDJP needs 0 < least <= largest <= 1 of scale; got {scale}.")
        check_patches(encoder, "CDJP")
        self.side = 4 * (image_size(encoder) // 14)  # 64 of 225 pixels, 16 of 64, 8 of 32, 4 of 16
        self.register_buffer("bank", permutation_bank(PIECES, permutations), persistent=False)
        width = hidden // 8
        self.piece = nn.Sequential(nn.Linear(encoder.out_dim, width), nn.ReLU())  # fc6, of each piece
        self.whole = nn.Sequential(nn.Linear(PIECES * width, hidden), nn.ReLU())  # fc7, of all in order
        self.name_order = nn.Linear(hidden, permutations)
        self.fill_in = Painter(hidden, 3, self.side)
        self.add_colour = nn.Sequential(
            nn.Conv2d(encoder.out_dim, 64, 1), nn.ReLU(), Enlarge(self.side), nn.Conv2d(64, 2, 3, padding=1)
        )
        self.fill, self.colour, self.scale = fill, colour, scale

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.scale = options.get("scale", self.scale)

    def views(self, batch: ImageBatch) -> Puzzle:
        regions = random_boxes(photo_sizes(batch), scale=self.scale, ratio=(1.0, 1.0))
        lab = to_lab(cut_patches(batch.pixels, self.boxes(regions), self.side))
        b, device = len(lab), lab.device
        order = torch.randint(len(self.bank), (b,), device=device)
        blank = torch.randint(PIECES, (b,), device=device)
        lab = permuted(lab, self.bank[order])
        return Puzzle(self.damaged(lab, blank), order, blank, lab)

    def boxes(self, regions: Tensor) -> Tensor:
        """Return where nine pieces lie, ``(B, 9, 4)``: each at random in its third of a region ``(B, 4)``."""
        cell = regions[:, None, 2:] / GRID
        side = regions[:, None, 2:] * (self.side / image_size(self.encoder))
        step = torch.arange(GRID, device=regions.device)
        draw = torch.rand(len(regions), PIECES, 2, device=regions.device)
        corner = regions[:, None, :2] + cell * torch.cartesian_prod(step, step) + (cell - side) * draw
        return torch.cat([corner, side.expand_as(corner)], 2)

    def damaged(self, lab: Tensor, blank: Tensor) -> Tensor:
        """Return the pieces as they are shown: lightness alone, in all channels, and one blank."""
        grey = lab[:, :, :1].expand_as(lab)
        shown = torch.arange(PIECES, device=lab.device) != blank[:, None]
        return torch.where(shown[:, :, None, None, None], grey, self.encoder.mean)

    def loss(self, views: Puzzle) -> dict[str, Tensor]:
        b = len(views.order)
        seen = self.encoder(views.pieces.flatten(0, 1))
        if not isinstance(seen, Features) or seen.map is None:
            raise BadInput("CDJP needs an encoder with a map; choose --encoder resnet-tiny or resnet18.")
        whole = self.whole(self.piece(seen.pooled).view(b, -1))  # (B, hidden)
        orders = self.name_order(whole).float()
        rows = torch.arange(b, device=whole.device)
        painted, content = self.fill_in(whole).float(), views.lab[rows, views.blank]
        coloured = self.add_colour(seen.map).float().unflatten(0, (b, PIECES))
        others = torch.arange(PIECES, device=whole.device) != views.blank[:, None]
        self.watch("order_accuracy", (orders.argmax(1) == views.order).float().mean())
        fill_error = (painted - content).square().mean()
        self.watch("fill_gain", 1 - fill_error / (content - content.mean(0)).square().mean())
        return {
            "order": cross_entropy(orders, views.order),
            "fill": self.fill * fill_error,
            "colour": self.colour * (coloured - views.lab[:, :, 1:])[others].square().mean(),
        }


class Enlarge(nn.Module):
    """Maps ``(N, C, h, w)`` -> ``(N, C, side, side)``, bilinearly."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return interpolate(x, (self.side, self.side), mode="bilinear")


class Painter(nn.Sequential):
    """Vectors ``(B, D)`` -> pictures ``(B, channels, side, side)``; ``side`` is a multiple of 4."""

    def __init__(self, dim: int, channels: int, side: int, width: int = 64) -> None:
        super().__init__(
            nn.Linear(dim, width * (side // 4) ** 2),
            nn.Unflatten(1, (width, side // 4, side // 4)),
            nn.ReLU(),
            Enlarge(side // 2),
            nn.Conv2d(width, width // 2, 3, padding=1),
            nn.ReLU(),
            Enlarge(side),
            nn.Conv2d(width // 2, channels, 3, padding=1),
        )


def to_lab(pieces: Tensor) -> Tensor:
    """Return lightness in [0, 1] and colour in about [-1, 1] of pieces ``(B, n, 3, P, P)``."""
    lab = rgb_to_lab(pieces.flatten(0, 1)).view_as(pieces)
    return lab / lab.new_tensor([100.0, CHROMA, CHROMA]).view(3, 1, 1)
