"""GMRW where a camera pans over carpets: who stays in place comes home only if the crop is the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vergence.benchmarks.arms import Training
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._davis import COPIED, NOTE, RAW, UNTRAINED, carries
from vergence.benchmarks.records.labelprop import JUDGED as JUDGED_CLIPS
from vergence.benchmarks.records.labelprop import PHOTOS
from vergence.benchmarks.tasks import Metric, Task, generated
from vergence.data.video.batch import VideoBatch
from vergence.data.video.source import VideoSource
from vergence.data.video.video import ArrayVideo
from vergence.data.video.windows import Windows
from vergence.methods.video.gmrw import GMRW, There
from vergence.nets.convnets import ConvNet, Patches
from vergence.nets.matcher import Matcher, displacement

LEARNED, JUDGED = 512, 128  # clips of two frames
SIDE, LARGE, CELL = 24, 34, 4  # pixels of frames that judge, of those that teach, and of cells
REACH = 8  # pixels that the camera moves at most, down and across
TINT, NOISE = 0.2, 10.0  # deviation of logarithms of a frame's colours, and of noise in grey levels


@dataclass(frozen=True)
class Pans:
    """Clips that judge: frames ``(B, 3, S, S)`` uint8, and how pixels moved ``(B, 2)``, x and y."""

    first: Tensor
    second: Tensor
    moved: Tensor


def carpets(source: None, seed: int) -> tuple[VideoSource, Pans]:
    """Generate pairs of frames of carpets of random colours, some to learn from and others to judge."""
    random = np.random.default_rng(seed)
    count, patches = LEARNED + JUDGED, -(-(LARGE + 2 * REACH) // CELL)
    shape = (count, 2, patches, patches, 3)
    carpet = random.uniform(0, 255, shape)
    carpet[:, 1, ..., 1] = carpet[:, 0, ..., 1]  # green stays; red and blue are others in the second frame
    carpet = carpet.repeat(CELL, 2).repeat(CELL, 3)
    moved = random.integers(-REACH, REACH + 1, (count, 2))
    corner = np.stack([np.full((count, 2), REACH), REACH - moved], 1)  # (n, 2 frames, x and y)
    line = np.arange(LARGE)
    x, y = (corner[..., axis, None] + line for axis in (0, 1))
    which, frame = np.arange(count)[:, None, None, None], np.arange(2)[:, None, None]
    frames = carpet[which, frame, y[..., :, None], x[..., None, :]]
    tint = np.exp(TINT * random.normal(size=(count, 2, 1, 1, 3)))
    frames = (frames * tint + NOISE * random.normal(size=frames.shape)).clip(0, 255).round().astype(np.uint8)
    videos = [ArrayVideo(clip, fps=2.0, name=f"carpet {i}") for i, clip in enumerate(frames[:LEARNED])]
    learned = VideoSource(videos, Windows.of(videos, seconds=1.0), "memory:carpets")
    learned.precision = "fp32"
    inside = slice((LARGE - SIDE) // 2, (LARGE + SIDE) // 2)
    first, second = torch.from_numpy(frames[LEARNED:, :, inside, inside]).permute(1, 0, 4, 2, 3)
    return learned, Pans(first, second, torch.from_numpy(moved[LEARNED:]).float())


def followed(encoder: Any, train: Any, test: Pans, seed: int) -> float:
    """Return the share of cells, of those that stay in view, that are found within a cell of their place."""
    net = getattr(encoder, "backbone", encoder).eval()
    with torch.no_grad():
        one, two = net(test.first), net(test.second)
        if isinstance(net, Matcher):
            chances = net.match(one.map, two.map)
        else:
            near, far = (
                normalize(cells - cells.mean(1, keepdim=True), dim=2) for cells in (one.tokens, two.tokens)
            )
            chances = (near @ far.mT / 0.01).softmax(2)
    moved = CELL * displacement(chances, one.grid, window=2.0)  # (B, 2, h, w)
    h, w = one.grid
    at = torch.stack(torch.meshgrid(torch.arange(w), torch.arange(h), indexing="xy")) * CELL + CELL / 2
    place = at + test.moved[:, :, None, None]
    shown = ((place >= 0) & (place < SIDE)).all(1)
    off = (moved - test.moved[:, :, None, None]).norm(dim=1)
    return float((off <= CELL)[shown].float().mean())


class SameCrop(GMRW):
    """GMRW whose frames are all cut out alike: every cell's home is its own place."""

    def views(self, batch: VideoBatch) -> There:
        seen = super().views(batch)
        return There(seen.first, seen.second, seen.first)


def raw(task: Task, seed: int) -> dict[str, Any]:
    """Judge cells by their pixels."""
    return dict(task.judge(ConvNet([Patches(CELL)], size=SIDE, out_dim=3 * CELL**2), *task.data(seed), seed))


small: dict[str, Any] = {
    "dim": 32, "layers": 0, "span": (1.0, 1.0), "scale": (0.35, 0.7), "smooth": 0.0
}  # fmt: skip
learns = Training(
    "resnet-tiny",
    {"width": 16, "blocks": (1, 1), "frames": 2, "read": 2},
    epochs=4,
    batch=16,
    size=SIDE,
    settings={"optimizer": "adamw", "lr": 5e-3, "weight_decay": 1e-4, "warmup": 1},
)


def untrained(task: Task, seed: int) -> dict[str, Any]:
    """Judge a matcher as it begins."""
    train, test = task.data(seed)
    torch.manual_seed(seed)
    start: Any = learns.start(train)
    return dict(task.judge(GMRW(start, **small).encoder, train, test, seed))


PANS = generated(carpets, Metric("cells found within a cell of their place", followed))
MECHANISM = Mechanism(
    "A camera pans over carpets of random colours by up to 8 pixels; green stays, red and blue are others "
    "in the second frame. Networks see crops of 24 pixels, 6 x 6 cells whose places they are told, as the "
    "paper's are. Where frames are cut out alike, who stays in place always comes home, and learns "
    "nothing of what moved; pixels are two thirds chance. What counts is how many cells of a frame that "
    "stay in view are found in the next within a cell. The matcher has no layers of attention here, and "
    "smoothness is off in all arms. Settings were chosen on seed 100.",
    task=PANS,
    arms={
        "paper": learns(partial(GMRW, **small)),
        "one crop there and back": learns(partial(SameCrop, **small)),
        "untrained": untrained,
        "raw": raw,
    },
)
real: dict[str, Any] = {"dim": 48, "layers": 0, "smooth": 0.0}

RECORD = Record(
    key="gmrw",
    claim="Whose way home leads into another crop cannot stay in place, and learns where things went.",
    task=PHOTOS,
    arms={
        "paper": carries(partial(GMRW, **real)),
        "one crop there and back": carries(partial(SameCrop, **real)),
        "first mask copied": COPIED,
        "untrained": UNTRAINED,
        "raw": RAW,
    },
    seeds=tuple(range(len(JUDGED_CLIPS))),
    note=NOTE + " The matcher has no layers of attention: its map alone carries masks.",
    mechanism=MECHANISM,
    parity=Parity(
        "official",
        "github.com/ayshrv/gmrw, GMRW of models/gmrw.py with its transformer of 4 layers and its smoothness: "
        "loss and all gradients, an encoder of ours in place of its backbone and the homes handed over, in "
        "float32 (in float64 7.4e-7 of the largest: it adds 1e-5 to the number of cells that count)",
        commit="bf832bda941ecf54334c2b0677ef3b77a714b485",
        max_abs=2.3e-06,
        max_rel=7.7e-06,
    ),
)
