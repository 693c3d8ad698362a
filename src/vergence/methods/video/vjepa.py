"""Revisiting Feature Prediction for Learning Visual Representations from Video (V-JEPA), arXiv:2404.08471."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vergence.core import BadInput, Clock, Features, Method, Recipe
from vergence.core.specs import name_of
from vergence.data.video.batch import VideoBatch
from vergence.losses.precision import in_float32
from vergence.methods.video.views import one_stretch
from vergence.nets import Teacher
from vergence.nets.masked import Predictor, Target, TokenFeatures
from vergence.nets.tubelet_vit import TubeletViT
from vergence.nets.video_encoder import VideoEncoder
from vergence.views.masks import union_of_blocks
from vergence.views.pixels.geometry import Range


@dataclass(frozen=True, slots=True)
class Masked:
    """What one step looks at.

    Args:
        clips: ``(B, T, 3, S, S)`` in [0, 1].
        shown: Of each kind of mask ``(B, K)`` int64, the tubelets that the student sees.
        hidden: Of each kind ``(B, M)`` int64, those that it predicts.
    """

    clips: Tensor
    shown: tuple[Tensor, ...]
    hidden: tuple[Tensor, ...]


class VJEPA(Method):
    """Predict what a slow copy of yourself makes of the hidden parts of a clip: features, no pixels.

    Bardes et al. 2024, arXiv:2404.08471. What is hidden is hidden in all frames, lest the frame before tell
    it: many small blocks, and few large ones, each kind with a context and a mask token of its own.

    Differs from the paper: the encoder that learns is kept, not its slow copy; mask tokens begin at random,
    not at 0, and the weights as the encoder's own do; an encoder pools its mean token, which the paper reads
    by attention. To make a batch's masks equally long places are left out at random, where the released code
    leaves out the last; the same in all frames. A clip that is hidden whole is shown one place, where it
    draws again.

    Args:
        encoder: A transformer on tubelets: clips ``(B, T, 3, S, S)`` -> ``Features``.
        blocks: Blocks of each kind of mask, 1 or more.
        scale: Share of a frame in a block of each kind, in (0, 1].
        aspect: Least and largest height over width of a block.
        width: Of the predictor.
        depth: Blocks of the predictor.
        heads: Of the predictor; None takes the encoder's.
        momentum: Share of the teacher kept each step, in [0, 1]; rises to 1 in a straight line.
    """

    recipe = Recipe(
        optimizer="adamw", lr=6.25e-4, batch=3072, epochs=300, weight_decay=(0.04, 0.4), warmup=40,
        min_lr=1e-6, encoder="tubelet-small",
    )  # fmt: skip
    encoder: TubeletViT

    def __init__(
        self,
        encoder: VideoEncoder,
        *,
        blocks: Sequence[int] = (8, 2),
        scale: Sequence[float] = (0.15, 0.7),
        aspect: Range = (0.75, 1.5),
        width: int = 384,
        depth: int = 12,
        heads: int | None = None,
        momentum: float = 0.998,
    ) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, TubeletViT):
            raise BadInput(
                "VJEPA hides tubelets of a transformer, such as --encoder tubelet-small; "
                f"got {name_of(encoder)}."
            )
        if len(blocks) != len(scale) or min(blocks) < 1 or not all(0 < share <= 1 for share in scale):
            raise BadInput(
                "VJEPA needs for each kind of mask 1 or more blocks and a scale in (0, 1]; "
                f"got {tuple(blocks)} and {tuple(scale)}."
            )
        if not 0 < aspect[0] <= aspect[1] or not 0 <= momentum <= 1:
            raise BadInput(
                f"VJEPA needs aspect above 0 and momentum in [0, 1]; got {tuple(aspect)} and {momentum}."
            )
        self.kinds = tuple(zip(blocks, scale, strict=True))
        self.aspect, self.momentum = aspect, momentum
        self.crop = one_stretch(
            encoder.size, encoder.frames, encoder.read, scale=(0.3, 1.0), ratio=(0.75, 1.35), flip=0.5
        )
        self.teacher = Teacher(encoder)
        self.target = self.make_target()
        self.predictor = Predictor(
            encoder.out_dim,
            grid=encoder.grid,
            out=self.target.width,
            width=width,
            depth=depth,
            heads=heads or encoder.heads,
            kinds=len(self.kinds),
        )

    def make_target(self) -> Target:
        """Return what is predicted: the teacher's tokens, each about its mean in units of its deviation."""
        return Tokens(self.teach, self.encoder.out_dim)

    def teach(self, clips: Tensor) -> Features:
        """Return what the teacher makes of whole clips."""
        return self.teacher(clips)

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = self.crop.with_options(options)

    def views(self, batch: VideoBatch) -> Masked:
        clips = self.crop(batch)[0].pixels
        drawn = [self.places(len(clips), *kind, clips.device) for kind in self.kinds]
        shown, hidden = zip(*drawn, strict=True)
        return Masked(clips, shown, hidden)

    def places(self, rows: int, blocks: int, scale: float, device: Any) -> tuple[Tensor, Tensor]:
        """Draw what is shown ``(rows, K)`` and hidden ``(rows, M)`` by a mask of one kind."""
        return union_of_blocks(
            rows, self.encoder.grid, blocks=blocks, scale=scale, aspect=self.aspect, device=device
        )

    def loss(self, views: Masked) -> dict[str, Tensor]:
        lengths = [hidden.shape[1] for hidden in views.hidden]
        targets = self.target.at(views.clips, torch.cat(views.hidden, 1)).split(lengths, 1)  # (B, M, D) each
        cost = []
        for kind, (shown, hidden) in enumerate(zip(views.shown, views.hidden, strict=True)):
            context = self.encoder(views.clips, keep=shown).tokens
            cost.append(self.target.cost(self.predictor(context, shown, hidden, kind=kind), targets[kind]))
        return {"predict": torch.stack(cost).mean()}

    def step_end(self, clock: Clock) -> None:
        self.teacher.follow(keep=clock.linear(self.momentum, 1.0))


class Tokens(TokenFeatures):
    """A teacher's tokens, at absolute error (Eq. 1), which asks for the median."""

    def cost(self, answers: Tensor, targets: Tensor) -> Tensor:
        return absolute_error(answers, targets)


@in_float32
def absolute_error(answers: Tensor, targets: Tensor) -> Tensor:
    """Return the mean absolute difference."""
    return (answers - targets).abs().mean()
