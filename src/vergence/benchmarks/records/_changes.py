"""A world of clips that change alike in all cells, for records of methods that learn what a clip shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from vergence.benchmarks.arms import Training
from vergence.benchmarks.records._motions import clips
from vergence.benchmarks.records._reordered import Reordered, neighbours
from vergence.benchmarks.tasks import Metric
from vergence.data import Source
from vergence.evaluate.score import Score
from vergence.nets.video_encoder import VideoEncoder

COUNT, KNOWN, JUDGED = 1_000, 500, 1_000
CLIPS = COUNT + KNOWN + JUDGED
GRID, CELL, TUBELET, FRAMES = 4, 4, 2, 4
SIDE, PLACES, STEPS = GRID * CELL, GRID**2, FRAMES // TUBELET
WIDTH = 3 * CELL**2  # of a cell in one frame
KINDS, CHANGE, LIGHTS = 8, 6, 24  # kinds of change; numbers that a change and a light consist of
SPREAD = 0.5  # deviation of a kind of change


def changes(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the kind of each clip ``(n,)``, and its change ``(n, CHANGE)``."""
    label = np.arange(CLIPS) % KINDS
    return label, random.normal(size=(KINDS, CHANGE))[label] + SPREAD * random.normal(size=(CLIPS, CHANGE))


def learned_and_judged(still: np.ndarray, turn: np.ndarray, label: np.ndarray) -> tuple[Source, Source]:
    """Return clips whose cells are ``still + turn`` and ``still - turn`` in the two frames of a tubelet.

    Args:
        still: ``(n, STEPS * PLACES, WIDTH)``.
        turn: ``(n, 1, WIDTH)``.
        label: ``(n,)``.
    """
    cells = np.stack([still + turn, still - turn], 2)
    cells = 0.5 + 0.15 / cells.std() * cells
    shape = (CLIPS, STEPS, GRID, GRID, TUBELET, CELL, CELL, 3)
    pixels = cells.reshape(shape).transpose(0, 1, 4, 2, 5, 3, 6, 7).reshape(CLIPS, FRAMES, SIDE, SIDE, 3)
    names = [f"change {kind}" for kind in range(KINDS)]
    return clips(pixels[:COUNT], label[:COUNT], names), clips(pixels[COUNT:], label[COUNT:], names)


def judged_by(**shown: Any) -> Any:
    """Return a protocol: the accuracy of the 20 nearest of 500 other clips.

    Args:
        **shown: Of ``Reordered``; none leaves clips as they are.
    """

    def protocol(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score | None:
        if shown and not isinstance(encoder, VideoEncoder):
            return None
        known, judged = np.split(np.arange(KNOWN + JUDGED), [KNOWN])
        seen = Reordered(encoder, seed=seed, **shown) if shown else encoder  # type: ignore[arg-type]
        return neighbours(seen, test.subset(known), test.subset(judged))

    return protocol


METRICS = (
    Metric("kind of change, told by the 20 nearest clips", judged_by()),
    Metric("the same, frames in an order of chance", judged_by(one=False)),
    Metric("the same, of the first frame alone", judged_by(one=True)),
)


def training(encoder: str) -> Training:
    """Return the training of an encoder at the place of its class."""
    return Training(
        encoder,
        {"frames": FRAMES, "read": FRAMES},
        epochs=16,
        batch=50,
        size=SIDE,
        settings={"optimizer": "adamw", "lr": 2e-2, "weight_decay": 1e-4, "warmup": 1},
    )
