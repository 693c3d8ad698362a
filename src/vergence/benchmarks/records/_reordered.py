"""What clips tell whose frames stand in another order, for records of methods that learn from motion."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vergence.core import Features
from vergence.data import Source
from vergence.engine import embed
from vergence.evaluate.protocols.knn import knn
from vergence.evaluate.score import Score
from vergence.nets.video_encoder import Clips, VideoEncoder


class Reordered(VideoEncoder):
    """An encoder before which the frames of every clip stand in an order of chance.

    Args:
        encoder: Of clips.
        one: Show the first frame in the place of all in place of that.
        seed: Of the orders, which are drawn batch after batch.
    """

    def __init__(self, encoder: VideoEncoder, *, one: bool = False, seed: int = 0) -> None:
        super().__init__(size=encoder.size, frames=encoder.frames, read=encoder.read)
        self.encoder, self.one, self.out_dim = encoder, one, encoder.out_dim
        self.generator = torch.Generator().manual_seed(seed)

    def order(self, clips: int) -> Tensor:
        """Return which frame stands where, ``(clips, T)`` int64."""
        if self.one:
            return torch.zeros(clips, self.frames, dtype=torch.int64)
        return torch.rand(clips, self.frames, generator=self.generator).argsort(1)

    def forward(self, clips: Clips) -> Features:
        pixels = self.clips(clips)
        order = self.order(len(pixels)).to(pixels.device)
        seen: Features = self.encoder(pixels[torch.arange(len(pixels), device=pixels.device)[:, None], order])
        return seen


def neighbours(encoder: nn.Module, known: Source, judged: Source) -> Score:
    """Return the accuracy of the 20 nearest of the known clips, about their mean."""
    first, second = embed(encoder, known), embed(encoder, judged)
    assert first.labels is not None and second.labels is not None
    mean = first.vectors.mean(0)
    return knn(first.vectors - mean, first.labels, second.vectors - mean, second.labels)
