"""Improvements to context based self-supervised learning, arXiv:1711.06379."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vergence.core import BadInput, Method, Recipe
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.patch_pairs import cut_patches, encode_patches, patch_side
from vergence.nets.image_encoder import ImageEncoder, image_size
from vergence.views.pixels.augment import plain
from vergence.views.pixels.geometry import quarter_turns
from vergence.views.pixels.lab import blur_chroma

CELL = 110  # pixels of a patch before its zoom
ZOOM = 128 / 96  # largest enlargement of what a patch shows
# side of a photo in pixels, and how far it is from patch to patch
GRIDS = {"3 x 3": (384, 137), "2 x 2": (256, 146), "overlapping": (196, 86)}


class ContextPlus(Method):
    """Say how patches of a photo lie, and how all were turned, without what a lens gives away.

    Mundhenk, Ho, Chen 2018, arXiv:1711.06379, and the released code. Five cures of ``context``, each with a
    switch: the blur of colour alone, in place of its loss; one jitter for all patches of a photo, so that
    they keep their places; a third patch and other layouts; a window over patches; and turns.

    Differs from the paper: which layouts the released code's labels 12 to 19 name is not in it; here they
    are a corner of an overlapping grid and its two neighbours in either order. The third patch of labels 0
    to 7 lies opposite. Patches are resized bilinearly, not by one of four filters at random.

    Args:
        encoder: Convolutional: maps patches ``(N, 3, S/4, S/4)`` to ``(N, D)`` or ``Features``, and images
            of side S as well.
        hidden: Width of the two layers that see all patches.
        blur: Side of the square over which colour is blurred, as a share of the photo's side, in [0, 1]; 0
            leaves colour alone.
        yoked: One zoom and shift for all patches of a photo, else each has its own.
        extra: Three patches in 20 layouts, else two in 8.
        aperture: Least side of the window, over all patches but one, as a share of a patch's, in (0, 1]; 1
            shows all.
        turns: Turn all patches of a photo by quarters, and ask by how many.
        flip: Chance of a mirror image, in [0, 1].
    """

    recipe = Recipe(
        optimizer="sgd", lr=0.00666, batch=128, epochs=150, weight_decay=2e-4,
        schedule="steps", milestones=tuple(i / 150 for i in range(1, 150)), gamma=0.96806,
        encoder="resnet-tiny",
    )  # fmt: skip
    encoder: ImageEncoder
    layouts: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        hidden: int = 4096,
        blur: float = 13 / 384,
        yoked: bool = True,
        extra: bool = True,
        aperture: float = 2 / 3,
        turns: bool = True,
        flip: float = 0.5,
    ) -> None:
        super().__init__(encoder)
        if not (0 <= blur <= 1 and 0 < aperture <= 1 and 0 <= flip <= 1):
            raise BadInput(
                f"ContextPlus needs blur and flip in [0, 1] and aperture in (0, 1]; "
                f"got {blur}, {flip} and {aperture}."
            )
        self.side = patch_side(encoder, "ContextPlus")
        self.register_buffer("layouts", layouts() if extra else layouts()[:8, :2], persistent=False)
        count, n = self.layouts.shape[:2]
        self.arrange = nn.Sequential(
            nn.Linear(n * encoder.out_dim, hidden, bias=False),  # a bias that batch norm would remove
            nn.BatchNorm1d(hidden, affine=False),
            nn.ReLU(),
            nn.Linear(hidden, hidden, bias=False),
            nn.BatchNorm1d(hidden, affine=False),
            nn.ReLU(),
            nn.Linear(hidden, count * (4 if turns else 1)),
        )
        self.blur, self.yoked, self.aperture, self.turns, self.flip = blur, yoked, aperture, turns, flip

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.flip = options.get("flip", self.flip)

    def views(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Return patches ``(B, n, 3, S/4, S/4)`` and what is asked of them ``(B,)``."""
        photos = self.photos(batch)
        b, device = len(photos), photos.device
        layout = torch.randint(len(self.layouts), (b,), device=device)
        patches = self.windowed(cut_patches(photos, self.boxes(layout), self.side))
        turns = torch.randint(4 if self.turns else 1, (b,), device=device)
        turned = quarter_turns(patches.flatten(0, 1), turns.repeat_interleave(patches.shape[1]))
        return turned.view_as(patches), layout + len(self.layouts) * turns

    def photos(self, batch: ImageBatch) -> Tensor:
        """Return photos ``(B, 3, S, S)``, some mirrored, their colour blurred."""
        photos = plain(batch, image_size(self.encoder))
        mirror = torch.rand(len(photos), device=photos.device) < self.flip
        photos = torch.where(mirror[:, None, None, None], photos.flip(3), photos)
        # before patches are cut: a patch's border would tell its colour from its neighbour's
        return blur_chroma(photos, self.blur_width) if self.blur_width > 1 else photos

    @property
    def blur_width(self) -> int:
        """Side in pixels of the square over which colour is blurred: odd, 1 for none, else at least 3."""
        return 2 * max(1, round((self.blur * image_size(self.encoder) - 1) / 2)) + 1 if self.blur else 1

    def boxes(self, layout: Tensor) -> Tensor:
        """Return where patches lie, ``(B, n, 4)`` in pixels, of photos that have the layouts ``(B,)``."""
        top_left, cell = self.layouts[layout].split((2, 1), 2)  # (B, n, 2) and (B, n, 1)
        draw = torch.rand(len(layout), 1 if self.yoked else cell.shape[1], 3, device=layout.device)
        side = cell / (1 + (ZOOM - 1) * draw[..., :1])
        corner = top_left + (cell - side) * draw[..., 1:]
        return torch.cat([corner, side, side], 2) * image_size(self.encoder)

    def windowed(self, patches: Tensor) -> Tensor:
        """Hide the border of all patches of a photo but one, ``(B, n, 3, P, P)``, behind the mean colour."""
        b, n, *_, p = patches.shape
        size, *corner = torch.rand(3, b, device=patches.device)
        size = p * (self.aperture + (1 - self.aperture) * size)
        line = torch.arange(0.5, p, device=patches.device)
        down, across = (
            ((line > start[:, None]) & (line < (start + size)[:, None]))
            for start in ((p - size) * share for share in corner)
        )
        inside = (down[:, :, None] & across[:, None])[:, None]  # (B, 1, P, P)
        left_alone = torch.rand(b, n, device=patches.device).argsort(1)[:, :, None, None] == 0
        return torch.where((inside | left_alone)[:, :, None], patches, self.encoder.mean)

    def loss(self, views: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        patches, order = views
        logits = self.arrange(encode_patches(self, patches).flatten(1)).float()
        self.watch("arrangement_accuracy", (logits.argmax(1) == order).float().mean())
        return {"arrangement": cross_entropy(logits, order)}


def layouts() -> Tensor:
    """Return where the patches of each layout lie, ``(20, 3, 3)`` top, left and side as shares of a photo.

    0 to 7: the middle of 3 x 3, one of its neighbours, clockwise from the top left, and the one opposite.
    8 to 11: three of 2 x 2, clockwise, about the corner top left, bottom left, bottom right, top right.
    12 to 19: a corner of 2 x 2 that overlap, top left, top right, bottom left, bottom right; then its
    neighbours in the row and in the column, or the other way round.
    """
    wheel = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]  # down and right
    clockwise = [(0, 0), (0, 1), (1, 1), (1, 0)]
    lines = [("3 x 3", [(1, 1), (1 + y, 1 + x), (1 - y, 1 - x)]) for y, x in wheel]
    lines += [("2 x 2", [clockwise[(corner + i) % 4] for i in (-1, 0, 1)]) for corner in (0, 3, 2, 1)]
    for y, x in product((0, 1), (0, 1)):
        row, column = (y, 1 - x), (1 - y, x)
        lines += [("overlapping", [(y, x), row, column]), ("overlapping", [(y, x), column, row])]
    rows = []
    for name, cells in lines:
        photo, pitch = GRIDS[name]
        rows.append([(pitch * y / photo, pitch * x / photo, CELL / photo) for y, x in cells])
    return torch.tensor(rows)
