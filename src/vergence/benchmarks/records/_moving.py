"""A world of tiles in motion, which methods of correspondence share: who is who, no frame tells alone.

Frames are grids of tiles. From frame to frame most tiles change places with a neighbour, and how each is lit
is drawn anew; its look stays. A tile's pixels are one linear mixture of look and light, of which light is
more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.benchmarks.arms import Training
from vergence.benchmarks.tasks import Metric, Task, generated
from vergence.data.video.source import VideoSource
from vergence.data.video.video import ArrayVideo
from vergence.data.video.windows import Windows
from vergence.nets.convnets import ConvNet, Patches, conv

LEARNED, JUDGED = 512, 128  # clips
FRAMES, FPS = 4, 4.0
GRID, TILE = 4, 4  # tiles a side of a frame, pixels a side of a tile
SIDE, CELLS = GRID * TILE, GRID**2
LOOKS, LIGHTS = 6, 16  # numbers that a tile's look and its light consist of, each of deviation 1
SWAP = 0.9  # of pairs of neighbours, from frame to frame


@dataclass(frozen=True)
class Followed:
    """Clips that judge.

    Args:
        pixels: ``(B, T, 3, S, S)`` uint8.
        place: ``(B, T, N)`` int64, in which cell the tile is that began in cell n.
    """

    pixels: Tensor
    place: Tensor


def moving(source: None, seed: int) -> tuple[VideoSource, Followed]:
    """Generate clips to learn from, and others whose tiles' ways are known."""
    random = np.random.default_rng(seed)
    count = LEARNED + JUDGED
    place = ways(count, random)  # (n, T, N)
    looks = random.normal(size=(count, 1, CELLS, LOOKS)).repeat(FRAMES, 1)
    lights = random.normal(size=(count, FRAMES, CELLS, LIGHTS))
    mixture = random.normal(size=(LOOKS + LIGHTS, 3 * TILE**2))
    tiles = np.empty((count, FRAMES, CELLS, 3 * TILE**2))
    np.put_along_axis(tiles, place[..., None], np.concatenate([looks, lights], 3) @ mixture, 2)
    tiles = (128 + 30 / tiles.std() * tiles).clip(0, 255).round().astype(np.uint8)
    parts = tiles.reshape(count, FRAMES, GRID, GRID, TILE, TILE, 3)
    pixels = parts.transpose(0, 1, 2, 4, 3, 5, 6).reshape(count, FRAMES, SIDE, SIDE, 3)
    videos = [ArrayVideo(clip, fps=FPS, name=f"clip {i}") for i, clip in enumerate(pixels[:LEARNED])]
    learned = VideoSource(videos, Windows.of(videos, seconds=FRAMES / FPS), "memory:tiles in motion")
    learned.precision = "fp32"
    judged = torch.from_numpy(pixels[LEARNED:]).permute(0, 1, 4, 2, 3)
    return learned, Followed(judged, torch.from_numpy(place[LEARNED:]))


def ways(count: int, random: np.random.Generator) -> np.ndarray:
    """Return ``(count, T, N)``, where each tile is: neighbours change places, side by side or one above."""
    place = np.arange(CELLS) * np.ones((count, FRAMES, 1), np.int64)
    row, column = np.divmod(np.arange(CELLS), GRID)
    for t in range(1, FRAMES):
        across, start = random.random(count) < 0.5, random.integers(0, 2, count)
        to = np.empty((count, CELLS), np.int64)
        for axis in (False, True):
            for first in (0, 1):
                along = column if axis else row
                partner = along + np.where((along - first) % 2 == 0, 1, -1)
                partner = np.where((partner < 0) | (partner >= GRID), along, partner)
                cell = row * GRID + partner if axis else partner * GRID + column
                to[(across == axis) & (start == first)] = cell
        pair = np.minimum(to, np.arange(CELLS))
        swaps = np.take_along_axis(random.random((count, CELLS)), pair, 1) < SWAP
        to = np.where(swaps, to, np.arange(CELLS))
        place[:, t] = np.take_along_axis(to, place[:, t - 1], 1)
    return place


class Tiles(ConvNet):
    """One linear map of each tile's pixels and batch norm; without ``dim`` the pixels themselves."""

    def __init__(self, dim: int | None = 8, *, size: int = SIDE) -> None:
        width = 3 * TILE**2
        stage = Patches(TILE) if dim is None else nn.Sequential(Patches(TILE), conv(width, dim, 1, act=False))
        super().__init__([stage], size=size, out_dim=dim or width)


def cut(frames: Tensor) -> Tensor:
    """Cut frames ``(B, T, 3, S, S)`` uint8 into their tiles ``(B, T, N, 3, t, t)`` in [0, 1]."""
    tiles = frames.float().div(255).unflatten(4, (GRID, TILE)).unflatten(3, (GRID, TILE))
    return tiles.permute(0, 1, 3, 5, 2, 4, 6).flatten(2, 3)


def found_again(encoder: Any, train: Any, test: Followed, seed: int) -> float:
    """Return the share of the last frame's tiles whose likest tile of the first frame is the same one."""
    first, last = (normalize(cells(encoder, test.pixels[:, t]), dim=2) for t in (0, -1))
    here = (last @ first.mT).argmax(2)  # (B, N): of each cell of the last frame
    return float((here.gather(1, test.place[:, -1]) == torch.arange(CELLS)).float().mean())


@torch.no_grad()
def cells(encoder: Any, frames: Tensor) -> Tensor:
    """Return each frame's cells ``(B, N, D)`` about their mean in the frame."""
    tokens = getattr(encoder, "backbone", encoder).eval().tokens(frames)
    return tokens - tokens.mean(1, keepdim=True)


def raw(task: Task, seed: int) -> dict[str, Any]:
    """Judge tiles by their pixels."""
    return dict(task.judge(Tiles(None), *task.data(seed), seed))


def on_tiles(epochs: int = 12) -> Training:
    """Return a training of ``Tiles`` on every frame, by AdamW at a batch of 32 clips."""
    options = {"frames": FRAMES, "read": FRAMES, "encoder": {"name": f"{__name__}:Tiles"}}
    settings = {"optimizer": "adamw", "lr": 1e-2, "weight_decay": 1e-4, "warmup": 1}
    return Training("frames", options, epochs=epochs, batch=32, size=SIDE, settings=settings)


IN_MOTION = generated(moving, Metric("tiles found again after three frames", found_again))
