"""Strong copies of photos, as people pass them on: cropped, set into another photo, written on, squeezed.

These are the edits of the Image Similarity Challenge (``measure.isc2021``). They are drawn as tensors and
made where the batch lies, one step for all photos of the batch at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vergence.core.errors import BadInput
from vergence.data.image.batch import ImageBatch
from vergence.views.pixels import colour, geometry
from vergence.views.pixels.augment import photo_sizes, plain
from vergence.views.pixels.compression import jpeg
from vergence.views.pixels.geometry import Range, uniform

EDITS = ("crop", "flip", "colour", "overlay", "text", "blur", "jpeg")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz!?"
_WORD = 6  # letters of a line of text


@dataclass(frozen=True, slots=True)
class Copied:
    """Copies of a batch, and what was done to each.

    Args:
        pixels: ``(B, 3, S, S)`` float32 in [0, 1].
        edits: ``(B, 7)`` bool, in the order of ``EDITS``.
    """

    pixels: Tensor
    edits: Tensor

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, slots=True)
class Copies:
    """Copy every photo of a batch with edits drawn for each; a photo that drew none is cropped.

    In this order: crop, mirror, recolour, set into a foreign photo, write over, blur, compress.

    Args:
        size: Side of the copies in pixels.
        chance: Probability of each of ``EDITS``.
        crop: Least and largest share of the photo's area that is left.
        colour: Brightness, contrast and saturation are multiplied by 1 - colour to 1 + colour.
        overlay: Least and largest side of the inset, as a share of the foreign photo's.
        blur: Least and largest sigma, as a share of ``size``.
        quality: Least and largest quality of JPEG.
    """

    size: int
    chance: tuple[float, ...] = (0.5, 0.3, 0.4, 0.3, 0.4, 0.3, 0.5)
    crop: Range = (0.15, 0.7)
    colour: float = 0.6
    overlay: Range = (0.4, 0.8)
    blur: Range = (0.01, 0.04)
    quality: Range = (8.0, 40.0)

    def __post_init__(self) -> None:
        if len(self.chance) != len(EDITS) or not all(0 <= p <= 1 for p in self.chance):
            raise BadInput(f"chance needs a probability for each of {', '.join(EDITS)}; got {self.chance}.")
        if self.size < 8:
            raise BadInput(f"Copies need a size of 8 pixels or more; got {self.size}.")

    def __call__(
        self, batch: ImageBatch, generator: torch.Generator | None = None, *, foreign: Tensor | None = None
    ) -> Copied:
        """Return one copy a photo.

        Args:
            batch: Photos.
            generator: Of the batch's device.
            foreign: ``(F, 3, size, size)`` in [0, 1], pictures to set copies into, drawn anew for each;
                None takes a photo's neighbour in the batch.
        """
        sizes = photo_sizes(batch)
        b, size = len(batch), self.size
        edits = torch.rand((b, len(EDITS)), generator=generator, device=sizes.device)
        edits = edits < edits.new_tensor(self.chance)
        edits[:, 0] |= ~edits.any(1)
        crop, flip, recolour, overlay, text, blur, squeeze = edits.unbind(1)

        boxes = geometry.random_boxes(sizes, scale=self.crop, ratio=(0.5, 2.0), generator=generator)
        boxes = torch.where(crop[:, None], boxes, geometry.centre_boxes(sizes))
        x = geometry.resized_crop(batch.pixels, boxes, size, flip=flip).clamp_(0, 1)

        factors = 1 + self.colour * (2 * torch.rand((3, b), generator=generator, device=x.device) - 1)
        factors = torch.where(recolour, factors, 1)
        for change, factor in zip(_COLOURS, factors, strict=True):
            x = change(x, factor)

        x = torch.where(_column(overlay), self._inset(x, batch, foreign, generator), x)
        x = torch.where(_column(text), overlay_text(x, generator), x)
        sigma = uniform(b, *self.blur, x, generator) * size
        width = min(size - 1, int(6 * self.blur[1] * size)) // 2 * 2 + 1  # three sigmas to either side
        x = colour.on_rows(x, blur, lambda rows, s: colour.gaussian_blur(rows, s, width), sigma)
        quality = uniform(b, *self.quality, x, generator)
        return Copied(colour.on_rows(x, squeeze, jpeg, quality), edits)

    def _inset(
        self, x: Tensor, batch: ImageBatch, foreign: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Return the copies, shrunk, at random places of foreign pictures."""
        if foreign is None:
            ground = plain(batch, self.size).roll(1, 0)
        else:
            ground = foreign[torch.randint(len(foreign), (len(x),), generator=generator, device=x.device)]
        share = uniform(len(x), *self.overlay, x, generator)
        matrix = placement_matrix(share, share, self.size, self.size, self.size, generator)
        seen = torch.cat([x, torch.ones_like(x[:, :1])], 1)  # the fourth channel says where the inset lies
        moved = geometry.warp(seen, matrix, self.size)
        return moved[:, :3] + (1 - moved[:, 3:]) * ground


_COLOURS = (colour.adjust_brightness, colour.adjust_contrast, colour.adjust_saturation)


def overlay_text(pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Write a line of random letters in a random colour over each of ``(B, 3, S, S)``.

    Its width is 60 to 100 % of the picture's; it lies anywhere that it fits.
    """
    b, size = len(pixels), pixels.shape[2]
    glyphs = _glyphs().to(pixels.device)  # (L, h, w)
    drawn = torch.randint(len(glyphs), (b, _WORD), generator=generator, device=pixels.device)
    line = glyphs[drawn].permute(0, 2, 1, 3).flatten(2)[:, None]  # (B, 1, h, 6 w)
    height, width = line.shape[2:]
    share = uniform(b, 0.6, 1.0, pixels, generator)
    matrix = placement_matrix(share, share * height / width * 1.3, size, height, width, generator)
    cover = geometry.warp(line, matrix, size)
    ink = torch.rand((b, 3, 1, 1), generator=generator, device=pixels.device).round()
    return pixels * (1 - cover) + ink * cover


def placement_matrix(
    across: Tensor, down: Tensor, size: int, height: int, width: int, generator: torch.Generator | None
) -> Tensor:
    """Return the maps ``(B, 2, 3)`` that put a ``height x width`` picture at a random place of a square one.

    Args:
        across: ``(B,)`` its width there, as a share of ``size``.
        down: ``(B,)`` its height there.
        size: Side of the square in pixels.
        height: Of the picture.
        width: Of the picture.
        generator: Of the place.
    """
    left = uniform(len(across), 0, 1, across, generator) * (1 - across) * size
    top = uniform(len(down), 0, 1, down, generator) * (1 - down) * size
    x, y, zero = width / (across * size), height / (down * size), torch.zeros_like(left)
    return torch.stack([x, zero, -left * x, zero, y, -top * y], 1).view(-1, 2, 3)


@cache
def _glyphs() -> Tensor:
    """Return pictures of ``LETTERS``, ``(L, 20, 14)`` in [0, 1]."""
    font = ImageFont.load_default(18)
    drawn = []
    for letter in LETTERS:
        picture = Image.new("L", (14, 20))
        ImageDraw.Draw(picture).text((1, 0), letter, fill=255, font=font)
        drawn.append(np.asarray(picture))
    return torch.from_numpy(np.stack(drawn)).float() / 255


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None]
