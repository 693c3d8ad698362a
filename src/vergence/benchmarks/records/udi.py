"""UDI on mosaics, where no mean of tiles says what each tile is, and on CIFAR-10."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from vergence.benchmarks.arms import Training, raw
from vergence.benchmarks.record import Mechanism, Parity, Record
from vergence.benchmarks.records._images import cifar10
from vergence.benchmarks.records._mosaics import CELLS, GRID, SIDE, TILE, halves, kinds, mosaics
from vergence.benchmarks.tasks import KNN, Metric, generated
from vergence.data.image.batch import ImageBatch
from vergence.methods.image.udi import UDI, Sampled, centres
from vergence.nets.vit import ViT

LIT, ALIKE = 1.5, 0.25  # deviation of light, and share of colours' variance that tiles have in common


class TileViT(ViT):
    """One block of width 12 on tiles: fewer numbers than a tile has causes."""

    def __init__(self, registers: int = 1) -> None:
        super().__init__(size=SIDE, patch=TILE, dim=12, depth=1, heads=2, registers=registers)
        self.spec = {"name": f"{__name__}:TileViT", "registers": registers}


class Looks(UDI):
    """Both looks at a mosaic are the global crops; tiles stand in the same places of both."""

    def views(self, batch: ImageBatch) -> Sampled:  # type: ignore[override]
        crops = halves(batch)
        places = torch.rand(len(batch), CELLS).argsort(1)[:, :4]
        own = centres(places, GRID, TILE).repeat(2, 1, 1)
        return Sampled(crops, own, own, torch.ones(own.shape[:2], dtype=torch.bool))


options: dict[str, Any] = {
    "prototypes": 64, "hidden": 64, "bottleneck": 16, "momentum": 0.97, "freeze_prototypes": 0,
    "teacher_temperature": (0.04, 0.04), "n_local": 0, "window": (2, 1),
}  # fmt: skip
small = partial(Looks, **options)
learns = Training(
    f"{__name__}:TileViT",
    epochs=10,
    batch=64,
    size=SIDE,
    settings={"optimizer": "adamw", "lr": 3e-3, "weight_decay": 1e-4, "warmup": 1},
)
MECHANISM = Mechanism(
    "Mosaics of 16 tiles, four of each of four kinds, seen twice: each tile stays in its place and is lit "
    "anew: each of 16 numbers of light deviates by 1.5, of 8 of kind and colour by about 1. Of kinds a "
    "mosaic has as many as another, so that what tells mosaics apart, all that DINO asks for, are colours, "
    "which a mosaic's tiles share by a quarter. Both looks are global crops, there are no local ones, and "
    "nothing is recoloured. The encoder is a transformer of one block and width 12, fewer than a tile has "
    "causes. Kinds of tiles are told by those of 200 other mosaics. The world and its settings were "
    "chosen on seed 100, where what "
    "teaches the second class token ends with an entropy of 3.4 nats, and what teaches the first with 3.0. "
    "What alpha adds to the patches' own term is not shown here.",
    task=generated(
        partial(mosaics, moved=False, lit=LIT, alike=ALIKE),
        Metric("mIoU of tiles' kinds by k-NN on patches", kinds),
    ),
    arms={
        "paper": learns(small),
        "no patches": learns(partial(small, parts=("class", "second"))),
        "DINO": learns(partial(small, parts=("class",))),
        "untrained": learns.untrained,
    },
)
PARITY = Parity(
    "official",
    "github.com/ISL-CV/udi, VisionTransformer with two class tokens, MaskedAttention, UDIWrapper, "
    "MultiCropWrapper and UDILoss: loss, gradients and the three centres on random weights, centres and "
    "crops, two of them local, with this library's samples and positions, in float32 (in float64 1.2e-6 of "
    "the largest: the released mean over samples adds 1e-5 to their number)",
    commit="133c2cbbef2373650fd441f06ad2808df4fe683b",
    max_abs=2.2e-06,
    max_rel=6.4e-07,
)
train = Training(
    "vit-micro",
    {"patch": 4},
    epochs=12,
    batch=64,
    size=32,
    settings={"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.04, "warmup": 1},
)
cifar: dict[str, Any] = {
    "prototypes": 512, "hidden": 256, "bottleneck": 64, "n_local": 4, "local_size": 16, "momentum": 0.98,
    "teacher_temperature": (0.04, 0.04),
}  # fmt: skip

RECORD = Record(
    key="udi",
    claim="A word on sampled places keeps what a class token leaves out.",
    task=cifar10(KNN, train=5_000, test=2_000),
    arms={
        "paper": train(partial(UDI, **cifar)),
        "no patches": train(partial(UDI, **cifar, parts=("class", "second"))),
        "DINO": train(partial(UDI, **cifar, parts=("class",))),
        "untrained": train.untrained,
        "raw": raw,
    },
    seeds=(0, 1, 2),
    note="12 epochs of a ViT of 4 blocks on 5,000 photos of 32 pixels, judged by the class token; the paper: "
    "300 epochs of ViT-S on ImageNet.",
    mechanism=MECHANISM,
    parity=PARITY,
)
