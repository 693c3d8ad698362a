"""Self-supervised Spatio-temporal Representation Learning for Videos by Predicting Motion and Appearance
Statistics.

arXiv:1904.03597.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, mse_loss, pad

from vergence.core import BadInput, Method, Recipe
from vergence.data.video.batch import VideoBatch
from vergence.methods.video.views import one_stretch
from vergence.nets.video_encoder import VideoEncoder
from vergence.views.flow import lucas_kanade

BINS = 8  # of directions, and octants of the cube of colours
OCTANTS = (4, 0, 5, 1, 6, 2, 7, 3)  # the released code's number of a colour whose bits are (r, g, b)


@dataclass(frozen=True, slots=True)
class Seen:
    """Clips and what is to be said of them.

    Args:
        clips: ``(B, T, 3, S, S)`` in [0, 1].
        motion: ``(B, 14)`` int64 from 0: of each pattern the block and direction of u, then of v; then the
            frames of most motion of u and v.
        appearance: ``(B, 13)`` int64 from 0: of each pattern block and colour of the most and of the least
            change; then the colour of the whole.
    """

    clips: Tensor
    motion: Tensor
    appearance: Tensor


class MAS(Method):
    """Say where in a clip motion is largest and which way it goes, and where colours change most and least.

    Wang, Jiao, Bao, He, Liu, Liu 2019, arXiv:1904.03597. Motion is that of motion boundaries: what changes
    in the flow from place to place, so that a camera's own motion counts at the edge alone, where what
    leaves the frame is not seen again. Three patterns part the frame: a grid, square rings, triangles.

    Differs from the paper: labels are computed from the views as they are made, and flow is that of Lucas and
    Kanade (``views.flow``) in place of TV-L1; ``flow`` may be overridden. Colours are counted in all octants
    of their cube, as the paper has it; the released code takes the octant of the one commonest colour. Both
    terms weigh alike, where the authors' second release gives appearance 0.1; there is no weight decay.

    Args:
        encoder: Maps clips ``(B, T, 3, S, S)`` to ``(B, D)`` or ``Features``; S a multiple of 8, T 2 or more.
        motion: Weight of the motion statistics, at least 0.
        appearance: Weight of the appearance statistics, at least 0.
        classes: Labels are classes, told by cross-entropy; else numbers, regressed as in the paper.
    """

    recipe = Recipe(
        optimizer="sgd", lr=1e-3, batch=30, epochs=18, encoder="c3d-small",
        schedule="steps", milestones=(0.25, 0.5, 0.75), gamma=0.1,
    )  # fmt: skip
    encoder: VideoEncoder

    def __init__(
        self, encoder: VideoEncoder, *, motion: float = 1.0, appearance: float = 1.0, classes: bool = False
    ) -> None:
        super().__init__(encoder)
        if encoder.size % 8 or encoder.frames < 2:
            raise BadInput(
                f"MAS needs frames of a side that 8 divides, and 2 of them or more; got {encoder.size} "
                f"pixels and {encoder.frames} frames."
            )
        if motion < 0 or appearance < 0 or motion + appearance == 0:
            raise BadInput(f"MAS needs weights of 0 or more, one above; got {motion} and {appearance}.")
        self.weights = {"motion": motion, "appearance": appearance}
        self.crop = one_stretch(encoder.size, encoder.frames, encoder.read)
        for name, blocks in patterns(encoder.size).items():
            self.register_buffer(name, blocks, persistent=False)
        counts = [16, 4, 8]
        self.counts = {
            "motion": [c for count in counts for c in (count, BINS) * 2] + [encoder.frames - 1] * 2,
            "appearance": [c for count in counts for c in (count, BINS) * 2] + [BINS],
        }
        self.classes = classes
        self.answers = nn.ModuleDict(
            {
                name: nn.Linear(encoder.out_dim, sum(count) if classes else len(count))
                for name, count in self.counts.items()
                if self.weights[name]
            }
        )

    def configure_views(self, options: Mapping[str, Any]) -> None:
        self.crop = self.crop.with_options(options)

    @property
    def blocks(self) -> list[Tensor]:
        """Return grid, rings and triangles ``(R, S, S)``."""
        return [self.get_buffer(name) for name in ("grid", "rings", "triangles")]

    def views(self, batch: VideoBatch) -> Seen:
        clips = self.crop(batch)[0].pixels
        motion = motion_statistics(boundaries(self.flow(clips, batch)), self.blocks)
        return Seen(clips, motion, appearance_statistics((255 * clips).round().long(), self.blocks))

    def flow(self, clips: Tensor, batch: VideoBatch) -> Tensor:
        """Return the flow ``(B, T - 1, 2, S, S)`` of clips that were cut from a batch."""
        return lucas_kanade(clips)

    def loss(self, views: Seen) -> dict[str, Tensor]:
        vectors, terms = self.encode(views.clips), {}
        for name, answer in self.answers.items():
            said, labels = answer(vectors).float(), getattr(views, name)
            terms[name] = self.weights[name] * self.cost(said, labels, self.counts[name])
        return terms

    def cost(self, said: Tensor, labels: Tensor, counts: list[int]) -> Tensor:
        """Return the mean squared error of the label numbers from 1, or the mean cross-entropy in nats."""
        if not self.classes:
            return mse_loss(said, labels.float() + 1)
        parts = zip(said.split(counts, 1), labels.unbind(1), strict=True)
        return torch.stack([cross_entropy(logits, label) for logits, label in parts]).mean()


def patterns(size: int) -> dict[str, Tensor]:
    """Return the blocks of each pattern as ``(R, size, size)`` float32, 1 inside.

    A grid of 4 x 4, row by row; four square rings from the middle outwards; eight triangles, two a quadrant,
    which share its diagonal.
    """
    at = torch.arange(size)
    cell = 4 * at // size
    grid = 4 * cell[:, None] + cell
    depth = (2 * torch.minimum(at, size - 1 - at) * 4) // size  # 0 at the border, 3 in the middle
    rings = 3 - torch.minimum(depth[:, None], depth)
    half = size // 2
    y, x = at[:half, None], at[:half]
    low, high = y >= x, y <= x
    parts = torch.zeros(8, size, size)
    for quadrant in range(4):
        top, left = (part * half for part in divmod(quadrant, 2))
        mirrored = quadrant in (1, 2)
        for i, inside in enumerate((high, low) if mirrored else (low, high)):
            shown = inside.flip(1) if mirrored else inside
            parts[2 * quadrant + i, top : top + half, left : left + half] = shown.float()
    of = {"grid": (grid, 16), "rings": (rings, 4)}
    marked = {n: (i == torch.arange(r)[:, None, None]).float() for n, (i, r) in of.items()}
    return {**marked, "triangles": parts}


def boundaries(flow: Tensor) -> Tensor:
    """Return how flow changes along x and y: ``(B, T, 2, S, S)`` -> ``(B, T, 2, 2, S, S)``, (u or v, x or y).

    Sums of differences over 3 x 3 pixels (Prewitt), against the axes as the released code has them. Constant
    flow gives 0.
    """
    across = flow.new_tensor([[1, 0, -1]] * 3)
    kernels = torch.stack([across, across.T])[:, None]
    frames = pad(flow.flatten(0, 2)[:, None], (1, 1, 1, 1), mode="replicate")
    return conv2d(frames, kernels).unflatten(0, flow.shape[:3])


def directions(change: Tensor) -> Tensor:
    """Return magnitudes ``(..., S, S, 8)`` dealt to the two nearest of eight directions.

    Args:
        change: ``(..., 2, S, S)`` along x and y.
    """
    x, y = change.unbind(-3)
    place = torch.atan2(y, x).remainder(2 * math.pi) * BINS / (2 * math.pi)
    lower = place.floor()
    share = (place - lower)[..., None]
    bins = torch.arange(BINS, device=change.device)
    at = (lower.long() % BINS)[..., None]
    dealt = (at == bins) * (1 - share) + ((at + 1) % BINS == bins) * share
    return torch.hypot(x, y)[..., None] * dealt


def motion_statistics(change: Tensor, blocks: list[Tensor]) -> Tensor:
    """Return the labels ``(B, 14)`` of ``Seen.motion``.

    Args:
        change: ``(B, T, 2, 2, S, S)`` of ``boundaries``.
        blocks: ``(R, S, S)`` of each pattern.
    """
    dealt = directions(change.sum(1))  # (B, u or v, S, S, 8)
    labels = []
    for block in blocks:
        inside = torch.einsum("rhw,bchwk->bcrk", block.to(dealt.dtype), dealt)
        most = (inside.sum(3) / block.sum((1, 2))).argmax(2)  # (B, 2)
        way = inside.gather(2, most[..., None, None].expand(-1, -1, 1, BINS))[:, :, 0].argmax(2)
        labels += [most[:, 0], way[:, 0], most[:, 1], way[:, 1]]
    frame = torch.hypot(*change.unbind(3)).sum((3, 4)).argmax(1)  # (B, 2)
    return torch.stack([*labels, frame[:, 0], frame[:, 1]], 1)


def appearance_statistics(clips: Tensor, blocks: list[Tensor]) -> Tensor:
    """Return the labels ``(B, 13)`` of ``Seen.appearance``.

    Args:
        clips: ``(B, T, 3, S, S)`` int64 in 0..255.
        blocks: ``(R, S, S)`` of each pattern.
    """
    bits = (clips >= 128).long()
    octant = torch.tensor(OCTANTS, device=clips.device)[4 * bits[:, :, 0] + 2 * bits[:, :, 1] + bits[:, :, 2]]
    labels = []
    for block in blocks:
        b, count = len(clips), len(block)
        of, y, x = block.nonzero(as_tuple=True)
        levels = _histograms(clips[..., y, x], of, count, 256)  # (B, T, 3, R, 256)
        alike = (levels.amin(1).sum(3) / levels.amax(1).sum(3)).mean(1)  # (B, R)
        colours = _histograms(octant[..., y, x], of, count, BINS).sum(1)  # (B, R, 8)
        for chosen in (alike.argmin(1), alike.argmax(1)):
            labels += [chosen, colours[torch.arange(b, device=clips.device), chosen].argmax(1)]
    whole = (octant.flatten(1)[..., None] == torch.arange(BINS, device=clips.device)).sum(1).argmax(1)
    return torch.stack([*labels, whole], 1)


def _histograms(values: Tensor, of: Tensor, count: int, bins: int) -> Tensor:
    """Count values ``(..., K)`` of blocks ``of (K,)``: ``(..., count, bins)`` float32."""
    rows = values.flatten(0, -2)
    place = values.new_tensor(range(len(rows)))[:, None] * count + of
    counts = torch.bincount((place * bins + rows).flatten(), minlength=len(rows) * count * bins)
    return counts.view(*values.shape[:-1], count, bins).float()
