"""DenseCL on mosaics, where no mean of tiles says what each tile is, and on CIFAR-10."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from vergence.benchmarks.arms import raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10, short
from vergence.benchmarks.records._mosaics import GLARING, BothLooks, on_tiles, tile_pixels
from vergence.core import Features
from vergence.methods.image.densecl import DenseCL


class Tiles(BothLooks, DenseCL):  # type: ignore[misc]
    """DenseCL of both looks at a mosaic."""


class AnyTwo(Tiles):
    """Any two tiles of a mosaic belong together."""

    def match(self, seen: Features, meant: Features) -> Tensor:
        place = super().match(seen, meant)
        assert meant.tokens is not None
        return torch.randint_like(place, meant.tokens.shape[1])


small: dict[str, Any] = {"dim": 16, "hidden": 32, "queue": 512, "momentum": 0.95, "dense_from": 30}
learns = on_tiles(epochs=32)
glaring: dict[str, Any] = {**small, "dense_from": 100}
MECHANISM = Mechanism(
    "Mosaics of 16 tiles, four of each of four kinds, seen twice: tiles change places between the looks and "
    "are lit anew. The mean of its tiles says nothing of kinds, so that telling mosaics apart, by MoCo v2 "
    "without the cells' term, needs colours alone. Tiles that are matched share kind and colour. The encoder "
    "is one linear map of a tile's pixels to 8 numbers, fewer than it has causes: what nobody asks for is "
    "lost; light, the strongest, drowns the kinds in the pixels. Kinds of tiles are told by those of 200 "
    "other mosaics. Settings were chosen on seeds 100 and more. It takes the place of a world of less light, "
    "where a tile's pixels told its kind as well as what was learned, .80 to .83.",
    task=GLARING,
    arms={
        "paper": learns(partial(Tiles, **glaring)),
        "photos alone": learns(partial(Tiles, **glaring, dense=0.0)),
        "any two cells": learns(partial(AnyTwo, **glaring)),
        "untrained": learns.untrained,
        "raw": tile_pixels,
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
