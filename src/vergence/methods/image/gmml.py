"""GMML is All you Need, arXiv:2205.14986."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.engine.distributed import mean_over_processes
from vergence.nets.image_encoder import ImageEncoder
from vergence.nets.vit import ViT
from vergence.views.pixels.augment import Augment

Fill = Literal["noise", "zeros", "elsewhere"]
FILLS = ("noise", "zeros", "elsewhere")


@dataclass(frozen=True, slots=True)
class Corrupted:
    """Views with holes.

    Args:
        clean: ``(B, 3, S, S)``, what was there.
        pixels: ``(B, 3, S, S)``, what the encoder sees; noise may leave [0, 1].
        mask: ``(B, S, S)`` bool, True in the holes.
    """

    clean: Tensor
    pixels: Tensor
    mask: Tensor


class GMML(Method):
    """Spoil groups of connected patches and repair them from the rest of the picture.

    Group Masked Model Learning; Atito, Awais, Kittler 2022, arXiv:2205.14986. Differs from the
    paper: ``elsewhere`` fills all holes of a photo from one random shift of it, and another photo
    is never the photo itself. The loss does not reach the class token, so a ViT of this library
    pools its mean patch from then on. Judge by fine-tuning: linear probes are weak.

    Args:
        encoder: A vision transformer over images ``(B, 3, S, S)``.
        fill: What goes in the holes: Gaussian noise, zeros (the mean colour), another place of the
            same photo. Another photo of the batch is always one more; all are equally likely.
        budget: Least and largest share of a photo that is spoilt, in (0, 1).
        paste: That share where another photo is pasted in, in (0, 1).
        side: Longest side of a rectangle as a share of the photo's, in (0, 1].
        align: Grid in pixels on which rectangles lie; divides S. 1 ignores the patches.
    """

    recipe = Recipe(
        optimizer="adamw", lr=5e-4, batch=256, epochs=800, weight_decay=(0.04, 0.4), warmup=10,
        clip=3.0, encoder="vit-small32",
    )  # fmt: skip
    encoder: ImageEncoder

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        fill: Sequence[Fill] = ("noise",),
        budget: tuple[float, float] = (0.5, 0.75),
        paste: float = 0.3,
        side: float = 0.3,
        align: int = 1,
    ) -> None:
        super().__init__(encoder)
        vit = self._vit
        if not hasattr(vit, "patch_embed"):
            name = getattr(encoder, "spec", {}).get("name", type(encoder).__name__)
            raise BadInput(f"GMML needs a vision transformer; got {name}. Choose --encoder vit-small32.")
        if not fill or set(fill) - set(FILLS):
            raise BadInput(f"GMML needs fill to name one or more of {', '.join(FILLS)}; got {fill}.")
        if not (0 < budget[0] <= budget[1] < 1 and 0 < paste < 1 and 0 < side <= 1):
            raise BadInput(
                f"GMML needs budget and paste in (0, 1) and side in (0, 1]; got {budget}, {paste}, {side}."
            )
        if align < 1 or encoder.size % align:
            raise BadInput(f"GMML needs align to divide the size, {encoder.size} pixels; got {align}.")
        self.fill, self.budget, self.paste, self.side, self.align = tuple(fill), budget, paste, side, align
        # The jitter is light: the colours are what is to be repaired.
        self.crop = Augment(
            encoder.size, scale=(0.05, 1.0), jitter=(0.1, 0.1, 0.1, 0.01), jitter_p=0.3, grey=0.0
        )
        self.levels = levels(encoder.depth)
        if isinstance(encoder, ViT):
            encoder.pool = "mean"
            if encoder.spec:  # what it is built from again
                encoder.spec["pool"] = "mean"
        dim, patch = encoder.out_dim, getattr(vit, "patch", None) or vit.patch_embed.patch_size[0]
        self.head = nn.Sequential(*(layer for _ in range(3) for layer in (nn.Linear(dim, dim), nn.GELU())))
        self.paint = nn.ConvTranspose2d(dim, 3, kernel_size=patch, stride=patch)

    @property
    def _vit(self) -> Any:
        return getattr(self.encoder, "model", self.encoder)  # timm's lies one deeper

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = dataclasses.replace(self.crop, **options)

    def views(self, batch: ImageBatch) -> Corrupted:
        return self.corrupt(self.crop(batch).pixels)

    def corrupt(self, clean: Tensor) -> Corrupted:
        """Spoil groups of pixels in images ``(B, 3, S, S)``; they stay as they were.

        Raises:
            ValueError: If there is no second image to paste from.
        """
        b, size, device = len(clean), clean.shape[-1], clean.device
        if b < 2:
            raise ValueError(
                "GMML needs 2 or more samples a batch (it pastes one in another); got 1. Raise --batch-size."
            )
        kind = torch.randint(len(self.fill) + 1, (b,), device=device)
        pasted = kind == len(self.fill)
        least, most = self.budget
        budget = torch.where(pasted, self.paste, torch.rand(b, device=device) * (most - least) + least)
        mask = self.groups(budget, size // self.align)
        mask = mask.repeat_interleave(self.align, 1).repeat_interleave(self.align, 2)
        filler = clean.roll(1, dims=0)  # the batch is in random order
        for number, name in enumerate(self.fill):
            filler = torch.where((kind == number)[:, None, None, None], self.filler_of(name, clean), filler)
        return Corrupted(clean, torch.where(mask[:, None], filler, clean), mask)

    def groups(self, budget: Tensor, cells: int) -> Tensor:
        """Draw rectangles on a grid until each image's ``budget (B,)`` is spent: ``(B, cells, cells)``."""
        longest = max(1, int(self.side * cells))
        wanted = -math.log1p(-max(self.budget[1], self.paste)) * (2 * cells / (longest + 1)) ** 2
        shape = len(budget), 2 * math.ceil(wanted), 2  # twice what covers that much on average
        corners = torch.randint(cells, shape, device=budget.device)
        sides = torch.randint(1, longest + 1, shape, device=budget.device)
        return cover(corners, sides, budget, cells)

    def filler_of(self, name: str, clean: Tensor) -> Tensor:
        mean, std = self.encoder.mean, self.encoder.std
        if name == "noise":
            return mean + std * torch.randn_like(clean)  # N(0, 1) in what the encoder sees
        if name == "zeros":
            return mean.expand_as(clean)
        b, _, size, _ = clean.shape
        shift = torch.randint(1, size, (2, b, 1), device=clean.device)
        rows, columns = (torch.arange(size, device=clean.device) + shift) % size
        image = torch.arange(b, device=clean.device)[:, None, None]
        return clean.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)

    def reconstruct(self, images: Any) -> Tensor:
        """Return the repaired images ``(B, 3, S, S)``, on the scale of pixels in [0, 1]."""
        seen = self.encoder.layers(images, self.levels)
        tokens = self._vit.norm(torch.stack(seen).mean(0))  # (B, N, D), without the class token
        side = math.isqrt(tokens.shape[1])
        grid = self.head(tokens).transpose(1, 2).unflatten(2, (side, side))
        return self.paint(grid).float() * self.encoder.std + self.encoder.mean

    def loss(self, views: Corrupted) -> dict[str, Tensor]:
        error = self.reconstruct(views.pixels) - views.clean
        holes = views.mask[:, None].to(error.dtype)
        count = 3 * mean_over_processes(holes.sum())  # so that every pixel counts alike, whoever has it
        self.watch("hole_psnr", -10 * torch.log10((error.square() * holes).sum() / count))
        # In the holes only: what can be seen need not be learned, copying would do.
        return {"repair": (error.abs() / self.encoder.std * holes).sum() / count}


def cover(corners: Tensor, sides: Tensor, budget: Tensor, cells: int) -> Tensor:
    """Lay rectangles on a grid, one after the other, until their union reaches the budget.

    Args:
        corners: ``(B, K, 2)`` row and column where each rectangle begins; it is cut at the border.
        sides: ``(B, K, 2)`` height and width in cells.
        budget: ``(B,)`` shares of the grid.
        cells: Side of the grid.

    Returns:
        ``(B, cells, cells)`` bool; the rectangle that reaches the budget is the last one laid.
    """
    b, rectangles, _ = corners.shape
    at = torch.arange(cells, device=corners.device)
    inside = (at >= corners[..., None]) & (at < (corners + sides)[..., None])  # (B, K, 2, cells)
    first = torch.full((b, cells, cells), rectangles, device=corners.device)  # to cover a cell
    for k in reversed(range(rectangles)):
        rows, columns = inside[:, k].unbind(1)
        first.masked_fill_(rows[:, :, None] & columns[:, None], k)
    fresh = torch.zeros(b, rectangles + 1, device=corners.device)
    fresh.scatter_add_(1, first.flatten(1), torch.ones(b, cells * cells, device=corners.device))
    area = fresh[:, :-1].cumsum(1)  # after each rectangle
    last = (area < budget[:, None] * cells**2).sum(1).clamp(max=rectangles - 1)
    return first <= last[:, None, None]


def levels(depth: int) -> list[int]:
    """Return the blocks whose tokens are averaged, counted from 0: 6, 8, 10 and 12 of the paper's 12.

    >>> levels(12), levels(4)
    ([5, 7, 9, 11], [1, 2, 3])
    """
    return sorted({math.ceil(depth * share / 6) - 1 for share in (3, 4, 5, 6)})
