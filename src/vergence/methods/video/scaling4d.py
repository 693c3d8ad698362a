"""Scaling 4D Representations, arXiv:2412.15212."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vergence.core import BadInput, Method, Recipe
from vergence.core.specs import name_of
from vergence.data.video.batch import VideoBatch
from vergence.methods.video.views import one_stretch
from vergence.nets.masked import CellValues
from vergence.nets.patches import positions_at
from vergence.nets.tubelet_vit import TubeletViT
from vergence.nets.video_encoder import VideoEncoder
from vergence.views.masks import random_mask, shown_and_hidden


@dataclass(frozen=True, slots=True)
class Masked:
    """What one step looks at.

    Args:
        clips: ``(B, T, 3, S, S)`` in [0, 1].
        shown: ``(B, K)`` int64, the tubelets that are seen.
        hidden: ``(B, M)`` int64, those that are painted.
    """

    clips: Tensor
    shown: Tensor
    hidden: Tensor


class Scaling4D(Method):
    """Paint a clip of which one token in twenty is seen, with the encoder's own last blocks.

    Carreira et al. 2024, arXiv:2412.15212. A masked autoencoder without a decoder: the first blocks read the
    visible tubelets alone, the last ones read mask tokens beside them, and a linear layer gives the pixels.

    Differs from the paper: positions are fixed sines and cosines, not learned; how many of the last blocks
    see mask tokens, a quarter, and the scale of pixels, as the encoder normalises them, are chosen here: code
    of the training is not released. An encoder pools its mean token after the last block, which the paper
    reads by attention at 95 % of its depth.

    Args:
        encoder: A transformer on tubelets: clips ``(B, T, 3, S, S)`` -> ``Features``.
        ratio: Share of the tubelets that is hidden, in (0, 1).
        late: Last blocks that see mask tokens, 1 to all; None takes a quarter, rounded up.
    """

    recipe = Recipe(
        optimizer="adamw", lr=3e-4, batch=1024, epochs=100, betas=(0.9, 0.95), weight_decay=0.05, warmup=5,
        encoder="tubelet-small",
    )  # fmt: skip
    encoder: TubeletViT

    def __init__(self, encoder: VideoEncoder, *, ratio: float = 0.95, late: int | None = None) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, TubeletViT):
            raise BadInput(
                "Scaling4D hides tubelets of a transformer, such as --encoder tubelet-small; "
                f"got {name_of(encoder)}."
            )
        self.late = -(-encoder.depth // 4) if late is None else late
        if not 1 <= self.late <= encoder.depth:
            raise BadInput(
                f"Scaling4D needs late between 1 and the encoder's {encoder.depth} blocks; got {late}."
            )
        tokens = encoder.positions.shape[1]
        if not 0 < round(ratio * tokens) < tokens:
            raise BadInput(
                f"Scaling4D needs a ratio that hides some of the {tokens} tubelets and shows some; "
                f"got {ratio}."
            )
        self.ratio = ratio
        self.crop = one_stretch(encoder.size, encoder.frames, encoder.read, flip=0.5)
        self.target = CellValues(encoder.cell)
        self.mask_token = nn.Parameter(0.02 * torch.randn(encoder.out_dim))
        self.head = nn.Linear(encoder.out_dim, self.target.width)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = self.crop.with_options(options)

    def views(self, batch: VideoBatch) -> Masked:
        clips = self.crop(batch)[0].pixels
        mask = random_mask(len(clips), self.encoder.grid, ratio=self.ratio, device=clips.device)
        return Masked(clips, *shown_and_hidden(mask))

    def loss(self, views: Masked) -> dict[str, Tensor]:
        painted = self.paint(views.clips, views.shown, views.hidden)
        pixels = self.target.at(self.encoder.volume(views.clips), views.hidden)
        return {"repair": self.target.cost(painted, pixels)}

    def paint(self, clips: Tensor, shown: Tensor, hidden: Tensor) -> Tensor:
        """Return the pixels ``(B, M, P)`` of hidden tubelets, from those that are shown."""
        x, _ = self.encoder.start(clips, keep=shown)
        first, last = self.encoder.blocks[: -self.late], self.encoder.blocks[-self.late :]
        for block in first:
            x = block(x)
        ask = self.mask_token + positions_at(self.encoder.positions, hidden)
        x = torch.cat([x, ask.to(x.dtype)], 1)
        for block in last:
            x = block(x)
        painted: Tensor = self.head(self.encoder.norm(x[:, shown.shape[1] :]))
        return painted
