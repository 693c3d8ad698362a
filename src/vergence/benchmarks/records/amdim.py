"""AMDIM on pictures with a mark and a pattern, and on CIFAR-10: does predicting places carry the scene?"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import ADAMW, cifar10
from vergence.benchmarks.tasks import KNN, generated
from vergence.data.image.batch import ImageBatch
from vergence.data.image.reader import PixelReader
from vergence.data.image.source import ImageSource
from vergence.engine.distributed import gather
from vergence.losses import local_nce
from vergence.methods.image.amdim import AMDIM
from vergence.views.pixels.augment import View, centre_view

LEARNED, JUDGED, SIDE, MARK = 512, 512, 32, 8
DIRECTIONS, PERIODS = 4, (5.0, 9.0)  # pixels
CONTRAST, NOISE, GRAIN = 0.04, 0.06, 0.06  # of the wave; deviations of a picture's and of a view's own noise


def marked(source: Any, seed: int) -> tuple[ImageSource, ImageSource]:
    """Generate pictures: a strong mark along the top, never the same, and a faint pattern of a kind below."""
    random = np.random.default_rng(seed)
    n = LEARNED + JUDGED
    label = np.arange(n) % (DIRECTIONS * len(PERIODS))
    angle = (np.pi * (label % DIRECTIONS) / DIRECTIONS)[:, None, None]
    period = np.array(PERIODS)[label // DIRECTIONS][:, None, None]
    y, x = np.mgrid[:SIDE, :SIDE][:, None] + 0.5
    phase = random.uniform(0, 2 * np.pi, (n, 1, 1))
    wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + phase)
    pixels = 0.5 + CONTRAST * wave[..., None] + NOISE * random.normal(size=(n, SIDE, SIDE, 3))
    squares = random.random((n, MARK // 4, SIDE // 4, 3))
    pixels[:, :MARK] = squares.repeat(4, axis=1).repeat(4, axis=2)
    pixels = (255 * pixels.clip(0, 1)).round().astype(np.uint8)
    reader = PixelReader(pixels, label, [f"wave {k}" for k in range(label.max() + 1)], "marked")
    whole = ImageSource(reader, "memory:marked", pixels=pixels)
    return whole.subset(np.arange(LEARNED)), whole.subset(np.arange(LEARNED, n))


class VectorsAlone(AMDIM):
    """The image's vector is to find its other view's vector: InfoNCE, of the same scores."""

    def loss(self, views: list[View]) -> dict[str, Tensor]:
        first, second = (self.encoder.scales(view)[0] for view in views)
        total: dict[str, Tensor] = {}
        for seen, meant in ((first, second), (second, first)):
            cost, square = local_nce(seen, gather(meant[:, None]), clip=self.clip)
            total["1 to 1"] = total.get("1 to 1", 0) + cost / 2
            total["penalty"] = total.get("penalty", 0) + self.penalty * square / 2
        return total


class Grainy:
    """Views differ in noise alone."""

    def views(self, batch: ImageBatch) -> list[View]:
        views = [centre_view(batch, SIDE) for _ in range(2)]
        for view in views:
            view.pixels.add_(GRAIN * torch.randn_like(view.pixels)).clamp_(0, 1)
        return views


class GrainyAMDIM(Grainy, AMDIM):  # type: ignore[misc]
    """AMDIM with these views."""


class GrainyVectors(Grainy, VectorsAlone):  # type: ignore[misc]
    """InfoNCE with these views."""


small = Training(
    "vergence.nets.unpadded:Unpadded",
    {"width": 8, "dim": 64, "blocks": 1},
    epochs=12,
    batch=64,
    size=SIDE,
    settings={**ADAMW, "lr": 4e-3},
)
MECHANISM = Mechanism(
    f"Pictures of {SIDE} x {SIDE} pixels: a bright mark of squares along the top, never the same twice, and "
    "below it a faint wave of one of 8 kinds. The mark alone tells any two pictures apart, so that a vector "
    "that is to find its picture's other vector needs nothing else; most cells do not see the mark, so that "
    "finding them takes the wave. Without the cells all else is the same: InfoNCE between the vectors, of "
    "the same clipped scores. Settings were chosen on seeds 100 and 101.",
    task=generated(marked, KNN),
    arms={
        "paper": small(GrainyAMDIM),
        "vectors alone": small(GrainyVectors),
        "untrained": small.untrained,
        "raw": raw,
    },
)
PARITY = Parity(
    "official",
    "github.com/Philip-Bachman/amdim-public, LossMultiNCE of costs.py: all four terms and gradients of three "
    "random sets of vectors and cells in float32. In float64 with Encoder of model.py before it, at 32, 64 "
    "and 128 pixels, its weights carried over: terms, and gradients of all weights, 3.6e-13 of the largest",
    commit="8754ae149ed28da8066f696f95ba4ca0e3ffebd8",
    max_abs=2.0e-06,
    max_rel=1.5e-06,
)
train = Training(
    "vergence.nets.unpadded:Unpadded",
    {"width": 16, "dim": 128, "blocks": 1},
    epochs=6,
    batch=128,
    size=32,
    settings=ADAMW,
)

RECORD = Record(
    key="amdim",
    claim="Finding every place of a photo's other view teaches more than finding the other view.",
    task=cifar10(),
    arms={
        "paper": train(AMDIM),
        "vectors alone": train(VectorsAlone),
        "scores neither clipped nor kept small": train(partial(AMDIM, clip=None, penalty=0.0)),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="An eighth of the released width, 234 steps at a batch of 128, AdamW in place of Adam's 300 epochs.",
    mechanism=MECHANISM,
    parity=PARITY,
)
