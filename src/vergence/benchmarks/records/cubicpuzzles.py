"""Cubic puzzles among textures that come to rest: does the order of cuboids teach how fast things move?"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch import nn

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._motions import clips, drifting, ridge
from vergence.benchmarks.tasks import Arm, Metric, generated
from vergence.data import Source
from vergence.evaluate.score import Score
from vergence.methods.video.cubicpuzzles import CubicPuzzles

COUNT, KNOWN, JUDGED, SIDE, FRAMES = 500, 500, 1_000, 16, 8
WAYS = {"up": (-1, 0), "right": (0, 1), "down": (1, 0), "left": (0, -1)}  # one after the other
NOISE, WARM, LIGHT = 0.1, 0.3, 0.3  # deviation of a pixel; ranges of colour in time, of light in space


def swinging(source: Any, seed: int) -> tuple[Source, Source]:
    """Generate textures that drift up, right, down, then left while they grow redder; and others of one way.

    Only the way in which they drift, and the colour, tell which part of a clip is which.
    """
    random = np.random.default_rng(seed)
    ways = np.array(list(WAYS.values()), float)
    label = np.arange(KNOWN + JUDGED) % len(ways)
    turns = np.repeat(np.arange(4), FRAMES // 4)[1:]  # of each step from one frame to the next
    turning, steady = np.tile(ways[turns], (COUNT, 1, 1)), np.repeat(ways[label][:, None], FRAMES - 1, 1)
    step = np.concatenate([turning, steady])
    step = step * random.uniform(0.8, 1.6, (len(step), 1, 1)) + 0.2 * random.normal(size=step.shape)
    tint = WARM * np.linspace(-0.5, 0.5, FRAMES)[:, None] * np.array([1, 0, -1])  # (T, 3)
    tint = tint + random.uniform(-0.1, 0.1, (len(step), 1, 3))
    texture = drifting(random, step, SIDE, contrast=(0.1, 0.25))
    place = np.linspace(-0.5, 0.5, SIDE)
    light = LIGHT * (2 * place[:, None] + place)[..., None] / 3  # from one corner
    pixels = 0.5 + tint[:, :, None, None] + light + texture[..., None]
    pixels += NOISE * random.normal(size=pixels.shape)
    learned = clips(pixels[:COUNT], np.zeros(COUNT, int), ["turning"])
    return learned, clips(pixels[COUNT:], label, list(WAYS))


def told_way(encoder: nn.Module, train: Source, test: Source, seed: int) -> Score:
    """Accuracy of a linear layer on clips of one way, taught by others of them."""
    known, judged = np.split(np.arange(KNOWN + JUDGED), [KNOWN])
    return ridge(encoder, test.subset(known), test.subset(judged))


TASK = generated(swinging, Metric("way in which new textures drift, told by linear least squares", told_way))
train = Training(
    "vergence.benchmarks.records._motions:TwoFrames",
    {"width": 24, "frames": FRAMES, "read": FRAMES},
    epochs=20,
    batch=50,
    size=SIDE,
    settings={"optimizer": "adamw", "lr": 1e-2, "weight_decay": 1e-4, "warmup": 1},
)
SMALL: dict[str, Any] = {"margin": (0.0, 0.125), "hidden": 64, "turn": 0.0}
ARMS: dict[str, Arm] = {
    "paper": train(partial(CubicPuzzles, **SMALL)),
    "puzzles of space alone": train(partial(CubicPuzzles, along="space", **SMALL)),
    "colours kept": train(partial(CubicPuzzles, replicate=False, **SMALL)),
    "untrained": train.untrained,
    "raw": raw,
}

RECORD = Record(
    key="cubicpuzzles",
    claim="To put cuboids of a clip in order, in time too and without colours, teaches how things move.",
    task=TASK,
    arms=ARMS,
    mechanism=Mechanism(
        f"{COUNT} clips of random textures that drift up, right, down, then left, while the picture grows "
        "redder; light comes from one corner. Cuboids of two frames of 7 x 7 pixels: in time, the way of the "
        "drift tells their order, and so does the colour; in space, the light does. Then 1,500 other clips, "
        "each of which drifts one way: linear least squares on frozen features learn the way from 500. One "
        "frame says nothing of it. Whoever sees colours orders by them, whoever orders in space by light. "
        "Random weights read much of the way, .960; both rivals lose some of it, and the puzzle adds .040. "
        "No clip is turned upside down, which would reverse the ways. Settings were looked at on seed 100.",
        task=TASK,
        arms=ARMS,
    ),
    parity=Parity(
        "second",
        "a derivation from the formulas in float64, one cuboid after the other: cuboids, both terms and "
        "gradients of five random batches",
        max_abs=4.4e-16,
        max_rel=4.0e-15,
    ),
)
