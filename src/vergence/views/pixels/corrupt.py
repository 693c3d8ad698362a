"""Views with holes: groups of connected pixels are spoilt, as in GMML, arXiv:2205.14986."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.views.masks import group_mask

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


class Corrupt:
    """Spoil groups of pixels in images ``(B, 3, S, S)`` of [0, 1]; they stay as they were.

    Args:
        size: S.
        fill: What goes in the holes: Gaussian noise, zeros (the mean colour), another place of the
            same photo. Another photo of the batch is always one more; all are equally likely.
        budget: Least and largest share of a photo that is spoilt, in (0, 1).
        paste: That share where another photo is pasted in, in (0, 1).
        side: Longest side of a rectangle as a share of the photo's, in (0, 1].
        align: Grid in pixels on which rectangles lie; divides S. 1 ignores the patches.
        name: Whose options these are, for errors.

    Raises:
        BadInput: If an option is out of its range.
    """

    def __init__(
        self,
        size: int,
        *,
        fill: Sequence[Fill],
        budget: tuple[float, float],
        paste: float,
        side: float,
        align: int,
        name: str,
    ) -> None:
        if not fill or set(fill) - set(FILLS):
            raise BadInput(f"{name} needs fill to name one or more of {', '.join(FILLS)}; got {fill}.")
        if not (0 < budget[0] <= budget[1] < 1 and 0 < paste < 1 and 0 < side <= 1):
            raise BadInput(
                f"{name} needs budget and paste in (0, 1) and side in (0, 1]; got {budget}, {paste}, {side}."
            )
        if align < 1 or size % align:
            raise BadInput(f"{name} needs align to divide the size, {size} pixels; got {align}.")
        self.size, self.fill, self.budget, self.paste = size, tuple(fill), budget, paste
        self.side, self.align, self.name = side, align, name

    def __call__(self, clean: Tensor, mean: Tensor, std: Tensor) -> Corrupted:
        """Return the images with holes.

        Args:
            clean: ``(B, 3, S, S)``.
            mean: ``(1, 3, 1, 1)``, the colour that an encoder sees as zero.
            std: ``(1, 3, 1, 1)``, the deviation that it sees as 1.

        Raises:
            ValueError: If there is no second image to paste from.
        """
        b, device = len(clean), clean.device
        if b < 2:
            raise ValueError(
                f"{self.name} needs 2 or more samples a batch (it pastes one in another); got 1. "
                "Raise --batch-size."
            )
        kind = torch.randint(len(self.fill) + 1, (b,), device=device)
        pasted = kind == len(self.fill)
        least, most = self.budget
        budget = torch.where(pasted, self.paste, torch.rand(b, device=device) * (most - least) + least)
        mask = self.groups(budget, self.size // self.align)
        mask = mask.repeat_interleave(self.align, 1).repeat_interleave(self.align, 2)
        filler = clean.roll(1, dims=0)  # the batch is in random order
        for number, name in enumerate(self.fill):
            chosen = (kind == number)[:, None, None, None]
            filler = torch.where(chosen, filler_of(name, clean, mean, std), filler)
        return Corrupted(clean, torch.where(mask[:, None], filler, clean), mask)

    def groups(self, budget: Tensor, cells: int) -> Tensor:
        """Draw holes on a grid until each image's ``budget (B,)`` is spent: ``(B, cells, cells)`` bool."""
        return group_mask(budget, cells, side=self.side, most=max(self.budget[1], self.paste))


def filler_of(name: str, clean: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return what fills the holes of images, everywhere: ``(B, 3, S, S)``."""
    if name == "noise":
        return mean + std * torch.randn_like(clean)  # N(0, 1) in what the encoder sees
    if name == "zeros":
        return mean.expand_as(clean)
    b, _, size, _ = clean.shape
    shift = torch.randint(1, size, (2, b, 1), device=clean.device)
    rows, columns = (torch.arange(size, device=clean.device) + shift) % size
    image = torch.arange(b, device=clean.device)[:, None, None]
    return clean.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
