"""Encoders that learned from a few real clips, and what they carry through clips of DAVIS-2016.

None of the clips that teach judges, and none that judges was looked at to choose a setting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vergence.benchmarks.arms import Training
from vergence.benchmarks.environment import data_root
from vergence.benchmarks.records.labelprop import Followed, by_colour
from vergence.core import Features, Method
from vergence.data import Source
from vergence.data import open as open_source
from vergence.nets.facets import tokens

CLIPS = ("clips", "videos")
SETTINGS = {"k": 10, "radius": 8, "memory": 4, "temperature": 0.07}  # those of labelprop's record

TRAINING = Training(
    "resnet-tiny",
    {"width": 48, "blocks": (1,), "frames": 4, "read": 8},
    epochs=20,
    batch=8,
    size=128,
    settings={"optimizer": "adamw", "lr": 1e-3, "weight_decay": 1e-4, "warmup": 1, "precision": "fp32"},
)


@cache
def real_clips() -> Source:
    """Open windows of two seconds of nine real clips, half of each shared with the next."""
    return open_source([f"video:{data_root() / name}?seconds=2&stride=1" for name in CLIPS])


@cache
def network(method: Callable[[Any], Method] | None, size: int) -> nn.Module:
    """Return an image encoder that learned by a method, or did not; the start is the same for all."""
    training = replace(TRAINING, size=size)
    torch.manual_seed(0)
    encoder = training.start(real_clips())
    if method is not None:
        encoder = training.train(method(encoder), real_clips(), 0)
    backbone: Any = encoder.backbone
    return backbone.eval()


def by_network(frame: Tensor, *, method: Callable[[Any], Method] | None, size: int) -> Features:
    """Cells of the last layer, about their mean in the frame and of unit length."""
    net = network(method, size)
    with torch.no_grad():
        seen = tokens(net, frame)
    assert seen.map is not None
    cells = normalize(seen.map - seen.map.mean((2, 3), keepdim=True), dim=1)
    return Features.of_map(seen.pooled, cells, stride=seen.stride, offset=seen.offset)


def carries(method: Callable[[Any], Method] | None, size: int = 128) -> Followed:
    """Return the arm of a method: the mask of a clip's first frame, carried by the encoder it taught."""
    return Followed(partial(by_network, method=method, size=size), settings=SETTINGS)


UNTRAINED, RAW = carries(None), Followed(by_colour, settings=SETTINGS)
COPIED = Followed(None, settings={})
NOTE = (
    "Seven of ten clips of DAVIS-2016 judge, each of them a seed here: every third frame of 240 lines. Each "
    "arm learns once, from nine other real clips (windows of two seconds), by 20 epochs in batches of 8 "
    "from the same start: a small convolutional network of stride 8 on frames of 128 pixels. Settings of the "
    "propagation are those of labelprop's record."
)
