"""Views of clips in memory: crop, flip, colour jitter, greyscale, one draw a clip.

Ours takes the batch as the loader hands it over. torchvision's v2 on ``tv_tensors.Video`` draws once for what
it is given: a clip at a time it does the same, the whole batch at once would draw once for all. Both resample
antialiased and give float views.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from vergence.benchmarks.speed.harness import Contest, Contestant, Round
from vergence.data.video.batch import VideoBatch
from vergence.views.clips import ClipAugment

BATCH, FRAMES, TALL, WIDE, SIZE = 32, 16, 128, 171, 112


def contests(quick: bool) -> Iterator[Contest]:
    batch = 2 if quick else BATCH
    coarse = torch.rand(batch * FRAMES, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    fine = torch.nn.functional.interpolate(coarse, size=(TALL, WIDE), mode="bicubic").clamp_(0, 1)
    frames = (fine * 255).to(torch.uint8, memory_format=torch.channels_last)
    clips = frames.unflatten(0, (batch, FRAMES))  # as a reader lays them: channels last
    yield Contest(
        name=f"clip-views-{SIZE}",
        what=f"one view of {SIZE} pixels of {batch} clips of {FRAMES} frames, {TALL} x {WIDE}, in memory",
        amount=batch,
        unit="clips",
        contestants=(
            Contestant("vergence", partial(_ours, clips)),
            Contestant("torchvision v2, a clip at a time", partial(_torchvision, clips), bar=5.0),
        ),
    )


def _ours(clips: Tensor) -> Round:
    augment = ClipAugment(SIZE, FRAMES, span=(1.0, 1.0), pixels={"blur": 0.0})
    b = len(clips)
    batch = VideoBatch(clips, torch.arange(b), torch.full((b,), -1), torch.zeros(b, FRAMES))

    def round_() -> None:
        augment(batch)

    return round_


def _torchvision(clips: Tensor) -> Round:
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, scale=(0.2, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    videos = [tv_tensors.Video(clip) for clip in clips]

    def round_() -> None:
        torch.stack([transform(video) for video in videos])

    return round_
