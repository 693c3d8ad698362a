"""Self-Supervised Video Representation Learning with Space-Time Cubic Puzzles, arXiv:1811.09795."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from vergence.core import BadInput, Method, Recipe, unknown
from vergence.data.video.batch import VideoBatch
from vergence.methods.video.views import one_stretch
from vergence.nets import mlp
from vergence.nets.permutations import permuted
from vergence.nets.video_encoder import VideoEncoder

PIECES = 4
Along = Literal["both", "space", "time"]


@dataclass(frozen=True, slots=True)
class Puzzle:
    """Cuboids in disorder, and how they were made.

    Args:
        cuboids: ``(B, 4, t, 3, s, s)`` in [0, 1].
        order: ``(B,)`` which of the 24 orders they are in.
        turned: ``(B,)`` bool, whether their clip stands on its head.
    """

    cuboids: Tensor
    order: Tensor
    turned: Tensor


class CubicPuzzles(Method):
    """Put four cuboids of a clip back in order, neighbours in space or in time.

    Kim, Cho, Kweon 2019, arXiv:1811.09795. Every clip gives one puzzle, of 2 x 2 cuboids of one stretch of
    time or of 4 stretches of one place; the same network sees each cuboid on its own, and two layers say
    which of 24 orders they are in. What would tell it without looking at what moves is taken away: borders
    do not touch, one channel stands for all three, and a clip may stand on its head, which is asked too.

    Differs from the paper: cuboids are cut from the views of the encoder's size, cells of half of its side
    and a quarter of the time, where the paper cuts 16 x 80 x 80 from 128 x 224 x 224; clips in which nothing
    moves are not left out; how both kinds of puzzles share the layers that answer, and the weight of the
    turn, were not to be had: here they share all, and it weighs as much as the order.

    Args:
        encoder: Maps clips of any size ``(B, T, 3, S, S)`` to ``(B, D)`` or ``Features``, as convolutions do.
        along: Puzzles of "space", of "time", or of either one with equal chance.
        margin: Shares of a cell along time and space that are left out at random places of its border, in
            [0, 1).
        replicate: Whether one channel, drawn for each clip, stands for all three.
        turn: Weight of saying whether a clip stands on its head, at least 0; 0 turns none.
        hidden: Width of the layer between cuboids and orders.
    """

    recipe = Recipe(
        optimizer="sgd", lr=0.01, batch=128, epochs=200, weight_decay=5e-4,
        schedule="steps", milestones=(0.6, 0.8), gamma=0.1,
    )  # fmt: skip
    encoder: VideoEncoder
    orders: Tensor

    def __init__(
        self,
        encoder: VideoEncoder,
        *,
        along: Along = "both",
        margin: tuple[float, float] = (0.5, 2 / 7),
        replicate: bool = True,
        turn: float = 1.0,
        hidden: int = 512,
    ) -> None:
        super().__init__(encoder)
        if along not in ("both", "space", "time"):
            raise unknown("kind of puzzles", str(along), ("both", "space", "time"))
        if not all(0 <= share < 1 for share in margin) or turn < 0:
            raise BadInput(f"CubicPuzzles needs margins in [0, 1) and turn >= 0; got {margin} and {turn}.")
        if encoder.read < PIECES:
            raise BadInput(f"CubicPuzzles parts clips of 4 frames or more; got read={encoder.read}.")
        self.along, self.margin, self.replicate, self.turn = along, margin, replicate, turn
        self.crop = one_stretch(encoder.size, encoder.read, encoder.read)
        self.answer = mlp(PIECES * encoder.out_dim, hidden, 24 + (turn > 0), norm=False)
        self.register_buffer("orders", torch.tensor(list(permutations(range(PIECES)))), persistent=False)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = self.crop.with_options(options)

    def views(self, batch: VideoBatch) -> Puzzle:
        clips = self.crop(batch)[0].pixels
        b, device = len(clips), clips.device
        turned = torch.rand(b, device=device) < (0.5 if self.turn else 0.0)
        clips = torch.where(turned.view(b, 1, 1, 1, 1), clips.flip(-2, -1), clips)
        if self.replicate:
            channel = torch.randint(3, (b,), device=device)
            one = clips[torch.arange(b, device=device), :, channel]
            clips = one[:, :, None].expand(-1, -1, 3, -1, -1)
        order = torch.randint(len(self.orders), (b,), device=device)
        cuboids = cut(clips, self.cells(b), self.margin)
        return Puzzle(permuted(cuboids, self.orders[order]), order, turned)

    def cells(self, clips: int) -> Tensor:
        """Return cells ``(clips, 4, 3)`` of the grid 4 x 2 x 2 (time, y, x) that stand in order."""
        device = self.orders.device
        piece = torch.arange(PIECES, device=device).expand(clips, -1)
        one = torch.randint(PIECES, (clips, 1), device=device)  # where the other kind of axes stays
        chance = {"both": 0.5, "space": 0.0, "time": 1.0}[self.along]
        in_time = torch.rand(clips, 1, device=device) < chance
        time, place = torch.where(in_time, piece, one), torch.where(in_time, one, piece)
        return torch.stack([time, place // 2, place % 2], 2)

    def loss(self, views: Puzzle) -> dict[str, Tensor]:
        seen = self.encode(
            views.cuboids.flatten(0, 1)
        )  # one batch of all cuboids: no norm knows their places
        answer = self.answer(seen.unflatten(0, (-1, PIECES)).flatten(1)).float()
        logits = answer[:, : len(self.orders)]
        self.watch("order_accuracy", (logits.argmax(1) == views.order).float().mean())
        terms = {"order": cross_entropy(logits, views.order)}
        if self.turn:
            cost = binary_cross_entropy_with_logits(answer[:, -1], views.turned.float())
            terms["turn"] = self.turn * cost
        return terms


def cut(clips: Tensor, cells: Tensor, margin: tuple[float, float]) -> Tensor:
    """Cut a cuboid of equal size at a random place of each cell.

    Args:
        clips: ``(B, T, C, H, W)``.
        cells: ``(B, N, 3)`` int64 of a grid of 4 x 2 x 2 (time, y, x).
        margin: Shares of a cell along time and space that a cuboid leaves out.

    Returns:
        ``(B, N, t, C, h, w)``.
    """
    sides = [clips.shape[1] // 4, clips.shape[3] // 2, clips.shape[4] // 2]
    kept = [
        max(1, side - round(share * side))
        for side, share in zip(sides, (margin[0], margin[1], margin[1]), strict=True)
    ]
    free = torch.tensor(
        [side - keep + 1 for side, keep in zip(sides, kept, strict=True)], device=clips.device
    )
    shift = (torch.rand(cells.shape, device=clips.device) * free).long()
    first = cells * torch.tensor(sides, device=clips.device) + shift
    t, y, x = (first[..., i, None] + torch.arange(keep, device=clips.device) for i, keep in enumerate(kept))
    b = torch.arange(len(clips), device=clips.device).view(-1, 1, 1, 1, 1)
    taken = clips[b, t[:, :, :, None, None], :, y[:, :, None, :, None], x[:, :, None, None, :]]
    return taken.movedim(-1, 3)  # (B, N, t, h, w, C) -> (B, N, t, C, h, w)
