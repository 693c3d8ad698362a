"""Learning Representations by Maximizing Mutual Information Across Views (AMDIM), arXiv:1906.00910."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import gather, rank, world
from vergence.losses import local_nce
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.nets.unpadded import GRIDS, Unpadded
from vergence.views.pixels.augment import Augment, View


class CellHead(nn.Module):
    """Map cells ``(B, C, h, w)`` to where vectors of whole images are, ``(B, h w, D)``: 1 x 1 convolutions.

    A shortcut that starts near the identity, and beside it two layers of which the last starts at 0.
    """

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        last = nn.Conv2d(outside, outside, 1, bias=False)
        self.body = nn.Sequential(nn.Conv2d(inside, outside, 1, bias=False), nn.ReLU(), last)
        self.shortcut = nn.Conv2d(inside, outside, 1, bias=False)
        self.norm = nn.BatchNorm2d(outside)
        with torch.no_grad():
            last.weight.zero_()
            self.shortcut.weight.uniform_(-0.01, 0.01).view(outside, inside).fill_diagonal_(1)

    def forward(self, cells: Tensor) -> Tensor:
        return self.norm(self.body(cells) + self.shortcut(cells)).flatten(2).transpose(1, 2)


class AMDIM(Method):
    """Find each cell of an image's other view among the cells of other images, from the image's one vector.

    A vector that does so knows something of every place. One cell of the 5 x 5 map of each image asks, too.

    Bachman, Hjelm, Buchwalter 2019, arXiv:1906.00910. Differs from the paper: photos of 32 pixels are cropped
    as larger ones are, not shifted by up to 4 pixels; hue turns by 0.1 at every size; no Fast AutoAugment;
    cells' shortcuts have no bias, which batch norm would remove; the mixture of several vectors an image
    (Sec. 3.5) is not here. The recipe is the released one for CIFAR-10 and STL-10; for ImageNet it takes a
    batch of 480, 128 pixels and wider networks (width 320, dim 2,560, blocks 10).

    Args:
        encoder: Maps images to a vector and to maps of 5 x 5 and 7 x 7 cells by ``scales``, as ``Unpadded``.
        clip: Scores are softly clipped to this; None leaves them as they are.
        penalty: Weight of the mean square of the scores of each term, before they are clipped; not negative.
    """

    recipe = Recipe(
        optimizer="adam", lr=2e-4, lr_scaling="none", batch=200, epochs=300, betas=(0.8, 0.999),
        weight_decay=1e-5, warmup=2, schedule="steps", milestones=(250 / 300, 280 / 300), gamma=0.2,
        encoder="vergence.nets.unpadded:Unpadded", size=32,
    )  # fmt: skip
    encoder: Unpadded

    def __init__(self, encoder: ImageEncoder, *, clip: float | None = 20.0, penalty: float = 0.05) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, Unpadded):
            raise BadInput(
                f"AMDIM needs an encoder with maps of 5 x 5 and 7 x 7 cells that see little of the picture; "
                f"{type(encoder).__name__} has none. Take --encoder vergence.nets.unpadded:Unpadded."
            )
        if (clip is not None and clip <= 0) or penalty < 0:
            raise BadInput(f"AMDIM needs clip > 0 or None, and penalty >= 0; got {clip} and {penalty}.")
        self.heads = nn.ModuleList(CellHead(encoder.grid_width, encoder.out_dim) for _ in GRIDS)
        self.clip, self.penalty = clip, penalty
        self.augment = Augment(image_size(encoder), scale=(0.3, 1.0), ratio=(0.7, 1.4), grey=0.25, blur=0.0)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.augment = dataclasses.replace(self.augment, **options)

    def views(self, batch: ImageBatch) -> list[View]:
        """Return two views of each image, both mirrored or neither."""
        upright = dataclasses.replace(self.augment, flip=0.0)
        mirror = torch.rand(len(batch), device=batch.pixels.device) < self.augment.flip
        return [mirrored(upright(batch), mirror) for _ in range(2)]

    def loss(self, views: list[View]) -> dict[str, Tensor]:
        first, second = (self.at_scales(view) for view in views)
        total: dict[str, Tensor] = {}
        for seen, meant in ((first, second), (second, first)):
            for name, source, cells in (
                ("1 to 5", seen[0], meant[1]),
                ("1 to 7", seen[0], meant[2]),
                ("5 to 5", self.one_cell(seen[1], later=seen is second), meant[1]),
            ):
                cost, square = local_nce(source, gather(cells), clip=self.clip)  # own images first
                total[name] = total.get(name, 0) + cost / 2
                total["penalty"] = total.get("penalty", 0) + self.penalty * square / 2
        return total

    def at_scales(self, view: View) -> tuple[Tensor, Tensor, Tensor]:
        """Return the vectors ``(B, D)`` of images, and those of their 25 and their 49 cells ``(B, N, D)``."""
        one, *maps = self.encoder.scales(view)
        five, seven = (head(cells) for head, cells in zip(self.heads, maps, strict=True))
        return one, five, seven

    def one_cell(self, cells: Tensor, *, later: bool) -> Tensor:
        """Return a cell of each image, drawn by chance: ``(B, N, D)`` -> ``(B, D)``.

        Args:
            cells: Of this process's images.
            later: Of the second view, which draws for itself.
        """
        rows, count = cells.shape[:2]
        drawn = torch.Generator().manual_seed(2 * self.clock.step + later)  # alike in all processes
        place = torch.randint(count, (world(), rows), generator=drawn)[rank()].to(cells.device)
        return cells[torch.arange(rows, device=cells.device), place]


def mirrored(view: View, mirror: Tensor) -> View:
    """Mirror the images of an upright view where ``mirror (B,)`` says so, left and right."""
    side = view.pixels.shape[-1]
    turn = view.matrix.new_tensor([[-1.0, 0.0, side], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    pixels = torch.where(mirror[:, None, None, None], view.pixels.flip(3), view.pixels)
    matrix = torch.where(mirror[:, None, None], view.matrix @ turn, view.matrix)
    return View(pixels, view.box, mirror, view.angle, matrix)
