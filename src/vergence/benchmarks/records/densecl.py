"""DenseCL on scenes of several things: do cells learn more where cells are matched?"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.tasks import Metric, generated
from vergence.core import Features
from vergence.data import Source
from vergence.data import open as open_source
from vergence.evaluate.dense import dense
from vergence.evaluate.protocols.miou import miou
from vergence.evaluate.score import Score
from vergence.methods.image.densecl import DenseCL
from vergence.nets.image_encoder import ImageEncoder

LEARNED, PROBED, JUDGED, SIDE = 768, 128, 128, 32


def scenes(source: None, seed: int) -> tuple[Source, tuple[Source, Source]]:
    """Generate scenes to learn from, and others whose masks teach and judge the probe."""
    count = LEARNED + PROBED + JUDGED
    whole = open_source(f"scenes?count={count}&size={SIDE}&seed={seed}&objects=3-5")
    parts = np.split(np.arange(count), [LEARNED, LEARNED + PROBED])
    learned, probed, judged = (whole.subset(part) for part in parts)
    return learned, (probed, judged)


def cells(encoder: ImageEncoder, train: Source, test: tuple[Source, Source], seed: int) -> Score:
    """Probe each cell for the class of what lies there."""
    (x, known), (z, judged) = (dense(encoder, part, "masks") for part in test)  # type: ignore[misc]
    return miou(x, known.classes, z, judged.classes, seed=seed)


class AnyPlace(DenseCL):
    """Any two cells of a photo belong together."""

    def match(self, seen: Features, meant: Features) -> Tensor:
        place = super().match(seen, meant)
        assert meant.tokens is not None
        return torch.randint_like(place, meant.tokens.shape[1])


small = partial(DenseCL, dim=32, hidden=64, queue=512, momentum=0.99)
learns = Training(
    "resnet-tiny",
    {"width": 16, "blocks": (1, 1)},
    epochs=10,
    batch=64,
    size=SIDE,
    settings={"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1e-4, "warmup": 1},
)
MECHANISM = Mechanism(
    "Scenes of 3 to 5 things, 32 x 32: a linear probe on the 8 x 8 cells of a small ResNet is to say which "
    "shape lies at each pixel. A photo's mean vector mixes its things, so that telling photos apart says "
    "little of each; cells do, if those of the same thing are matched. Without the cells' term all else is "
    "the same: MoCo v2.",
    task=generated(scenes, Metric("mIoU of a linear probe on cells", cells)),
    arms={
        "paper": learns(small),
        "photos alone": learns(partial(small, dense=0.0)),
        "any two cells": learns(partial(AnyPlace, **small.keywords)),
        "untrained": learns.untrained,
    },
)
PARITY = Parity(
    "official",
    "github.com/WXinlong/DenseCL, DenseCL of openselfsup/models/densecl.py with DenseCLNeck and "
    "ContrastiveHead: losses, gradients and both queues over six steps of SGD in float32 (in float64 7.7e-8 "
    "of the largest, since keys are queued in float32)",
    commit="b64bbb6e267f729d16ca558233b0ef3028857381",
    max_abs=7.9e-07,
    max_rel=1.9e-06,
)
train = short(epochs=6, blocks=(1, 1))
cifar = partial(DenseCL, queue=2048, momentum=0.99)

RECORD = Record(
    key="densecl",
    claim="Matching cells of two views, beside the views, teaches what lies where.",
    task=cifar10(),
    arms={
        "paper": train(cifar),
        "photos alone": train(partial(cifar, dense=0.0)),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="A small ResNet with 8 x 8 cells for 234 steps at a batch of 128, AdamW in place of SGD, a queue of "
    "2,048 of 5,000 photos, and a teacher of which .99 is kept. Photos of one thing each, judged by their "
    "mean vectors, are not what the cells are for.",
    mechanism=MECHANISM,
    parity=PARITY,
)
